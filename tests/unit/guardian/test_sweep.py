from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kubernix.guardian import unresponsive
from pytest_kubernix.guardian.client import Holder
from pytest_kubernix.guardian.listing import running
from pytest_kubernix.guardian.sweep import clear, is_held, sweep
from pytest_kubernix.layout import Layout
from pytest_kubernix.locks import tried, try_lock


def cluster(root: Path, cluster_id: str) -> Path:
    run_dir = root / cluster_id
    (run_dir / "etcd").mkdir(parents=True)
    Layout(run_dir).holders_lock.touch()
    Layout(run_dir).guardian_lock.touch()
    return run_dir


def test_dead_clusters_are_removed_and_living_ones_stay(tmp_path: Path) -> None:
    """Only a cluster that neither a holder nor a guardian lives for is swept."""
    dead, held, guarded = (cluster(tmp_path, name) for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc"))
    holder = Holder(Layout(held))
    guardian = os.open(Layout(guarded).guardian_lock, os.O_RDWR)
    fcntl.flock(guardian, fcntl.LOCK_EX)
    try:
        assert sweep(tmp_path) == ["aaaaaaaa"]
        assert not dead.exists()
        assert (held / "etcd").exists()
        assert (guarded / "etcd").exists()
    finally:
        os.close(guardian)
        holder.release()
    assert sorted(sweep(tmp_path)) == ["bbbbbbbb", "cccccccc"]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    """Directories that are not named like a cluster, files, and links to elsewhere are left alone."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / "abcdefef").touch()
    (root / "aaaaaaaa").symlink_to(elsewhere)
    assert sweep(root) == []
    assert {path.name for path in root.iterdir()} == {"notes", "abcdefef", "aaaaaaaa"}
    assert elsewhere.exists()


def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    """A test that forks doesn't keep a cluster alive after the process that held it is gone."""
    run_dir = cluster(tmp_path, "aaaaaaaa")
    holder = Holder(Layout(run_dir))
    alive, say_alive = os.pipe()
    wait, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.write(say_alive, b"1")
        os.read(wait, 1)
        os._exit(0)
    try:
        os.read(alive, 1)
        holder.release()
        assert sweep(tmp_path) == ["aaaaaaaa"]
    finally:
        for descriptor in (wait, go, alive, say_alive):
            os.close(descriptor)
        os.waitpid(child, 0)


@pytest.mark.parametrize("root", ["missing", "file"])
def test_nothing_to_sweep_is_no_error(tmp_path: Path, root: str) -> None:
    """A root that doesn't exist, or is no directory, has no dead clusters."""
    (tmp_path / "file").touch()
    assert sweep(tmp_path / root) == []


def test_a_successor_begins_with_nothing(tmp_path: Path) -> None:
    """What a cluster left where others meet for the next one is removed; what is theirs, locks and name, stays."""
    run_dir = cluster(tmp_path, "aaaaaaaa")
    layout = Layout(run_dir)
    for path in (layout.name, layout.start_lock, layout.handle):
        path.touch()
    (run_dir / "link").symlink_to(tmp_path)
    clear(layout)
    assert set(run_dir.iterdir()) == {layout.guardian_lock, layout.holders_lock, layout.name, layout.start_lock}
    assert tmp_path.exists()


def test_only_those_who_share_hold(tmp_path: Path) -> None:
    """A guardian that keeps all others out of a cluster that is about to end does not hold it."""
    run_dir = cluster(tmp_path, "aaaaaaaa")
    assert not is_held(Layout(run_dir))
    holder = Holder(Layout(run_dir))
    assert is_held(Layout(run_dir))
    holder.release()
    with tried(Layout(run_dir).holders_lock) as free:
        assert free
        assert not is_held(Layout(run_dir))


def test_a_stopped_guardian_that_does_not_listen_is_found(tmp_path: Path) -> None:
    """One that was stopped before it listened, or while it ended, is listed, and can be ended."""
    run_dir = cluster(tmp_path, "aaaaaaaa")
    lock = os.open(Layout(run_dir).guardian_lock, os.O_RDWR)
    # Its command line is what it is known by.
    command = [sys.executable, "-c", "import time; time.sleep(60) # pytest_kubernix.guardian.server", str(run_dir)]
    guardian = subprocess.Popen(command, pass_fds=[lock])
    try:
        assert try_lock(lock)
        os.close(lock)
        assert running(tmp_path) == []
        os.kill(guardian.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, guardian.pid, os.WSTOPPED | os.WNOWAIT)
        (info,) = running(tmp_path)
        assert info.trouble.startswith(f"its guardian (process {guardian.pid}) is stopped; to end it: ")
        unresponsive.end(Layout(run_dir))
        assert guardian.wait() == -signal.SIGKILL
        assert not run_dir.exists()
    finally:
        guardian.kill()
        guardian.wait()
