"""Which spares are what is asked for."""

from __future__ import annotations

from typing import Any

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.guardian.spare import identity


class Component:
    """One that a suite adds, with a setting of its own."""

    def __init__(self, flag: str) -> None:
        self.flag = flag


def test_whatever_makes_a_cluster_another_one_counts() -> None:
    """Settings, executables, components with their own settings, and the environment; not how a boot is watched."""
    config = ClusterConfig(k8s_version="1.36.3")
    asked: dict[str, Any] = {
        "config": config,
        "programs": ["/a/etcd"],
        "components": [Component("x")],
        "environment": {},
    }
    same = identity(**asked)
    assert identity(**{**asked, "config": config.replace(boot_timeout=5), "components": [Component("x")]}) == same
    others: list[dict[str, Any]] = [
        {"config": config.replace(nodes=2)},
        {"programs": ["/b/etcd"]},
        {"components": [Component("y")]},
        {"components": []},
        {"environment": {"HTTPS_PROXY": "http://proxy"}},
    ]
    assert len({same, *(identity(**{**asked, **changed}) for changed in others)}) == 1 + len(others)
