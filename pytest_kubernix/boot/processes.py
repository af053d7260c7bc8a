"""Processes of a cluster: spawned in their namespaces, logged to files, reaped, ended.
All are children of the guardian; no other process waits for them, so a PID here is never a recycled one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from ..errors import ComponentError
from ..logs import tail


class Process:
    """One running child.

    Attributes:
        name: Name of its component.
        argv: What runs.
        pid: Its PID as the guardian sees it.
        log: Path of the file that has its output.
        exited: Resolves to its exit code, negative for a signal, when it was reaped.
    """

    def __init__(self, name: str, argv: Sequence[str], pid: int, log: Path | None) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.pid = pid
        self.log = log
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether it was not yet reaped."""
        return not self.exited.done()

    def signal(self, number: int) -> None:
        """Send a signal to its process group; a process that is gone is no error."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def death(self, when: str) -> ComponentError:
        """The error that says how it ended."""
        code = self.exited.result()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        return ComponentError(
            self.name, f"{how} {when}", log_tail=tail(self.log) if self.log else "", log=str(self.log or "")
        )


class Spawner:
    """Starts children and reaps them, orphans of theirs included. Belongs to the event loop's thread.

    Args:
        on_spawn: Called with the PID of each child.
        shared: File descriptors that each child has as well, and its own children after it.
    """

    def __init__(self, on_spawn: Callable[[int], None] = lambda pid: None, shared: Sequence[int] = ()) -> None:
        self._on_spawn = on_spawn
        self._shared = tuple(shared)
        self._children: dict[int, Process] = {}
        # Words before each command, such as those of a program that sets something up and then becomes it.
        self.prefix: tuple[str, ...] = ()

    def watch(self) -> None:
        """Begin reaping; call once, from the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)

    def unwatch(self) -> None:
        """End reaping; call before the loop closes, because a child's end in the middle of that finds a closed pipe."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path | None,
        within: AbstractContextManager[object] | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | None = None,
    ) -> Process:
        """Start a child in a process group of its own.

        Args:
            name: Name of its component.
            argv: Executable, by absolute path or found in env's PATH, and arguments.
            env: Its whole environment.
            log: File that its output is appended to, or None to drop it.
            within: Context in which the current thread is in the namespaces that it belongs to.
            stdin: What it reads.
            stdout: Where its standard output goes instead of to the log.

        Raises:
            ComponentError: It could not be started at all.
        """
        executable = shutil.which(argv[0], path=env.get("PATH"))
        if executable is None:
            raise ComponentError(name, f"no executable {argv[0]} (PATH={env.get('PATH')})")
        with contextlib.ExitStack() as stack:
            output: IO[bytes] | int = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            if within:
                stack.enter_context(within)
            try:
                # start_new_session, never preexec_fn: other threads are asking probes meanwhile.
                child = subprocess.Popen(
                    [*self.prefix, executable, *argv[1:]],
                    env=dict(env),
                    cwd="/",
                    stdin=stdin,
                    stdout=stdout or output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=self._shared,
                )
            except OSError as error:
                raise ComponentError(name, f"could not be started: {error}") from error
        self._on_spawn(child.pid)
        process = Process(name, argv, child.pid, log)
        # Reaping is done here for all children alike; Popen must not try it on its own.
        child.returncode = 0
        self._children[child.pid] = process
        return process

    async def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path | None,
        within: AbstractContextManager[object] | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Run a child to its end.

        Returns:
            Its exit code, negative for a signal.

        Raises:
            ComponentError: It could not be started, or ran for longer than `timeout` seconds.
        """
        process = self.spawn(name, argv, env=env, log=log, within=within, stdin=stdin, stdout=stdout)
        try:
            return await asyncio.wait_for(asyncio.shield(process.exited), timeout)
        except TimeoutError:
            raise ComponentError(
                name, f"{argv[0]} was still running after {timeout} s", log_tail=tail(log) if log else ""
            ) from None
        finally:
            process.signal(signal.SIGKILL)

    def reap(self) -> None:
        """Take note of every child that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._children.pop(pid, None)
            # Anything else is an orphan that a component left; taking its exit code is all it needs.
            if process and not process.exited.done():
                process.exited.set_result(os.waitstatus_to_exitcode(status))

    async def end(self, processes: Sequence[Process], timeout: float) -> list[str]:
        """Kill processes, in the order given, and wait until all are gone.

        A kill that fails does not keep the others from theirs.

        Returns:
            What went wrong, a line each; empty when all are gone.
        """
        problems = []
        for process in processes:
            try:
                process.signal(signal.SIGKILL)
            except OSError as error:
                problems.append(f"{process.name}: {error}")
        waiting = [process.exited for process in processes if process.alive]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)
        problems += [f"{process.name}: still there {timeout} s after SIGKILL" for process in processes if process.alive]
        return problems

    def everyone(self) -> list[Process]:
        """All children that were not yet reaped, newest first."""
        return list(reversed(self._children.values()))
