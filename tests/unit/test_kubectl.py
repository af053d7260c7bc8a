"""The kubectl wrapper as a runner of processes, on executables that only tell what they were given.
What kubectl itself does is tested in tests/integration."""

from __future__ import annotations

import datetime
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import Kubectl, KubectlError

# Tells what it was given; what kubectl does with it is tested on real clusters.
STUB = f"""#!{sys.executable}
import json, os, sys
stdin = "" if sys.stdin is None else sys.stdin.read()
given = [open(path).read() for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
print(json.dumps(dict(argv=sys.argv[1:], env=dict(os.environ), stdin=stdin, kubeconfigs=given)))
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    """Runs the stub."""
    return Kubectl(executable(tmp_path / "kubectl", STUB), tmp_path / "kubeconfig")


def argv(kubectl: Kubectl, stdout: str) -> list[str]:
    """The arguments after those that every run has."""
    arguments = json.loads(stdout)["argv"]
    assert arguments[0] == f"--kubeconfig={kubectl.kubeconfig}"
    return [str(argument) for argument in arguments[1:]]


def test_it_runs_with_the_kubeconfig_of_its_cluster_only(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither KUBECONFIG nor a user's kuberc gets in, and the environment of the tests stays as it is."""
    monkeypatch.setenv("KUBECONFIG", "/other")
    monkeypatch.setenv("HOME", "/home/me")
    before = dict(os.environ)
    seen = json.loads(kubectl("get", "pods").stdout)
    assert dict(os.environ) == before
    assert "KUBECONFIG" not in seen["env"]
    assert (seen["env"]["HOME"], seen["env"]["PATH"]) == ("/home/me", before["PATH"])
    assert (seen["env"]["KUBERC"], seen["env"]["KUBECTL_KUBERC"]) == ("off", "false")


def test_nothing_goes_through_a_shell(kubectl: Kubectl) -> None:
    """Arguments arrive as they are given."""
    odd = ["$(id)", "a b", "; rm", "*", "'"]
    assert argv(kubectl, kubectl("annotate", *odd).stdout) == ["annotate", *odd]


def test_a_failure_tells_command_code_and_stderr(tmp_path: Path) -> None:
    """The error has all that is needed to run the command again by hand."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho some; echo it broke >&2; exit 3\n")
    kubectl = Kubectl(path, tmp_path / "kubeconfig")
    with pytest.raises(KubectlError) as raised:
        kubectl("get", "pods", namespace="here")
    error = raised.value
    assert error.command == (str(path), f"--kubeconfig={tmp_path}/kubeconfig", "--namespace=here", "get", "pods")
    assert (error.returncode, error.stdout, error.stderr) == (3, "some\n", "it broke\n")
    assert str(error) == "kubectl get pods …: exit code 3: it broke\ncommand: kubectl --namespace=here get pods"


def test_a_failure_may_be_a_result(tmp_path: Path) -> None:
    """check=False gives exit code and output instead of an error."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho it broke >&2; exit 3\n")
    result = Kubectl(path, tmp_path / "kubeconfig")("get", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "it broke\n")


