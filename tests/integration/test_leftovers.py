from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kubernix import BootError, ClusterFactory
from pytest_kubernix.boot.engine import NativeEngine
from pytest_kubernix.cli import main
from pytest_kubernix.engine import record
from pytest_kubernix.guardian.listing import running
from pytest_kubernix.guardian.sweep import sweep_one
from pytest_kubernix.layout import Layout
from pytest_kubernix.linux import cgroups
from pytest_kubernix.options import OPTIONS

from .components import Dying, NoExecutable, boot
from .machine import report, settled, snapshot
from .pods import descendants, eventually, exercise, guardian_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

# What is seen of a cluster on its machine while it lives; everything else is inside its namespaces.
SEEN = (
    "address",
    "cgroup",
    "link",
    "listening",
    "network namespace",
    "process",
    "route",
    "run directory",
)


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory for run directories that no other test uses. Short, since sockets are made below it."""
    folder = Path(tempfile.mkdtemp(prefix="kxt-"))
    try:
        yield folder / "r"
    finally:
        shutil.rmtree(folder)


def test_the_machine_is_as_before(kubernix_cluster_factory: ClusterFactory, root: Path) -> None:
    """While a cluster works, the machine has one link with its routes and a cgroup more, and afterwards nothing."""
    before = snapshot(root)
    cluster = kubernix_cluster_factory(nodes=1, root=root)
    try:
        exercise(cluster)
        changes = before.changes(snapshot(root))
        name = cluster.handle.cluster_id
        unexpected = [
            line
            for line in changes
            if not line.startswith("+ ") or not any(line[2:].startswith(f"{kind}: ") for kind in SEEN)
        ]
        assert not unexpected, report(unexpected)
        kinds = {kind: [line for line in changes if line.startswith(f"+ {kind}: ")] for kind in SEEN}
        assert kinds["link"] == [f"+ link: kx-{name}"]
        # The peer's index follows the name in some listings.
        assert all(f"dev=kx-{name}" in line for line in kinds["route"])
        assert all(f"kubernix/{name}" in line or line.endswith("/kubernix") for line in kinds["cgroup"])
        assert kinds["process"]
    finally:
        cluster.stop()
    changes = settled(before)
    assert not changes, report(changes)


@pytest.mark.parametrize("nodes", [0, 1])
@pytest.mark.parametrize(
    "component", [Dying("stillborn", last=True), NoExecutable("stillborn")], ids=["dies", "is-none"]
)
def test_a_failed_boot_leaves_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, component: Dying | NoExecutable, nodes: int
) -> None:
    """A boot that fails in its last phase takes everything along that the earlier phases had started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = snapshot(root)
    with pytest.raises(BootError, match="phase NodeAgent failed"):
        boot(component, nodes=nodes, root=root)
    changes = settled(before)
    assert not changes, report(changes)


def test_a_guardian_that_is_killed_takes_its_cluster_along(
    kubernix_cluster_factory: ClusterFactory, root: Path
) -> None:
    """When the guardian dies, the kernel ends all processes and links of the cluster; stopping it clears the rest."""
    before = snapshot(root)
    cluster = kubernix_cluster_factory(nodes=1, root=root)
    try:
        exercise(cluster)
        assert cluster.handle.run_dir
        os.kill(guardian_of(cluster.handle.run_dir), signal.SIGKILL)

        def remains() -> list[str]:
            kept = ("+ run directory: ", "+ cgroup: ")
            return [line for line in before.changes(snapshot(root)) if not line.startswith(kept)]

        eventually(lambda: not remains(), timeout=10, what="the end of every process, link and claim")
    finally:
        cluster.stop()
    changes = settled(before)
    assert not changes, report(changes)


def test_nothing_is_swept_of_what_is_still_dying(root: Path) -> None:
    """A guardian that was killed is gone for others only when its processes are: they could still make a cgroup."""
    before = snapshot(root)
    assert main(["up", "--nodes=1", f"--root={root}"]) == 0
    (info,) = running(root)
    guardian = guardian_of(info.run_dir)
    lock = Layout(info.run_dir).guardian_lock
    shared = {}
    for pid in descendants(guardian):
        # Some come and go.
        with contextlib.suppress(FileNotFoundError):
            shared[pid] = any(link.exists() and link.samefile(lock) for link in Path(f"/proc/{pid}/fd").iterdir())
    os.kill(guardian, signal.SIGKILL)
    eventually(lambda: sweep_one(info.layout), timeout=10, what="the sweep")
    assert len(shared) > 9
    assert all(shared.values()), shared
    changes = settled(before)
    assert not changes, report(changes)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a cgroup")
