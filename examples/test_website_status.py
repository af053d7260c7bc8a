"""What needs no cluster is tested without one: the status that follows from a Website and its Deployment.
Run it with `pytest examples/test_website_status.py`; no cluster is booted for it."""

from __future__ import annotations

from typing import Any

import pytest
from website_operator.resources import status

WEBSITE: dict[str, Any] = {
    "metadata": {"name": "home", "namespace": "default", "generation": 2},
    "spec": {"title": "Hello", "text": "", "replicas": 2},
}
DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({}, "Ready"),
        ({"observedGeneration": 2}, "Progressing"),
        ({"readyReplicas": 1}, "Progressing"),
        ({"updatedReplicas": 1}, "Progressing"),
        ({"replicas": 3}, "Progressing"),
    ],
)
def test_ready_means_all_of_it(change: dict[str, int], phase: str) -> None:
    """Ready means that the Deployment has seen the change and every server is new, ready and wanted."""
    deployed = {"metadata": {"generation": 3}, "status": {**DONE, **change}}
    found = status(WEBSITE, deployed)
    assert found["phase"] == phase
    assert found["conditions"][0]["status"] == str(phase == "Ready")


def test_condition_remembers_since_when() -> None:
    """The time of a condition stays what it was for as long as the condition does."""
    since = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    before = {**WEBSITE, "status": {"conditions": [since]}}
    for generation, is_kept in ((3, True), (4, False)):
        [condition] = status(before, {"metadata": {"generation": generation}, "status": DONE})["conditions"]
        assert (condition["lastTransitionTime"] == since["lastTransitionTime"]) is is_kept
