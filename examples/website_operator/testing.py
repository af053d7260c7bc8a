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
        kubectl: Acts as the person who wants the page, in the Website's namespace.
        name: Its name, and that of all its children.
    """

    kubectl: Kubectl
    name: str

    def get(self, kind: str = "website") -> dict[str, Any]:
        """The Website, or its child of another kind, as the API server has it."""
        return self.kubectl.get(kind, self.name)

    def change(self, **spec: object) -> None:
        """Want something else of it."""
        self.kubectl.patch(f"website/{self.name}", {"spec": spec})

    def wait_ready(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until what is wanted now is what is served, and give the status that says so.

        `kubectl wait` compares observedGeneration, so that what was ready before a change does not count.
        """
        self.kubectl.wait(f"website/{self.name}", "condition=Ready", timeout=timeout)
        status: dict[str, Any] = self.get()["status"]
        return status

    def delete(self) -> None:
        """Delete it, and wait until its finalizer has let it go; if it is gone already, that is fine."""
        self.kubectl.delete(f"website/{self.name}", missing_ok=True, timeout=30)

    def pods(self) -> list[dict[str, Any]]:
        """Its pods, without those that are on their way out."""
        pods = self.kubectl.get("pods", selector=f"{WEBSITE_LABEL}={self.name}")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def pages(self) -> list[str]:
        """What each of its pods answers."""
        get = ("test-server", "get", "http://localhost:8080/")
        return [self.kubectl.exec(pod["metadata"]["name"], *get).stdout for pod in self.pods()]


def manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A Website as one would write it into a file."""
    return {
        "apiVersion": "example.kubernix.test/v1",
        "kind": "Website",
        "metadata": {"name": name},
        "spec": spec,
    }