def test_what_cannot_be_removed_is_told_and_found_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cgroup that a process of others is in stays, and so does the directory that the next sweep finds it by."""
    run_dir = root / "aaaaaaaa"
    run_dir.mkdir(parents=True)
    Layout(run_dir).engine.write_text(record(NativeEngine))
    group = cgroups.hierarchies()[0] / "kubernix" / run_dir.name
    group.mkdir(parents=True)
    guest = subprocess.Popen(["sleep", "60"])
    try:
        (group / "cgroup.procs").write_text(str(guest.pid))
        assert main(["gc", f"--root={root}"]) == 1
        assert f"still there: cluster {run_dir.name}: cgroup {group}: " in capsys.readouterr().err
        assert run_dir.exists()
    finally:
        guest.kill()
        guest.wait()
    assert main(["gc", f"--root={root}"]) == 0
    assert f"removed what was left of cluster {run_dir.name}" in capsys.readouterr().out
    assert not group.exists()
    assert not run_dir.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a cgroup")
def test_what_outlives_a_cluster_is_found_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also in an orderly end, the directory stays with a cgroup that a process of others is in."""
    before = snapshot(root)
    assert main(["up", "--nodes=1", f"--root={root}"]) == 0
    (info,) = running(root)
    group = cgroups.hierarchies()[0] / "kubernix" / info.cluster_id
    guest = subprocess.Popen(["sleep", "60"])
    try:
        (group / "cgroup.procs").write_text(str(guest.pid))
        assert main(["down", f"--root={root}"]) == 1
        eventually(lambda: main(["gc", f"--root={root}"]) == 1, timeout=20, what="the guardian's end")
        assert f"still there: cluster {info.cluster_id}: cgroup {group}: " in capsys.readouterr().err
    finally:
        guest.kill()
        guest.wait()
    assert main(["gc", f"--root={root}"]) == 0
    changes = settled(before)
    assert not changes, report(changes)


SUITE = """
import threading
from pathlib import Path

from tests.integration.pods import exercise

def test_busy(kubernix):
    exercise(kubernix)
    Path("in-the-test").touch()
    threading.Event().wait()
"""

# Moment → what is there by then, below the root of run directories or the suite's directory.
MOMENTS = {
    "claim": "*/holders.lock",
    "boot": "*/etcd.sock",
    "nodes": "*/logs/kubelet-node-1.log",
    "test": "in-the-test",
}


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        *((signal.SIGKILL, moment) for moment in MOMENTS),
        (signal.SIGTERM, "boot"),
        (signal.SIGTERM, "test"),
        (signal.SIGINT, "claim"),
        (signal.SIGINT, "boot"),
        (signal.SIGINT, "nodes"),
        (signal.SIGINT, "test"),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_pytest_is_ended(root: Path, tmp_path: Path, number: signal.Signals, moment: str) -> None:
    """Whenever and however pytest is ended, everything of its cluster ends with it."""
    before = snapshot(root)
    process = start_suite(tmp_path, root, SUITE)
    try:
        place = tmp_path if moment == "test" else root

        def reached() -> bool:
            assert process.poll() is None or pytest.fail((tmp_path / "output").read_text())
            return any(place.glob(MOMENTS[moment]))

        eventually(reached, timeout=60, what=f"the moment {moment}")
        # As a terminal does it: to the whole group.
        os.killpg(process.pid, number)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    output = (tmp_path / "output").read_text()
    if number is signal.SIGINT:
        assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    changes = settled(before, timeout=20)
    assert not changes, report(changes) + output


def start_suite(directory: Path, root: Path, text: str, *args: str) -> subprocess.Popen[bytes]:
    """pytest as a process of its own, on one node; what it prints is in the file "output"."""
    (directory / "test_suite.py").write_text(text)
    ours = {"PYTEST_ADDOPTS", "KUBECONFIG", *(option.env for option in OPTIONS)}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    repository = str(Path(__file__).parent.parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), repository]))
    with (directory / "output").open("wb") as output:
        return subprocess.Popen(
            # However this run ends, that one ends with it, and its cluster too.
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "pytest", "-p", "no:cacheprovider",
             "--kubernix-nodes=1", f"--kubernix-root={root}", *args],
            cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
