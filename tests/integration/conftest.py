"""What tests on real clusters share. They use the plugin as any suite does: by asking for its fixtures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

# pytester forgets what its test was the first to import, and the keys' library can't be imported twice.
import pytest_kubernix.plan.identities  # noqa: F401
from pytest_kubernix import Kubectl
from pytest_kubernix.binaries.own_images import SERVER


def server_pod(name: str, *args: str, image: str = SERVER) -> dict[str, Any]:
    """A pod that runs a command of the test-server image; without one, it serves HTTP on port 8080."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(args or ("serve",)),
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    if args:
        del container["readinessProbe"]
    # Nothing here has anything to say goodbye to.
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


# pytester gives the inner run a home of its own, where it would build every executable anew.
CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


@pytest.fixture
def suite(pytester: pytest.Pytester, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for a suite of its own that finds the executables of this one."""
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)
    return pytester


@pytest.fixture
def served_pod(kubernix_kubectl: Kubectl, kubernix_namespace: str) -> str:
    """The name of a pod that answers HTTP on port 8080."""
    kubernix_kubectl.apply(server_pod("web"), namespace=kubernix_namespace)
    kubernix_kubectl.wait("pod/web", "condition=Ready", namespace=kubernix_namespace, timeout=60)
    return "web"