def ends(pid: int) -> bool:
    """Whether a process that has no parent here has ended, or does within seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(descriptor):
        return bool(select.select([descriptor], [], [], 5)[0])


@pytest.mark.parametrize("check", [True, False])
def test_time_is_up(tmp_path: Path, check: bool) -> None:
    """A run that takes too long is stopped, with all that it started, and always an error."""
    pid_file = tmp_path / "pid"
    path = executable(
        tmp_path / "kubectl", f"#!/bin/sh\nsleep 600 &\necho $! > {pid_file}; echo waiting; echo why >&2; wait\n"
    )
    with pytest.raises(KubectlError, match=r"kubectl get: ran out of time, stopped after 0\.5 s: why$") as raised:
        Kubectl(path, tmp_path / "kubeconfig")("get", check=check, timeout=0.5)
    assert (raised.value.returncode, raised.value.stdout) == (None, "waiting\n")
    assert ends(int(pid_file.read_text()))


def test_an_interrupt_ends_the_child(tmp_path: Path) -> None:
    """Ctrl-C during a run leaves no kubectl behind."""
    pid_file = tmp_path / "pid"
    # Its input ends only once the call waits for it, which is where an interrupt should find it.
    script = f"#!/bin/sh\ncat\necho $$ > {pid_file}; kill -INT {os.getpid()}; exec sleep 600\n"
    path = executable(tmp_path / "kubectl", script)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Kubectl(path, tmp_path / "kubeconfig")("get", stdin="")
    finally:
        signal.signal(signal.SIGINT, handler)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("manifest", "stdin"),
    [
        (POD, POD),
        ([POD, POD], {"apiVersion": "v1", "kind": "List", "items": [POD, POD]}),
        (json.dumps(POD), POD),
    ],
)
def test_objects_are_applied_through_standard_input(kubectl: Kubectl, manifest: object, stdin: object) -> None:
    """An object, a list of them or text needs no file."""
    user = {"name": "ctx", "context": {"cluster": "c", "user": "u"}}
    kubectl.kubeconfig.write_text(json.dumps({"current-context": "ctx", "contexts": [user]}))
    result = kubectl.apply(manifest, namespace="here")
    seen = json.loads(result.stdout)
    assert seen["argv"] == ["apply", "--filename=-"]
    assert json.loads(seen["stdin"]) == stdin
    # As the default alone: with the flag, kubectl refuses objects of other namespaces.
    context, whole = (json.loads(text) for text in seen["kubeconfigs"])
    assert context["contexts"] == [{"name": "ctx", "context": {"cluster": "c", "user": "u", "namespace": "here"}}]
    assert whole["contexts"] == [user]
    assert result.command[1:] == (f"--kubeconfig={kubectl.kubeconfig}", "--namespace=here", "apply", "--filename=-")


@pytest.mark.parametrize("nothing", ["", " ", "\n\n", "---", "# a\n--- # b\n  # c\n...\n", [], [None], ()])
def test_nothing_is_not_the_current_directory(kubectl: Kubectl, nothing: object) -> None:
    """A chart that rendered to nothing is an error, and never all manifests that lie around."""
    for call in (kubectl.apply, kubectl.delete):
        with pytest.raises(ValueError, match=r"no objects passed.*allowed are a path, a URL, YAML text"):
            call(nothing)


def test_what_yaml_and_the_official_client_make_is_applied(kubectl: Kubectl) -> None:
    """Empty documents are left out, dates become text, and models of kubernetes.client are objects."""
    from kubernetes.client import V1ConfigMap, V1ObjectMeta

    day = datetime.date(2026, 1, 2)
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    model = V1ConfigMap(kind="ConfigMap", metadata=V1ObjectMeta(name="m", creation_timestamp=moment))
    seen = json.loads(kubectl.apply([None, {"kind": "A", "spec": {"day": day, "at": moment}}, None, model]).stdout)
    assert json.loads(seen["stdin"])["items"] == [
        {"kind": "A", "spec": {"day": "2026-01-02", "at": "2026-01-02T03:04:05Z"}},
        {"kind": "ConfigMap", "metadata": {"name": "m", "creationTimestamp": "2026-01-02T03:04:05+00:00"}},
    ]
    assert json.loads(json.loads(kubectl.apply(model).stdout)["stdin"])["metadata"]["name"] == "m"
    odd = {"kind": "A", "data": {day: moment.replace(tzinfo=None), 1: (2, {3})}}
    given = json.loads(json.loads(kubectl.apply(odd).stdout)["stdin"])
    assert given["data"] == {"2026-01-02": "2026-01-02T03:04:05Z", "1": [2, [3]]}


def test_an_empty_namespace_is_none(kubectl: Kubectl) -> None:
    """A variable that is empty by mistake does not lead into the namespace "default"."""
    for call in (lambda: kubectl.in_namespace(""), lambda: kubectl("get", "pods", namespace="")):
        with pytest.raises(ValueError, match='namespace="": allowed is the name'):
            call()


def test_what_is_too_long_for_an_argument_is_refused(kubectl: Kubectl) -> None:
    """The error says how long it is, and which way takes it."""
    with pytest.raises(ValueError, match=r"an argument of 200000 bytes is more than the system takes.*stdin="):
        kubectl.exec("pod", "echo", "x" * 200_000)


def test_what_can_not_be_applied_is_named(kubectl: Kubectl) -> None:
    """A value that is no object, or that JSON can't hold, is an error that says what is allowed."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        kubectl.apply({"kind": "A", "spec": float("nan")})
    for wrong in (7, [7], [{"kind": "A"}, "text"]):
        with pytest.raises(TypeError, match="allowed are a path, a URL"):
            kubectl.apply(wrong)
    with pytest.raises(TypeError, match=r"object at .* in an object: allowed is what JSON holds, and dates"):
        kubectl.apply({"kind": "A", "spec": object()})


