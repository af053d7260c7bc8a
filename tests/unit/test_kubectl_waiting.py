"""Waiting as a process, on executables that give up or come round; real waits are in tests/integration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import Kubectl, KubectlError

from .test_kubectl import executable

WAITS = """#!/bin/sh
echo "$@" >> {log}
[ "$(wc -l < {log})" -ge 3 ] && exit 0
[ "$(wc -l < {log})" -eq 1 ] && echo 'Error from server (NotFound): pods "a" not found' >&2
[ "$(wc -l < {log})" -eq 2 ] && echo 'error: no matching resources found' >&2
exit 1
"""


def test_an_object_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """A test that waits for what a controller is about to make does not have to poll for it."""
    log = tmp_path / "log"
    path = executable(tmp_path / "kubectl", WAITS.format(log=log))
    Kubectl(path, tmp_path / "k").wait("pod", "condition=Ready", selector="app=a", namespace="n", timeout=20)
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert line.startswith(f"--kubeconfig={tmp_path}/k --namespace=n wait pod --for=condition=Ready ")
        assert 0 < float(line.rpartition("--timeout=")[2].removesuffix("s")) <= 20


@pytest.mark.parametrize(
    ("stderr", "timeout"),
    [("error: the server doesn't have a resource type", 20.0), ("Error from server (NotFound): x", 0.0)],
)
def test_waiting_ends(tmp_path: Path, stderr: str, timeout: float) -> None:
    """An error that time does not mend is raised at once, the others when the time is up."""
    path = executable(
        tmp_path / "kubectl", f'#!/bin/sh\n[ $2 = get ] || echo run >> {tmp_path}/log\necho "{stderr}" >&2\nexit 1\n'
    )
    with pytest.raises(KubectlError, match=r"exit code 1") as raised:
        Kubectl(path, tmp_path / "k").wait("pod/a", "condition=Ready", timeout=timeout)
    assert raised.value.stderr.strip() == stderr
    assert (tmp_path / "log").read_text() == "run\n"


# Answers a run by the first of its rules whose words all are among the arguments; a rule is used up but for the last.
ANSWERS = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = " ".join(sys.argv[1:])
with (folder / "log").open("a") as log:
    log.write(words + "\\n")
rules = json.loads((folder / "rules").read_text())
for pattern, answers in rules:
    if pattern in words:
        code, out, err = answers.pop(0) if len(answers) > 1 else answers[0]
        (folder / "rules").write_text(json.dumps(rules))
        print(out)
        print(err, file=sys.stderr)
        sys.exit(code)
sys.exit("no rule for " + words)
"""

Rules = list[tuple[str, list[tuple[int, str, str]]]]


def answering(folder: Path, rules: Rules) -> Kubectl:
    """A kubectl that has these answers, the last of each for ever."""
    (folder / "rules").write_text(json.dumps(rules))
    return Kubectl(executable(folder / "kubectl", ANSWERS), folder / "kubeconfig")


def asked(folder: Path, pattern: str) -> int:
    """How often that was asked."""
    return sum(pattern in line for line in (folder / "log").read_text().splitlines())


CRD = "websites.example.test"
APPLIED = f"namespace/a unchanged\ncustomresourcedefinition.apiextensions.k8s.io/{CRD} created\n"
NAMES: dict[str, Any] = {"plural": "websites"}
SPEC = {
    "group": "example.test",
    "names": NAMES,
    "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}],
}
GROUPS = {"groups": [{"versions": [{"groupVersion": "example.test/v1"}]}]}
EARLY = (1, "", "Error from server (NotFound): the server could not find the requested resource")
BUSY = (1, "", "Error from server (TooManyRequests): storage is (re)initializing")
SERVED: Rules = [
    ("wait crd/", [(0, "", "")]),
    ("get crd", [(0, json.dumps({"kind": "CustomResourceDefinition", "spec": SPEC}), "")]),
    ("--raw=/apis/example.test/v1/websites?", [EARLY, BUSY, (0, "{}", "")]),
    ("--raw=/apis", [(0, '{"groups": []}', ""), (0, json.dumps(GROUPS), "")]),
    ("get websites.v1.example.test", [(1, "", "error: the server doesn't have a resource type"), (0, "", "")]),
]


