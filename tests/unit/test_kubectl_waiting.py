"""Waiting as a process, on executables that give up or come round; real waits are in tests/integration."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import Kubectl, KubectlError
from pytest_kubernix.access.kubeconfig import render

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
VERSIONS = [{"name": "v1", "served": True}, {"name": "v0", "served": False}]
SPEC: dict[str, Any] = {"group": "example.test", "names": {"plural": "websites"}, "versions": VERSIONS}
STATUS = {"conditions": [{"type": "Established", "status": "True"}]}
DEFINITION = {"metadata": {"name": CRD}, "spec": SPEC, "status": STATUS}
RESOURCES = [{"version": "v1", "resources": [{"resource": "websites"}]}]
GROUPS = {"items": [{"metadata": {"name": "example.test"}, "versions": RESOURCES}]}
EARLY = (404, {"message": "the server could not find the requested resource"})
BUSY = (429, {"message": "storage is (re)initializing"})
LIST = "/apis/example.test/v1/websites?resourceVersion=0"
Said = list[tuple[int, dict[str, Any]]]
SERVED: dict[str, Said] = {
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": [(200, {**DEFINITION, "status": {}}), (200, DEFINITION)],
    "/apis?": [(200, {"items": []}), (200, GROUPS)],
    LIST: [EARLY, BUSY, (200, {})],
}


class ApiServer:
    """Answers a GET by the first path that it begins with, the last answer of each for ever.

    Attributes:
        asked: What was asked for.
    """

    def __init__(self, said: dict[str, Said]) -> None:
        self._said = {path: list(answers) for path, answers in said.items()}
        self._lock = threading.Lock()
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.asked.append(path)
            wanted = path if "?" in path else f"{path}?"
            answers = next(answers for begin, answers in self._said.items() if wanted.startswith(begin))
            return answers.pop(0) if len(answers) > 1 else answers[0]


@contextlib.contextmanager
def serving(folder: Path, said: dict[str, Said], rules: Rules) -> Iterator[tuple[Kubectl, ApiServer]]:
    """A kubectl with a kubeconfig whose API server says these things."""
    api = ApiServer(said)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = api.answer(self.path)
            text = json.dumps(body).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    (folder / "kubeconfig").write_text(render(server=url, ca_pem="", user="me", token="t"))
    try:
        yield answering(folder, rules), api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_applied_crd_is_served(tmp_path: Path) -> None:
    """apply returns once the kind is established, in discovery, and answers a list, for every served version."""
    with serving(tmp_path, SERVED, [("apply", [(0, APPLIED, "")])]) as (kubectl, api):
        assert kubectl.apply("crd.yaml: text").stdout.strip() == APPLIED.strip()
    assert len([path for path in api.asked if path.startswith(LIST)]) == 3
    assert not [path for path in api.asked if "/v0/" in path]


def test_many_crds_wait_for_no_other(tmp_path: Path) -> None:
    """A kind that asks to be asked again in a second is asked again soon, beside all others."""
    names = [f"k{number}.example.test" for number in range(40)]
    said: dict[str, Said] = {}
    definitions, resources = [], []
    for name in names:
        plural = name.partition(".")[0]
        spec = {**SPEC, "names": {"plural": plural}}
        definitions.append({"metadata": {"name": name}, "spec": spec, "status": STATUS})
        resources.append({"resource": plural})
        said[f"/apis/example.test/v1/{plural}?"] = [BUSY, (200, {})]
    groups = {
        "items": [{"metadata": {"name": "example.test"}, "versions": [{"version": "v1", "resources": resources}]}]
    }
    said |= {"/apis/apiextensions.k8s.io/v1/custom": [(200, {"items": definitions})], "/apis?": [(200, groups)]}
    applied = "\n".join(f"customresourcedefinition.apiextensions.k8s.io/{name} created" for name in names)
    with serving(tmp_path, said, [("apply", [(0, applied, "")])]) as (kubectl, api):
        kubectl.apply("many: crds", timeout=20)
    assert len([path for path in api.asked if path.startswith("/apis/example.test/v1/")]) == 80
    # Once for each round, not for each kind.
    assert len([path for path in api.asked if path.startswith("/apis/apiextensions")]) == 2


def test_a_conversion_webhook_is_not_waited_for(tmp_path: Path) -> None:
    """A kind of which only the conversion webhook is missing is served: the test may be about to start that."""
    definition = {**DEFINITION, "spec": {**SPEC, "conversion": {"strategy": "Webhook"}}}
    failing = (500, {"message": 'conversion webhook for example.test/v1 failed: Post "https://x": refused'})
    said: dict[str, Said] = {
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": [(200, definition)],
        "/apis?": [(200, GROUPS)],
        LIST: [BUSY],
        "/apis/example.test/v1/websites?limit=1": [failing],
    }
    with serving(tmp_path, said, [("apply", [(0, APPLIED, "")])]) as (kubectl, api):
        kubectl.apply("crd: text", timeout=20)
    assert len([path for path in api.asked if path.startswith(LIST)]) == 1


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
    with serving(tmp_path, SERVED, [("apply", [refused, (0, applied, "")])]) as (kubectl, _):
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


@pytest.mark.parametrize(("answer", "timeout"), [(BUSY, 1.0), ((403, {"message": "websites is forbidden"}), 20.0)])
def test_a_crd_that_is_never_served(tmp_path: Path, answer: tuple[int, dict[str, Any]], timeout: float) -> None:
    """It has a limit, and a user that may not look is told so at once; the answer is in the error."""
    said = {**SERVED, LIST: [answer]}
    words = answer[1]["message"]
    with (
        serving(tmp_path, said, [("apply", [(0, APPLIED, "")])]) as (kubectl, _),
        pytest.raises(KubectlError, match=rf"crd/{CRD} was not served .* s after it was applied: ") as raised,
    ):
        kubectl.apply("crd: text", timeout=timeout)
    assert raised.value.stderr.strip() == words
    assert words in str(raised.value)


def test_a_crd_that_is_never_established(tmp_path: Path) -> None:
    """kubectl's own words say what is wrong with it."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    said: dict[str, Said] = {**SERVED, definitions: [(200, {**DEFINITION, "status": {}})]}
    rules: Rules = [("apply", [(0, APPLIED, "")]), ("wait crd/", [(1, "", "error: timed out")]), ("get", [(0, "", "")])]
    with (
        serving(tmp_path, said, rules) as (kubectl, _),
        pytest.raises(KubectlError, match=r"kubectl wait crd/websites\.example\.test"),
    ):
        kubectl.apply("crd: text", timeout=0.5)