def test_urls_are_left_to_kubectl(kubectl: Kubectl) -> None:
    """A URL is no path, for both."""
    url = "https://example.test/install.yaml"
    assert argv(kubectl, kubectl.apply(url).stdout) == ["apply", f"--filename={url}"]
    assert argv(kubectl, kubectl.delete(url).stdout)[:2] == ["delete", f"--filename={url}"]


def test_what_goes_through_is_unchanged(tmp_path: Path) -> None:
    """Bytes and line ends of a command in a pod are what they were, both ways, as text and as bytes."""
    kubectl = Kubectl(executable(tmp_path / "kubectl", "#!/bin/sh\nexec cat\n"), tmp_path / "kubeconfig")
    data = b"a\r\nb\rc\n\x80\xff\xc3\xa4"
    for given in (data, data.decode(errors="surrogateescape")):
        result = kubectl.exec("pod", "cat", stdin=given)
        assert result.stdout_bytes == data
        assert result.stdout == "a\r\nb\rc\n\udc80\udcff\xe4"
        assert result.stdout.encode(errors="surrogateescape") == data


def test_yaml_text_is_applied_as_it_is(kubectl: Kubectl) -> None:
    """Text with more than one line is no path."""
    text = "kind: Pod\nmetadata: {name: a}\n"
    result = kubectl.apply(text, server_side=True)
    assert argv(kubectl, result.stdout) == ["apply", "--filename=-", "--server-side"]
    assert json.loads(result.stdout)["stdin"] == text


def test_files_are_applied_by_path(kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Path and a text that names a file are the same; a kustomization is built."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pod.yaml").write_text("{}")
    (tmp_path / "all").mkdir()
    (tmp_path / "kust").mkdir()
    (tmp_path / "kust" / "kustomization.yaml").write_text("{}")
    for path, flag in (
        ("pod.yaml", "--filename=pod.yaml"),
        (tmp_path / "pod.yaml", f"--filename={tmp_path}/pod.yaml"),
        ("all", "--filename=all"),
        ("kust", "--kustomize=kust"),
    ):
        assert argv(kubectl, kubectl.apply(path).stdout) == ["apply", flag]