def test_an_applied_crd_is_served(tmp_path: Path) -> None:
    """apply returns once the group, the list and kubectl's own discovery all answer for every served version."""
    kubectl = answering(tmp_path, [("apply", [(0, APPLIED, "")]), *SERVED])
    assert kubectl.apply("crd.yaml: text").stdout.strip() == APPLIED.strip()
    assert asked(tmp_path, "--raw=/apis/example.test/v1/websites?resourceVersion=0&labelSelector=") == 4
    assert asked(tmp_path, "get websites.v1.example.test") == 2
    assert asked(tmp_path, "/v0/") == 0


def test_nothing_is_asked_without_a_crd(tmp_path: Path) -> None:
    """What has no CRD in it, and what should not wait, is one run of kubectl."""
    kubectl = answering(tmp_path, [("apply", [(0, "pod/a created", ""), (0, APPLIED, "")])])
    kubectl.apply({"kind": "Pod"})
    kubectl.apply({"kind": "CustomResourceDefinition"}, wait=False)
    assert asked(tmp_path, "") == 2


def test_a_crd_and_its_objects_are_one_manifest(tmp_path: Path) -> None:
    """kubectl refuses an object whose kind the same manifest brings; once that is served, it is applied again."""
    refused = (1, APPLIED, 'error: no matches for kind "Website" in version "example.test/v1"')
    applied = f"customresourcedefinition.apiextensions.k8s.io/{CRD} unchanged\nwebsite/home created"
    kubectl = answering(tmp_path, [("apply", [refused, (0, applied, "")]), *SERVED])
    assert "website/home created" in kubectl.apply("both: of them").stdout
    assert asked(tmp_path, "apply") == 2


def test_two_workers_apply_the_same(tmp_path: Path) -> None:
    """Who comes second finds it made meanwhile, and applies its own on top."""
    late = (1, "", 'Error from server (AlreadyExists): error when creating "STDIN": configmaps "a" already exists')
    kubectl = answering(tmp_path, [("apply", [late, (0, "configmap/a unchanged", "")])])
    assert kubectl.apply({"kind": "ConfigMap"}).stdout.strip() == "configmap/a unchanged"
    assert asked(tmp_path, "apply") == 2


@pytest.mark.parametrize("condition", ["Available", "ready", "condition Ready", ""])
def test_a_condition_that_is_none(tmp_path: Path, condition: str) -> None:
    """It is named, with what is allowed, and kubectl is not asked."""
    kubectl = answering(tmp_path, [("wait", [(0, "", "")])])
    with pytest.raises(ValueError, match=rf"^condition='{condition}': allowed are condition=Available .*delete$"):
        kubectl.wait("pod/a", condition)
    with pytest.raises(ValueError, match=r"^timeout='2s': allowed is a number of seconds$"):
        kubectl.wait("pod/a", "create", timeout="2s")  # type: ignore[arg-type]
    assert not (tmp_path / "log").exists()


def test_another_failure_is_told_at_once(tmp_path: Path) -> None:
    """What was refused for its own sake does not have to wait for a CRD."""
    kubectl = answering(tmp_path, [("apply", [(1, APPLIED, "error: the quota is exceeded")])])
    with pytest.raises(KubectlError, match=r"^kubectl apply …: exit code 1: error: the quota is exceeded"):
        kubectl.apply("both: of them")
    assert asked(tmp_path, "") == 1


@pytest.mark.parametrize(
    ("answer", "timeout"),
    [(BUSY, 2.0), ((1, "", "Error from server (Forbidden): websites is forbidden"), 20.0)],
)
def test_a_crd_that_is_never_served(tmp_path: Path, answer: tuple[int, str, str], timeout: float) -> None:
    """It has a limit, and who may not look is told so at once; the answer is in the error."""
    found: Rules = [("--raw=/apis/example.test", [answer]), ("--raw=/apis", [(0, json.dumps(GROUPS), "")])]
    rules: Rules = [("apply", [(0, APPLIED, "")]), *found, *SERVED]
    with pytest.raises(KubectlError, match=r"not served .* s after it was applied: Error from server \(") as raised:
        answering(tmp_path, rules).apply("crd: text", timeout=timeout)
    assert raised.value.stderr.strip() == answer[2]
