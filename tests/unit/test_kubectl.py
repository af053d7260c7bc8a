"""The kubectl wrapper as a runner of processes, on executables that only tell what they were given.
What kubectl itself does is tested in tests/integration."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from pytest_kubernix import Kubectl, KubectlError

# Tells what it was given; what kubectl does with it is tested on real clusters.
STUB = f"""#!{sys.executable}
import json, os, sys
stdin = "" if sys.stdin is None else sys.stdin.read()
print(json.dumps(dict(argv=sys.argv[1:], env=dict(os.environ), stdin=stdin)))
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
    assert str(error).endswith("get pods: exit code 3\nit broke")


def test_a_failure_may_be_a_result(tmp_path: Path) -> None:
    """check=False gives exit code and output instead of an error."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho it broke >&2; exit 3\n")
    result = Kubectl(path, tmp_path / "kubeconfig")("get", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (3, "", "it broke\n")


def ends(pid: int) -> bool:
    """Whether a process that is nobody's child here has ended, or does within seconds."""
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
    with pytest.raises(KubectlError, match=r"ran out of time\nwhy\nstopped after 0\.5 s") as raised:
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
    result = kubectl.apply(manifest, namespace="here")  # type: ignore[arg-type]
    assert argv(kubectl, result.stdout) == ["--namespace=here", "apply", "--filename=-"]
    assert json.loads(json.loads(result.stdout)["stdin"]) == stdin


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


def test_as_another_user(kubectl: Kubectl, tmp_path: Path) -> None:
    """using() changes the kubeconfig and nothing else."""
    other = Kubectl(kubectl.executable, tmp_path / "a", cache_dir=tmp_path / "c", timeout=7).using(tmp_path / "b")
    assert (other.executable, other.timeout) == (kubectl.executable, 7)
    arguments = json.loads(other("get").stdout)["argv"]
    assert arguments == [f"--kubeconfig={tmp_path}/b", f"--cache-dir={tmp_path}/c", "get"]


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
    path = executable(tmp_path / "kubectl", f'#!/bin/sh\necho run >> {tmp_path}/log\necho "{stderr}" >&2\nexit 1\n')
    with pytest.raises(KubectlError, match=r"exit code 1") as raised:
        Kubectl(path, tmp_path / "k").wait("pod/a", "condition=Ready", timeout=timeout)
    assert raised.value.stderr.strip() == stderr
    assert (tmp_path / "log").read_text() == "run\n"


FORWARDS = """#!/bin/sh
echo $$ > {pid}
echo "Forwarding from 127.0.0.1:40123 -> 8080"
for n in $(seq 20000); do echo "Handling connection for 40123"; done
echo drained > {pid}.done
exec sleep 600
"""


def test_a_forward_ends_with_its_block(tmp_path: Path) -> None:
    """It gives the port that kubectl took, reads on so that kubectl is never held up, and leaves nothing."""
    pid_file = tmp_path / "pid"
    path = executable(tmp_path / "kubectl", FORWARDS.format(pid=pid_file))
    done = Path(f"{pid_file}.done")
    os.mkfifo(done)

    def use() -> None:
        with Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080) as port:
            assert port == 40123
            assert done.read_text() == "drained\n"
            raise RuntimeError("the test failed")

    with pytest.raises(RuntimeError, match="the test failed"):
        use()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_forward_that_fails_says_why(tmp_path: Path) -> None:
    """What kubectl complains about is in the error."""
    path = executable(tmp_path / "kubectl", "#!/bin/sh\necho 'pods \"a\" not found' >&2; exit 1\n")
    with (
        pytest.raises(KubectlError, match='exit code 1\npods "a" not found') as raised,
        Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080),
    ):
        pytest.fail("there is no port")
    assert raised.value.returncode == 1


def test_a_forward_that_never_listens(tmp_path: Path) -> None:
    """Its time is limited, and the child is gone afterwards."""
    pid_file = tmp_path / "pid"
    path = executable(tmp_path / "kubectl", f"#!/bin/sh\necho $$ > {pid_file}; exec sleep 600\n")
    with (
        pytest.raises(KubectlError, match=r"did not listen within 0\.5 s") as raised,
        Kubectl(path, tmp_path / "kubeconfig").port_forward("pod/a", 8080, timeout=0.5),
    ):
        pytest.fail("there is no port")
    assert raised.value.returncode is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