def test_a_missing_manifest_names_where_it_was_looked_for(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths start somewhere, and the message says where."""
    monkeypatch.chdir(tmp_path)
    for call in (kubectl.apply, kubectl.delete):
        with pytest.raises(FileNotFoundError, match=rf"no manifest at pod\.yaml .*{tmp_path}"):
            call("pod.yaml")


def test_delete_takes_manifests_and_names(kubectl: Kubectl, tmp_path: Path) -> None:
    """What apply takes, delete takes; a kind and a name, too."""
    flags = ["--ignore-not-found=false", "--wait=true"]
    assert argv(kubectl, kubectl.delete("pod", "a").stdout) == ["delete", "pod", "a", *flags]
    assert argv(kubectl, kubectl.delete("pod/a").stdout) == ["delete", "pod/a", *flags]
    folder = f"{tmp_path}/"
    assert argv(kubectl, kubectl.delete(folder).stdout) == ["delete", f"--filename={tmp_path}", *flags]
    assert argv(kubectl, kubectl.delete(POD).stdout) == ["delete", "--filename=-", *flags]
    result = kubectl.delete("pod", selector="app=a", missing_ok=True, wait=False)
    assert argv(kubectl, result.stdout) == [
        *("delete", "pod", "--selector=app=a", "--ignore-not-found=true", "--wait=false")
    ]


def test_exec_adds_no_shell(kubectl: Kubectl) -> None:
    """The command stands after --, so its flags are its own."""
    result = kubectl.exec("a", "ls", "-l", container="c", namespace="n", stdin="in")
    assert argv(kubectl, result.stdout) == ["--namespace=n", "exec", "a", "--container=c", "--stdin", "--", "ls", "-l"]
    assert json.loads(result.stdout)["stdin"] == "in"


def test_words_are_arguments(kubectl: Kubectl) -> None:
    """A whole command line in one text is told apart from a command, with the way to write it."""
    with pytest.raises(ValueError, match=r"'get pods -A'\): each word .*: kubectl\(\"get\", \"pods\", \"-A\"\)$"):
        kubectl("get pods -A")
    calls: dict[str, list[Any]] = {
        "get": ["pods -A"],
        "patch": ["deployment web", {}],
        "delete": ["pod web"],
        "logs": ["web -f"],
        "exec": ["web", "cat /etc/hosts"],
        "wait": ["deployment web", "create"],
    }
    for method, words in calls.items():
        with pytest.raises(ValueError, match=rf"^\.{method}.*: each word is an argument of its own: "):
            getattr(kubectl, method)(*words)
    with pytest.raises(TypeError, match=r"\['get', 'pods'\]\): allowed are texts and paths, each an argument"):
        kubectl(["get", "pods"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^selector=\{'app': 'a'\}: allowed is a text, such as"):
        kubectl.get("pods", selector={"app": "a"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^timeout='2s': allowed is a number of seconds$"):
        kubectl("get", timeout="2s")  # type: ignore[arg-type]


def test_as_another_user(kubectl: Kubectl, tmp_path: Path) -> None:
    """using() changes the kubeconfig and nothing else."""
    (tmp_path / "b").touch()
    with pytest.raises(FileNotFoundError, match="nobody"):
        kubectl.using(tmp_path / "nobody")
    other = Kubectl(kubectl.executable, tmp_path / "a", cache_dir=tmp_path / "c", timeout=7).using(tmp_path / "b")
    assert (other.executable, other.timeout) == (kubectl.executable, 7)
    arguments = json.loads(other("get").stdout)["argv"]
    assert arguments == [f"--kubeconfig={tmp_path}/b", f"--cache-dir={tmp_path}/c", "get"]


def test_bound_to_a_namespace(kubectl: Kubectl, tmp_path: Path) -> None:
    """in_namespace() goes for every call, as any user; the argument still wins, and the original is unbound."""
    bound = kubectl.in_namespace("here")
    assert argv(kubectl, bound.delete("pod/a").stdout)[0] == "--namespace=here"
    assert argv(kubectl, bound("get", namespace="there").stdout) == ["--namespace=there", "get"]
    assert argv(kubectl, kubectl("get").stdout) == ["get"]
    (tmp_path / "alice").touch()
    alice = bound.using(tmp_path / "alice")
    assert argv(alice, alice("get").stdout) == ["--namespace=here", "get"]
    assert (bound.namespace, kubectl.namespace) == ("here", None)
    assert repr(bound) == f"Kubectl('{tmp_path}/kubeconfig', namespace='here')"


def test_a_patch_is_what_one_would_write(kubectl: Kubectl) -> None:
    """A dict merges, a list of operations is a JSON patch, and a subresource is another thing to change."""
    merged = kubectl.patch("website/home", {"spec": {"text": None}})
    assert argv(kubectl, merged.stdout) == ["patch", "website/home", "--type=merge", "--patch-file=/dev/stdin"]
    assert json.loads(json.loads(merged.stdout)["stdin"]) == {"spec": {"text": None}}
    operations = [{"op": "remove", "path": "/spec/text"}]
    listed = kubectl.patch("website/home", operations, type="json", subresource="status").stdout
    assert argv(kubectl, listed)[2:] == ["--type=json", "--patch-file=/dev/stdin", "--subresource=status"]
    assert json.loads(json.loads(listed)["stdin"]) == operations


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo yes", True), ("echo no; exit 1", False), ("echo 'no - no RBAC policy matched'; exit 1", False)],
)
def test_rights_are_a_bool(tmp_path: Path, script: str, expected: bool) -> None:
    """Yes is True, and no is False, although kubectl fails then."""
    path = executable(tmp_path / "kubectl", f'#!/bin/sh\necho "$@" > {tmp_path}/log\n{script}\n')
    kubectl = Kubectl(path, tmp_path / "k")
    assert kubectl.can_i("get", "pods", "a", subresource="log", namespace="n", all_namespaces=True) is expected
    arguments = (tmp_path / "log").read_text().split()[1:]
    assert arguments == ["--namespace=n", "auth", "can-i", "get", "pods/a", "--subresource=log", "--all-namespaces"]


@pytest.mark.parametrize(
    "script",
    ["echo no; echo \"Warning: the server doesn't have a resource type 'podss'\" >&2; exit 1", "echo gone >&2; exit 1"],
)
def test_rights_that_nobody_could_tell(tmp_path: Path, script: str) -> None:
    """A resource that does not exist, and an API server that does not answer, are no "no"."""
    path = executable(tmp_path / "kubectl", f"#!/bin/sh\n{script}\n")
    with pytest.raises(KubectlError, match=r"^kubectl auth can-i get …: exit code 1: "):
        Kubectl(path, tmp_path / "k").can_i("get", "podss")
