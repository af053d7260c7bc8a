"""The guardian: keeps one cluster for its holders, and is no child of a process that runs tests.
It answers on a control socket, lets one holder boot, and ends the cluster when no holder is left."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .. import plain
from ..engine import CommandResult, Engine, Progress, load
from ..errors import KubernixError, pack
from ..layout import Layout
from ..logs import log
from . import protocol
from .lifetime import Lifetime
from .protocol import (
    Attach,
    Attached,
    BecomeSpare,
    Boot,
    Claim,
    Claimed,
    ClusterHistory,
    ClusterStatus,
    Control,
    Done,
    GetHistory,
    GetStatus,
    GiveUp,
    Keep,
    PhaseChanged,
    Publish,
    Request,
    Run,
    Stage,
    Stop,
)
from .rundir import leave_root
from .state import Caller, ClusterState

# A plan for 64 nodes is about a megabyte.
LINE_LIMIT = 64 * 1024 * 1024

T = TypeVar("T")


class Guardian:
    """Serves one cluster from claim to end.

    Args:
        engine: What runs the cluster.
        watched: pidfds of processes that hold the cluster as long as they live.
    """

    def __init__(self, engine: Engine, watched: Sequence[int] = ()) -> None:
        self._engine = engine
        self._layout = engine.layout
        self._state = ClusterState()
        self._lifetime = Lifetime(self._layout, watched, self._finish)
        self._boot: asyncio.Task[None] | None = None
        # What is to be done to its end, although the caller may hang up.
        self._work: set[asyncio.Future[Any]] = set()
        self._end = asyncio.Event()
        self._why = ""
        # What could not be removed.
        self._left: list[str] = []
        # The holder that boots a spare, and so does not take it.
        self._maker: Caller | None = None
        self._handlers: dict[type[Request[Any]], Callable[[Any, Caller], Awaitable[object]]] = {
            Attach: self._attach,
            BecomeSpare: self._become_spare,
            Claim: self._claim,
            Boot: self._boot_plan,
            Publish: self._publish,
            GiveUp: self._give_up,
            GetStatus: self._status,
            GetHistory: self._history,
            Run: self._run,
            Control: self._control,
            Keep: self._keep,
            Stop: self._stop,
        }

    async def serve(self, started: int) -> bool:
        """Answer on the control socket until it is time to end, and end.

        Args:
            started: File descriptor that gets one byte once the socket listens.

        Returns:
            Whether nothing of the cluster is left but its directory.
        """
        await self._engine.begin()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._finish, "SIGTERM")
        self._lifetime.begin()
        server = await asyncio.start_unix_server(self._talk, str(self._layout.control_socket), limit=LINE_LIMIT)
        with contextlib.suppress(BrokenPipeError):
            # The process that started us may be dead, and another one be waiting.
            os.write(started, b"1")
        os.close(started)
        await self._end.wait()
        log(f"ending: {self._why}")
        server.close()
        await self._close()
        return not self._left

    def _finish(self, why: str) -> None:
        self._why = self._why or why
        self._end.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: its requests are answered side by side, each when it is done."""
        caller = Caller(writer)
        answers: set[asyncio.Task[None]] = set()
        try:
            with contextlib.suppress(ConnectionError):
                while text := await reader.readline():
                    task = asyncio.ensure_future(self._answer(protocol.parse(text), caller, writer))
                    answers.add(task)
                    task.add_done_callback(answers.discard)
        finally:
            for task in answers:
                task.cancel()
            self._state.hung_up(caller)
            if caller is self._maker:
                self._maker = None
                self._give_up_spare()
            writer.close()

    async def _answer(self, line: protocol.Line, caller: Caller, writer: asyncio.StreamWriter) -> None:
        try:
            request = protocol.request_of(line)
            answer = protocol.answer_line(line.number, await self._handlers[type(request)](request, caller))
        except KubernixError as error:
            answer = protocol.error_line(line.number, error)
        except Exception:  # noqa: BLE001 - the caller must not wait for ever for a mistake of ours
            answer = protocol.error_line(line.number, _own_mistake())
        caller.send(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that is not given up when the caller hangs up."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return await asyncio.shield(task)

    async def _attach(self, request: Attach, caller: Caller) -> Attached:
        if caller.who != request.who:
            caller.who = request.who
            log(f"{caller.who} holds")
        if self._lifetime.spare and caller is not self._maker:
            # How it was booted is not what its taker has waited for.
            self._state.forget_phases()
            self._lifetime.taken()
            self._engine.lower_priority(low=False)
        return await self._state.attach(caller)

    async def _become_spare(self, request: BecomeSpare, caller: Caller) -> Done:
        self._maker = caller
        self._lifetime.become_spare(request.identity, request.lifetime)
        self._engine.lower_priority(low=True)
        return _done()

    async def _claim(self, request: Claim, caller: Caller) -> Claimed:
        if not self._state.claim(caller):
            return Claimed(None)
        return Claimed(self._engine.claim(request.wants))

    async def _boot_plan(self, request: Boot, caller: Caller) -> Attached:
        self._state.boot(caller)
        self._boot = asyncio.ensure_future(self._boot_to_the_end(request))
        self._boot.add_done_callback(lambda boot: self._give_up_spare())
        await asyncio.shield(self._boot)
        return await self._state.attach(caller)

    async def _boot_to_the_end(self, request: Boot) -> None:
        def tell(step: Progress) -> None:
            self._state.tell(PhaseChanged(step.phase, step.count, step.seconds))

        try:
            timings = await self._engine.boot(request.spec, timeout=request.timeout, tell=tell)
            handle = dataclasses.replace(request.handle, timings=dict(timings))
            _write_whole(self._layout.handle, plain.indented(handle))
        except Exception as error:  # noqa: BLE001 - holders that wait must learn of a mistake of ours, or of a full disk
            failure = error if isinstance(error, KubernixError) else _own_mistake()
            # The guardian stays, so that later holders learn the same instead of trying again.
            await self._close_engine()
            self._state.fail(pack(failure))
            return
        self._state.booted(handle)
        if self._lifetime.spare:
            self._lifetime.offer()

    def _give_up_spare(self) -> None:
        """End a spare that has no booter any more, or that did not come up."""
        unfinished = (Stage.VACANT, Stage.PLANNING, Stage.FAILED)
        if self._lifetime.spare and not self._maker and self._state.stage in unfinished:
            self._finish("this spare did not come up")

    async def _publish(self, _: Publish, caller: Caller) -> Done:
        self._state.publish(caller)
        return _done()

    async def _give_up(self, request: GiveUp, caller: Caller) -> Done:
        self._state.give_up(caller, request.error)
        return _done()

    async def _control(self, request: Control, caller: Caller) -> Done:
        log(f"{caller.who}: {request.action} {request.name}")
        return Done(await self._to_the_end(self._engine.control(request.name, request.action)))

    async def _keep(self, _: Keep, __: Caller) -> Done:
        self._lifetime.kept = True
        return _done()

    async def _stop(self, _: Stop, caller: Caller) -> Done:
        self._finish(f"{caller.who} asked to stop")
        return _done()

    async def _status(self, _: GetStatus, caller: Caller) -> ClusterStatus:
        known = await self._engine.status()
        return ClusterStatus(
            stage=self._state.stage,
            holders=self._state.holders(),
            others=self._state.holders(but=caller),
            kept=self._lifetime.kept,
            spare=self._lifetime.spare,
            components=known.components,
            at=time.monotonic(),
        )

    async def _history(self, _: GetHistory, __: Caller) -> ClusterHistory:
        known = await self._engine.status()
        return ClusterHistory(known.components, known.deaths, known.timeline, time.monotonic())

    async def _run(self, request: Run, _: Caller) -> CommandResult:
        return await self._to_the_end(self._engine.run(request.command))

    async def _close(self) -> None:
        boot = self._boot
        if boot and not boot.done():
            boot.cancel()
            await asyncio.wait([boot])
        for work in list(self._work):
            work.cancel()
        await self._close_engine()

    async def _close_engine(self) -> None:
        problems = await self._engine.close()
        for problem in problems:
            log(problem)
        self._left += problems


def _own_mistake() -> KubernixError:
    return KubernixError(f"the guardian failed:\n{traceback.format_exc()}")


def _done() -> Done:
    return Done(time.monotonic())


def _write_whole(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def main() -> None:
    """Entry point: `guardian RUN_DIR ENGINE LOCK_FD STARTED_FD [PIDFD …]`; ENGINE as `engine.record` gives it."""
    layout, engine = Layout(Path(sys.argv[1])), sys.argv[2]
    lock, started, *watched = [int(word) for word in sys.argv[3:]]
    # Ctrl-C and a closed terminal are meant for the tests; holders say when to end.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    # The lock is held for life, so that what still lives is not swept; a fork of this process shares it.
    for descriptor in (lock, started, *watched):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
    try:
        guardian = Guardian(load(engine).open(layout, lock), watched)
        # What is left is swept by the process that finds the lock free, and it finds it by the directory.
        if asyncio.run(guardian.serve(started)):
            shutil.rmtree(layout.run_dir, ignore_errors=True)
            leave_root(layout.run_dir.parent)
    except BaseException:  # noqa: BLE001 - the process is about to end; its log is all there is
        traceback.print_exc()
    finally:
        # The thread that waits for holders may still be in its system call.
        os._exit(0)
