from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_kubernix.boot.processes import Spawner
from pytest_kubernix.errors import ComponentError
from pytest_kubernix.locks import try_lock
from pytest_kubernix.logs import tail

ENV = {"PATH": "/usr/bin:/bin"}
T = TypeVar("T")


def drive(scenario: Callable[[Spawner], Awaitable[T]]) -> T:
    async def main() -> T:
        spawner = Spawner()
        spawner.watch()
        try:
            return await scenario(spawner)
        finally:
            spawner.unwatch()

    return asyncio.run(main())


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_exit_is_noticed_with_code_and_log(tmp_path: Path) -> None:
    """A process that dies is reaped, and its error has the exit code and the end of its log."""
    log = tmp_path / "log"

    async def scenario(spawner: Spawner) -> ComponentError:
        process = spawner.spawn("sh", ["sh", "-c", "echo last words; exit 3"], env=ENV, log=log)
        assert await process.exited == 3
        assert not process.alive
        return process.death("before it was ready")

    error = drive(scenario)
    assert error.reason == "exited with code 3 before it was ready"
    assert error.log_tail == "last words"


def test_a_kill_reaches_the_whole_group_and_goes_on_past_failures(tmp_path: Path) -> None:
    """Ending kills a process with its children, even if another one was gone before."""

    async def scenario(spawner: Spawner) -> tuple[list[str], int]:
        pid_file = tmp_path / "child"
        script = f"sleep 60 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait"
        gone = spawner.spawn("gone", ["true"], env=ENV, log=None)
        await gone.exited
        parent = spawner.spawn("sh", ["sh", "-c", script], env=ENV, log=None)
        while not pid_file.exists():
            await asyncio.sleep(0.005)
        problems = await spawner.end([gone, parent], timeout=5)
        assert await parent.exited == -signal.SIGKILL
        return problems, int(pid_file.read_text())

    problems, child = drive(scenario)
    assert problems == []
    # A signal is pending until the kernel runs who it is for: on a busy machine that takes a moment.
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline, f"process {child} outlived its group"


def test_what_cannot_start_is_named() -> None:
    """An executable that is missing, or is none, is an error with its component's name and path."""

    async def scenario(spawner: Spawner) -> None:
        with pytest.raises(ComponentError, match="etcd: no executable /no/such/etcd"):
            spawner.spawn("etcd", ["/no/such/etcd"], env=ENV, log=None)

    drive(scenario)


def test_a_command_has_its_time(tmp_path: Path) -> None:
    """A command that runs for too long is ended, and the error says so."""

    async def scenario(spawner: Spawner) -> None:
        with pytest.raises(ComponentError, match=r"sleep was still running after 0.05 s"):
            await spawner.run("sleep", ["sleep", "60"], env=ENV, log=tmp_path / "log", timeout=0.05)

    drive(scenario)


def test_children_inherit_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child has the environment it was given and no file descriptor of ours."""
    monkeypatch.setenv("SECRET_OF_THE_DEVELOPER", "1")
    log = tmp_path / "log"
    script = "import os; print(sorted(os.environ)); print(sorted(map(int, os.listdir('/proc/self/fd'))))"

    async def scenario(spawner: Spawner) -> int:
        with (tmp_path / "open").open("w"):
            return await spawner.run("python", [sys.executable, "-I", "-c", script], env=ENV, log=log)

    assert drive(scenario) == 0
    names, descriptors = log.read_text().splitlines()
    assert "SECRET" not in names
    # 0, 1, 2, and the one that lists the directory.
    assert len(descriptors.split(",")) == 4


def test_the_tail_of_a_log_is_its_end(tmp_path: Path) -> None:
    """Of a long log the last lines are shown, of a missing one nothing."""
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert tail(log, 2) == "line 99998\nline 99999"
    assert tail(tmp_path / "none") == ""


def test_what_a_child_shares_is_held_until_it_is_dead(tmp_path: Path) -> None:
    """A lock that children share is free when the last of them is dead, and not when its owner is."""
    ours, others = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))

    async def scenario() -> None:
        spawner = Spawner(shared=(ours,))
        spawner.watch()
        assert try_lock(ours)
        child = spawner.spawn("sleep", ["sleep", "60"], env=ENV, log=None)
        os.close(ours)
        assert not try_lock(others)
        child.signal(signal.SIGKILL)
        await child.exited
        assert try_lock(others)
        spawner.unwatch()

    try:
        asyncio.run(scenario())
    finally:
        os.close(others)
