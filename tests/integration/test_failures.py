from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kubernix import BootError, Cluster, ConfigError, KubernixError
from pytest_kubernix.boot.claims import Claims
from pytest_kubernix.cli import main
from pytest_kubernix.drivers.native.machine import failed_boots

from .components import Dying, DyingHeld, NoExecutable, Scripted, boot
from .pods import eventually, guardian_of, node_address
from .unprivileged import unprivileged

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the logs of failed boots are kept: not in this user's home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return failed_boots()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory with a short path."""
    made = Path(tempfile.mkdtemp(prefix="kxt-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def test_a_component_that_dies_fails_the_boot_at_once(kept: Path) -> None:
    """The error names component, exit code and phase, has the end of its log, and says where all logs are kept."""
    begun = time.monotonic()
    with pytest.raises(BootError) as raised:
        boot(Dying("stillborn"), boot_timeout=60)
    assert time.monotonic() - begun < 4
    text = str(raised.value)
    assert raised.value.phase == "Infrastructure"
    assert "phase Infrastructure failed (1 error)" in text
    assert "stillborn: exited with code 7 before it was ready" in text
    assert "    the last words of stillborn" in text
    logs = Path(raised.value.logs)
    assert logs.parent == kept
    assert f"The logs of all components are in {logs}" in text
    assert (logs / "stillborn.log").read_text() == "the first words of stillborn\nthe last words of stillborn\n"
    assert (logs / "etcd.log").exists()
    # Later phases were not begun; what was loaded for them never came to say a word.
    assert (logs / "kube-scheduler.log").read_text() == ""


def test_what_dies_before_it_begins_fails_the_boot_at_once() -> None:
    """A component that is loaded early is not first missed when its phase comes."""
    with pytest.raises(BootError) as raised:
        boot(DyingHeld("early", last=True))
    text = str(raised.value)
    assert "early: exited with code 7 while it waited to begin" in text
    assert "    the last words of early" in text


def test_all_failures_of_a_phase_are_told() -> None:
    """Two components that fail in one phase are both named, also when one takes a little longer."""
    with pytest.raises(BootError) as raised:
        boot(Dying("first"), Dying("second", delay=0.3))
    text = str(raised.value)
    assert "(2 errors)" in text
    for name in ("first", "second"):
        assert f"{name}: exited with code 7 before it was ready" in text
        assert f"the last words of {name}" in text


def test_a_component_that_is_killed_is_told_by_its_signal() -> None:
    """A death by a signal has the signal's name."""
    with pytest.raises(BootError, match="victim: killed by SIGKILL before it was ready"):
        boot(Scripted("victim", "kill -9 $$"))


def test_what_is_no_executable_is_told() -> None:
    """A component that can't be started says so, with the kernel's reason."""
    with pytest.raises(BootError, match=r"nonsense: (could not be started: .*(Exec format|Permission)|no executable)"):
        boot(NoExecutable("nonsense"))


def test_the_boot_timeout_is_kept() -> None:
    """A component that never is ready fails the boot in time, with what was asked and what was last seen."""
    begun = time.monotonic()
    with pytest.raises(BootError) as raised:
        boot(Scripted("sleepy", "echo yawn; exec sleep 60"), boot_timeout=2)
    assert 2 <= time.monotonic() - begun < 5
    text = str(raised.value)
    assert "sleepy: not ready within the boot's 2 s: socket /nowhere/at-all.sock: FileNotFoundError" in text
    assert "    yawn" in text


def test_a_guardian_that_is_stopped_while_it_boots_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a boot that its guardian does not get on with is told which process that is, and what to do."""

    def stop() -> int:
        (log,) = eventually(lambda: [log for log in folder.glob("*/logs/sleepy.log") if log.read_text()])
        guardian = guardian_of(log.parent.parent)
        os.kill(guardian, signal.SIGSTOP)
        return guardian

    with ThreadPoolExecutor(1) as pool:
        guardian = pool.submit(stop)
        with pytest.raises(KubernixError) as raised:
            boot(Scripted("sleepy", "echo yawn; exec sleep 60"), boot_timeout=4, root=folder)
    monkeypatch.setattr("pytest_kubernix.guardian.listing.ASK_TIMEOUT", 0.3)
    try:
        stopped = f"the cluster was not ready within 4 s: its guardian (process {guardian.result()}) is stopped"
        assert stopped in str(raised.value)
        command = re.search(r"end it: pytest-kubernix (.*)", str(raised.value))
        assert command
        assert main(shlex.split(command[1])) == 0
        assert not list(folder.iterdir())
    finally:
        main(["down", "--all", "--root", str(folder)])


def test_a_component_that_dies_after_it_was_ready_fails_the_boot() -> None:
    """A part that is needed later and has died meanwhile is named, and not only those that wait for it."""
    begun = time.monotonic()
    with pytest.raises(BootError, match="mayfly: exited with code 3"):
        boot(Mayfly("mayfly", "sleep 0.5; exit 3"), boot_timeout=20).destroy()
    assert time.monotonic() - begun < 10


@pytest.mark.kubernix(nodes=2)
def test_a_network_in_use_is_refused(kubernix: Cluster, folder: Path) -> None:
    """A CIDR that another cluster has claimed, or that this machine has a route to, is refused before the boot."""
    taken = node_address(kubernix.kubectl, "node-1").rpartition(".")[0] + ".0/22"
    with pytest.raises(ConfigError, match=rf"cidr={taken}: in use: kx-[0-9a-f]+ has a route to") as raised:
        boot(nodes=1, cidr=taken, root=folder / "r")
    assert raised.value.field == "cidr"
    claims = Claims()
    try:
        claimed = claims.network(None)
        with pytest.raises(ConfigError, match=f"cidr={claimed}: in use by another cluster"):
            boot(nodes=1, cidr=claimed, root=folder / "r")
    finally:
        claims.release()
    assert not (folder / "r").exists()


def test_a_port_that_is_taken_is_refused(folder: Path) -> None:
    """An API port on which a server listens is refused, with the port and what is allowed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"api_port={port}: the port is taken .*or 0 for any"):
            boot(api_port=port, root=folder / "r")
    assert not (folder / "r").exists()


def test_the_api_port_is_the_one_that_was_asked_for(folder: Path) -> None:
    """A cluster listens on the port that the user names, and so does the next, a moment after it has ended."""
    claims = Claims()
    port = claims.port()
    claims.release()
    for _ in range(2):
        cluster = boot(api_port=port, root=folder / "r")
        try:
            assert cluster.handle.server == f"https://127.0.0.1:{port}"
            # Connections that the server closes first linger on its port.
            assert Cluster(cluster).kubectl.get("namespaces")["items"]
        finally:
            cluster.destroy()


def test_a_run_root_that_does_not_do_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long for sockets, no directory, or another user's: each is told, and nothing is made."""
    deep = folder / ("x" * 100)
    with pytest.raises(ConfigError, match=r"root=.*must be at least \d+ bytes shorter"):
        boot(root=deep)
    assert not deep.exists()
    (folder / "file").touch()
    with pytest.raises(ConfigError, match=r"root=.*allowed is a directory that you can write to \(Not a directory"):
        boot(root=folder / "file" / "r")
    with pytest.raises(ConfigError, match=r"root=.*allowed is a directory that you can write to"):
        boot(root=Path("/proc/self/nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    theirs = folder / f"kubernix-{os.getuid()}"
    theirs.mkdir()
    (theirs / "note").touch()
    os.chown(theirs, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to user 65534"):
        boot()
    assert [path.name for path in theirs.iterdir()] == ["note"]


CONFTEST = """
from tests.integration.components import Dying

def pytest_kubernix_components(registry):
    registry.register(Dying("stillborn"))
"""


def test_what_a_user_sees(suite: pytest.Pytester) -> None:
    """The report of a failed boot is its text without a traceback, and each test fails without a second boot."""
    suite.makeconftest(CONFTEST)
    suite.makepyfile("def test_one(kubernix): pass\ndef test_two(kubernix): pass\n")
    result = suite.runpytest_subprocess("--kubernix-nodes=0", timeout=60)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "the cluster did not boot: phase Infrastructure failed (1 error)",
            "stillborn: exited with code 7 before it was ready",
            "*the last words of stillborn",
            "The logs of all components are in *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*drivers/native.py*")
    assert result.stdout.str().count("booting Kubernetes") == 1


class Mayfly(Scripted):
    """Is ready at once, and dies a little later."""

    def build(self, ctx):  # type: ignore[no-untyped-def]
        from dataclasses import replace

        return replace(super().build(ctx), ready=())


def test_a_user_without_rights(folder: Path) -> None:
    """Nodes are refused at once with what is missing, and a control plane without nodes works."""
    folder.chmod(0o755)
    test = folder / "test_suite.py"
    test.write_text(
        "import os\n"
        "def test_it(kubernix):\n"
        "    assert os.getuid() == 65534\n"
        "    assert kubernix.kubectl.get('namespaces')['items']\n"
    )
    run = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test)]
    begun = time.monotonic()
    refused = unprivileged(folder, *run, "--kubernix-nodes=1")
    assert time.monotonic() - begun < 10
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "scratch")
    shutil.rmtree(folder / "home")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "nodes=1: this user may not make network and mount namespaces" in refused.stdout
    assert "CAP_SYS_ADMIN" in refused.stdout
    assert "nodes=0" in refused.stdout
    works = unprivileged(folder, *run, "--kubernix-nodes=0")
    assert works.returncode == 0, works.stdout + works.stderr
    assert "1 passed" in works.stdout
    assert list((folder / "home").glob("kubernix-*")) == []
