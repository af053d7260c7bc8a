"""What a wait in vain says about the objects: from answers as an API server gives them, and from none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import Kubectl, KubectlError
from pytest_kubernix.kubectl.diagnosis import MOST_EVENTS, MOST_OBJECTS, event_lines, object_lines

from .test_kubectl import executable
from .test_kubectl_waiting import Rules, answering, asked

TIMED_OUT = (1, "", "error: timed out waiting for the condition on deployments/web")


def thing(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "n", "generation": 2}, **fields}


def event(kind: str, name: str, message: str, **fields: Any) -> dict[str, Any]:
    about = {"involvedObject": {"kind": kind, "name": name}, "type": "Warning", "reason": "Failed"}
    return {**about, "metadata": {}, "message": message, "lastTimestamp": "2026-01-01T10:00:00Z", **fields}


def answer(*items: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [(0, json.dumps({"kind": "List", "items": list(items)}), "")]


WAITING = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers:\n [main]"},
    ],
    "containerStatuses": [
        {"name": "done", "state": {"terminated": {"exitCode": 0}}},
        {
            "name": "main",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
            "restartCount": 4,
        },
        {"name": "fine", "ready": True, "state": {"running": {}}},
        {"name": "slow", "ready": False, "state": {"running": {}}},
    ],
}


def test_a_pod_says_what_its_containers_wait_for() -> None:
    """Phase, what is not true of it, and every container that is not ready, with its last end."""
    assert object_lines(thing("Pod", "web", status=WAITING)) == [
        "pod/web: phase Pending",
        "  Ready=False (ContainersNotReady: containers: [main])",
        "  container main: waiting (CrashLoopBackOff: back-off 10s); before: exit code 3 (Error); restarts: 4",
        "  container slow: running, not ready",
    ]


def test_an_object_of_any_kind() -> None:
    """Conditions, phase, replicas, a controller that is behind, a deletion that does not end, or no status."""
    conditions = [{"type": "Ready", "status": "True"}]
    behind = "generation 2, of which 1 is the last that its controller has seen"
    status = {"phase": "Progressing", "observedGeneration": 1, "readyReplicas": 1, "conditions": conditions}
    assert object_lines(thing("Website", "home", spec={"replicas": 2}, status=status)) == [
        f"website/home: phase Progressing; 1 of 2 replicas ready; {behind}",
        "  Ready=True",
    ]
    going = {"name": "a", "deletionTimestamp": "2026-01-01T10:00:00Z", "finalizers": ["example.test/x"]}
    [line] = object_lines({"kind": "Website", "metadata": going})
    assert line == "website/a: being deleted since 2026-01-01T10:00:00Z, finalizers example.test/x"
    assert object_lines(thing("ConfigMap", "a")) == ["configmap/a: no status"]


def test_events_are_the_last_ones_about_it() -> None:
    """Of what is concerned only, in the order of time, and no more than a few, each in one short line."""
    events = [event("Pod", "a", f"message {n}", lastTimestamp=f"2026-01-01T10:00:{n:02}Z") for n in range(30)]
    events += [event("Pod", "b", "of another"), event("Node", "a", "of another kind")]
    lines = event_lines(events[::-1], {("Pod", "a")})
    assert len(lines) == 1 + MOST_EVENTS
    assert lines[0] == "last events (UTC):"
    assert lines[-1] == "  10:00:29 Warning Failed pod/a: message 29"
    series = {"count": 3, "lastObservedTime": "2026-01-01T11:00:00.000000Z"}
    [_, line] = event_lines([event("Pod", "a", "x" * 999, lastTimestamp=None, series=series)], {("Pod", "a")})
    assert line.startswith("  11:00:00 Warning Failed pod/a (x3): xxx")
    assert len(line) < 400


def test_a_deployment_brings_its_pods_and_their_events(tmp_path: Path) -> None:
    """The error of a wait has kubectl's words first, then the Deployment, the pods that wait, and events of all."""
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["1"]}]}
    condition = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"}
    deployment = thing(
        "Deployment", "web", spec={"replicas": 1, "selector": selector}, status={"conditions": [condition]}
    )
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    children = [
        thing("ReplicaSet", "web-1"),
        thing("Pod", "web-1-a", status=ready),
        thing("Pod", "web-1-b", status=WAITING),
    ]
    events = [event("ReplicaSet", "web-1", "no quota"), event("Pod", "web-1-b", "no image"), event("Pod", "x", "other")]
    rules: Rules = [
        ("wait deployment/web", [TIMED_OUT]),
        ("get deployment/web", [(0, json.dumps(deployment), "")]),
        ("get replicasets,pods --selector=app=web,x notin (1)", answer(*children)),
        ("get events", answer(*events)),
    ]
    with pytest.raises(KubectlError) as raised:
        answering(tmp_path, rules).wait("deployment/web", "condition=Available", namespace="n", timeout=0)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"kubectl wait deployment/web …: exit code 1: {TIMED_OUT[2]}"
    assert lines[2:5] == [
        "deployment/web: 0 of 1 replicas ready",
        "  Available=False (MinimumReplicasUnavailable)",
        "pod/web-1-b: phase Pending",
    ]
    assert lines[-3:] == [
        "last events (UTC):",
        "  10:00:00 Warning Failed replicaset/web-1: no quota",
        "  10:00:00 Warning Failed pod/web-1-b: no image",
    ]
    assert raised.value.stderr.strip() == TIMED_OUT[2]


