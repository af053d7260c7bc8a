"""Which spares are what is asked for."""

from __future__ import annotations

from typing import Any

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.guardian.spare import identity


def test_whatever_makes_a_cluster_another_one_counts() -> None:
    """Settings, executables, components as plugins make them, and the environment; not how a boot is watched."""
    config = ClusterConfig(k8s_version="1.36.3")
    asked: dict[str, Any] = {
        "config": config,
        "programs": ["/a/etcd"],
        "components": {"metrics": "x"},
        "environment": {},
    }
    same = identity(**asked)
    assert identity(**{**asked, "config": config.replace(boot_timeout=5), "components": {"metrics": "x"}}) == same
    others: list[dict[str, Any]] = [
        {"config": config.replace(nodes=2)},
        {"programs": ["/b/etcd"]},
        {"components": {"metrics": "y"}},
        {"components": {}},
        {"environment": {"HTTPS_PROXY": "http://proxy"}},
    ]
    assert len({same, *(identity(**{**asked, **changed}) for changed in others)}) == 1 + len(others)
