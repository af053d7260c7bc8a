"""Kubectl: the kubectl of the cluster's own version, run as a child process, never through a shell.
It gets the cluster's kubeconfig by argument; the environment of the tests is never changed."""

from __future__ import annotations

from .call import KubectlResult
from .commands import Kubectl

__all__ = ["Kubectl", "KubectlResult"]