def test_of_many_objects_those_that_kubectl_named(tmp_path: Path) -> None:
    """A wait by labels shows the objects that it failed for, and of too many only the first."""
    pods = [thing("Pod", f"p{n}", status={"phase": "Running"}) for n in range(20)]
    late = (1, "", "timed out waiting for the condition on pods/p7\ntimed out waiting for the condition on pods/p9")
    nobody = (1, "", "error: something else")
    rules: Rules = [("wait", [late, nobody]), ("get pod --selector=app=a", answer(*pods)), ("get events", answer())]
    kubectl = answering(tmp_path, rules)
    with pytest.raises(KubectlError) as raised:
        kubectl.wait("pod", "condition=Ready", selector="app=a", timeout=0)
    assert str(raised.value).splitlines()[-2:] == ["pod/p7: phase Running", "pod/p9: phase Running"]
    with pytest.raises(KubectlError, match=r"pod/p4: phase Running\n\.\.\. and 15 more$"):
        kubectl.wait("pod", "condition=Ready", selector="app=a", timeout=0)
    assert MOST_OBJECTS == 5


def test_events_of_what_is_not_there(tmp_path: Path) -> None:
    """An object that never came, or is gone, may have left events that say why."""
    rules: Rules = [
        ("wait", [(1, "", 'Error from server (NotFound): pods "a" not found')]),
        ("get pod/a", [(0, "", "")]),
        ("get events", answer(event("Pod", "a", "evicted"), event("Pod", "b", "other"))),
    ]
    with pytest.raises(KubectlError, match=r"Failed pod/a: evicted$"):
        answering(tmp_path, rules).wait("pod/a", "condition=Ready", timeout=0)


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (
            (1, "", "Unable to connect to the server: EOF"),
            r"more could not be read: kubectl get events …: exit code 1: Un",
        ),
        ((0, "no json", ""), r"more could not be read: JSONDecodeError"),
        ((0, '{"items": [{"odd": []}]}', ""), r"more could not be read: KeyError"),
    ],
)
def test_what_can_not_be_read_hides_nothing(tmp_path: Path, given: tuple[int, str, str], note: str) -> None:
    """The original error stays, with what was read before, and a line that says why there is no more."""
    pod = thing("Pod", "a", status={"phase": "Pending"})
    rules: Rules = [("wait", [TIMED_OUT]), ("get pod/a", answer(pod)), ("get events", [given])]
    with pytest.raises(KubectlError, match=rf"(?s)timed out.*pod/a: phase Pending\n{note}") as raised:
        answering(tmp_path, rules).wait("pod/a", "condition=Ready", timeout=0)
    assert raised.value.returncode == 1


def test_a_refused_connection_is_told_once(tmp_path: Path) -> None:
    """Who could not even wait is not asked on, and the same reason does not stand there twice."""
    dead = "The connection to the server 127.0.0.1:1 was refused"
    with pytest.raises(KubectlError, match=f"^kubectl wait pod/a …: exit code 1: {dead}\ncommand: [^\n]*$"):
        answering(tmp_path, [("", [(1, "", dead)])]).wait("pod/a", "condition=Ready", timeout=0)
    assert asked(tmp_path, "") == 2


def test_a_silent_api_server_holds_nobody_up(tmp_path: Path) -> None:
    """A question that gets no answer is given up within seconds, and the wait's own error is raised."""
    script = f"#!/bin/sh\n[ $2 = wait ] || exec sleep 600\necho '{TIMED_OUT[2]}' >&2; exit 1\n"
    started = time.monotonic()
    with pytest.raises(
        KubectlError, match=r"(?s)timed out.*more could not be read: kubectl get pod/a …: ran out of time"
    ):
        Kubectl(executable(tmp_path / "kubectl", script), tmp_path / "k").wait("pod/a", "create", timeout=0)
    assert time.monotonic() - started < 10
