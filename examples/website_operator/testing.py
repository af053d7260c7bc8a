"""What tests of this operator hold: a Website and the questions they ask about it.
Every wait is for a condition, and has a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pytest_kubernix import Kubectl

from .resources import WEBSITE_LABEL


def until(condition: Callable[[], object], what: str, *, timeout: float = 30.0) -> None:
    """Look until something holds that `kubectl wait` has no word for.

    Args:
        condition: Looks once.
        what: What is waited for, for the error.
        timeout: Limit in seconds.

    Raises:
        AssertionError: The time was up.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(0.1)


@dataclass(frozen=True)
class Website:
    """One Website of a test.

    Attributes:
        kubectl: Acts as the person who wants the page.
        namespace: Where it is.
        name: Its name, and that of all its children.
    """

    kubectl: Kubectl
    namespace: str
    name: str

    def get(self, kind: str = "website") -> dict[str, Any]:
        """The Website, or its child of another kind, as the API server has it."""
        return self.kubectl.get(kind, self.name, namespace=self.namespace)

    def change(self, **spec: object) -> None:
        """Want something else of it."""
        self.kubectl.apply(manifest(self.name, {**self.get()["spec"], **spec}), namespace=self.namespace)

    def wait_ready(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until what is wanted now is what is served, and give the status that says so.

        `kubectl wait` compares observedGeneration, so that what was ready before a change does not count.
        """
        this = f"website/{self.name}"
        self.kubectl.wait(this, "condition=Ready", namespace=self.namespace, timeout=timeout)
        status: dict[str, Any] = self.get()["status"]
        return status

    def delete(self) -> None:
        """Delete it, and wait until its finalizer has let it go; if it is gone already, that is fine."""
        this = f"website/{self.name}"
        self.kubectl.delete(this, namespace=self.namespace, missing_ok=True, timeout=30)

    def pods(self) -> list[dict[str, Any]]:
        """Its pods, without those that are on their way out."""
        selector = f"{WEBSITE_LABEL}={self.name}"
        pods = self.kubectl.get("pods", selector=selector, namespace=self.namespace)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def pages(self) -> list[str]:
        """What each of its pods answers."""
        get = ("test-server", "get", "http://localhost:8080/env")
        names = [pod["metadata"]["name"] for pod in self.pods()]
        return [self.kubectl.exec(name, *get, namespace=self.namespace).stdout for name in names]


def manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A Website as one would write it into a file."""
    return {
        "apiVersion": "example.kubernix.test/v1",
        "kind": "Website",
        "metadata": {"name": name},
        "spec": spec,
    }
