from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.plan import HostFacts

PROGRAMS = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "coredns",
    "pause",
    "test-server",
    "relay",
]


def example_config(**changes: Any) -> ClusterConfig:
    return ClusterConfig(k8s_version="1.36.3").replace(**changes)


def example_facts(**changes: Any) -> HostFacts:
    facts = {
        "cluster_id": "abc123",
        "run_dir": "/run-dirs/abc123",
        "cidr": "10.10.0.0/16",
        "ports": {"kube-apiserver": 6443, "kube-controller-manager": 10257, "kube-scheduler": 10259},
        "programs": {name: f"/executables/{name}" for name in PROGRAMS},
        "cni_dir": "/executables/cni",
        "images": ("/images/pause.tar", "/images/server.tar"),
        "can_hold": True,
        "can_lower_oom_score": True,
        "egress_program": "/usr/bin/slirp4netns",
        "etcd_data": "",
        "encryption_key": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyLWI=",
        "proxy_env": {},
        "now": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    }
    return HostFacts(**{**facts, **changes})


@pytest.fixture
def facts() -> Callable[..., HostFacts]:
    return example_facts


@pytest.fixture
def config() -> Callable[..., ClusterConfig]:
    return example_config
