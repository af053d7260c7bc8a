"""The fixtures of the operator's suite: its CRD, the operator as a process of its own, and Websites.
`kubernix` and `kubernix_namespace` come from the plugin; nothing has to be set up for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from website_operator.resources import IMAGE
from website_operator.testing import Website, manifest, until

from pytest_kubernix import Cluster, Kubectl

HERE = Path(__file__).parent
MANIFESTS = HERE / "website_operator" / "manifests"
LOG_LINES = 30


@dataclass(frozen=True)
class Operator:
    """The operator that runs for this session.

    Attributes:
        kubeconfig: Its access: the ServiceAccount of rbac.yaml, and nothing beyond it.
        log: The file that it logs to.
    """

    kubeconfig: Path
    log: Path

    def log_tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


@pytest.fixture(scope="session")
def crd(kubernix: Cluster) -> str:
    """The name of the CRD, which is served once it is applied. It goes with the cluster."""
    kubernix.kubectl.apply(MANIFESTS / "crd.yaml")
    return "websites.example.kubernix.test"


@pytest.fixture(scope="session")
def operator(kubernix: Cluster, crd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator, ready: kopf in a process of its own, with the rights of its ServiceAccount."""
    kubernix.kubectl.apply(MANIFESTS / "rbac.yaml")
    kubeconfig = kubernix.service_account("website-system", "website-operator")
    running = Operator(kubeconfig, tmp_path_factory.mktemp("operator") / "operator.log")
    health = f"http://127.0.0.1:{free_port()}/healthz"
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--all-namespaces"]
    command += [f"--liveness={health}", "--module=website_operator.handlers"]
    if shutil.which("setpriv"):
        # The kernel ends it with pytest, also when pytest is killed and no fixture is torn down.
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    with running.log.open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own, so that whatever it starts ends with it.
            start_new_session=True,
        )

    def answers() -> bool:
        assert process.poll() is None, f"the operator ended by itself:\n{running.log_tail()}"
        # kopf answers once the start-up handlers have run; then it lists what is there, and watches. So a
        # Website that is made from here on is seen, by the list or by the watch.
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(health, timeout=5):
            return True
        return False

    try:
        until(answers, f"the operator answering at {health}")
        yield running
    finally:
        end(process)


@pytest.fixture
def kubectl(kubernix: Cluster, kubernix_namespace: str) -> Kubectl:
    """kubectl in the namespace of this test."""
    return kubernix.kubectl.in_namespace(kubernix_namespace)


@pytest.fixture
def website(
    kubectl: Kubectl,
    operator: Operator,
) -> Iterator[Callable[..., Website]]:
    """Makes Websites: `website("home", title="Hello")`. They are deleted while the operator still runs."""
    made: list[Website] = []

    def make(name: str = "home", **spec: object) -> Website:
        kubectl.apply(manifest(name, {"title": "Hello", **spec}))
        made.append(Website(kubectl, name))
        return made[-1]

    yield make
    # Without the operator the finalizer would stay, and the namespace could not go either.
    for each in made:
        each.delete()


@pytest.fixture
def visitor(kubectl: Kubectl) -> Callable[[str, str], str]:
    """Asks for a URL in a pod on a certain node: `visitor("node-2", url)` gives the answer, or ""."""

    def visit(node: str, url: str) -> str:
        name = f"visitor-on-{node}"
        spec = {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": IMAGE, "args": ["sleep", "infinity"]}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        kubectl.apply(pod)
        kubectl.wait(f"pod/{name}", "condition=Ready")
        return kubectl.exec(name, "test-server", "get", "-timeout=2s", url, check=False).stdout

    return visit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the operator's log below a failure: half of the reasons are there."""
    report = yield
    running = getattr(item, "funcargs", {}).get("operator")
    if report.failed and running is not None:
        report.sections.append((f"the end of {running.log}", running.log_tail()))
    return report


def free_port() -> int:
    """A port of this machine that is free."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: first by asking, after ten seconds by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
