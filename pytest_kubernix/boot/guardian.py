"""The guardian: parent of every process of one cluster, child of nobody who runs tests.
It boots a plan on request, answers on a control socket, and ends the cluster when no holder is left."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BootError, ComponentError, KubernixError
from ..plan.model import Phase, Plan
from . import linux, wire
from .claims import Claims
from .faults import Faults
from .launcher import PlanLauncher
from .life import Caller, Life
from .logs import keep_logs, log
from .netns import isolate
from .process import Spawner
from .rundir import CONTROL_SOCKET, HANDLE, HOLDERS_LOCK, leave_root
from .sequence import OnPhase, run_phases

# A plan for 64 nodes is about a megabyte.
LINE_LIMIT = 64 * 1024 * 1024

Message = dict[str, Any]


class Guardian:
    """Serves one cluster from claim to end.

    Args:
        run_dir: The cluster's directory, which exists.
        isolated: Whether this is process 1 of a PID namespace.
        watched: pidfds of processes that hold the cluster as long as they live.
    """

    def __init__(self, run_dir: Path, *, isolated: bool, watched: Sequence[int] = ()) -> None:
        self._run_dir = run_dir
        self._isolated = isolated
        self._watched = set(watched)
        self._claims = Claims()
        self._spawner = Spawner()
        self._launcher: PlanLauncher | None = None
        self._faults: Faults | None = None
        self._boot: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._why = ""
        self._life = Life()
        self._kept = False

    async def serve(self, started: int) -> None:
        """Answer on the control socket until it is time to end.

        Args:
            started: File descriptor that gets one byte once the socket listens.
        """
        loop = asyncio.get_running_loop()
        self._spawner.watch()
        if not self._isolated:
            linux.become_subreaper()
            self._spawner.launcher = ("setpriv", "--pdeathsig", "KILL", "--")
        loop.add_signal_handler(signal.SIGTERM, self._finish, "SIGTERM")
        for descriptor in self._watched:
            # A pidfd is readable once its process is gone.
            loop.add_reader(descriptor, self._watched_one_is_gone, loop, descriptor)
        if not self._watched:
            self._wait_for_holders(loop)
        server = await asyncio.start_unix_server(self._answer, str(self._run_dir / CONTROL_SOCKET), limit=LINE_LIMIT)
        with contextlib.suppress(BrokenPipeError):
            # Whoever started us may be dead, and somebody else be waiting.
            os.write(started, b"1")
        os.close(started)
        await self._end.wait()
        log(f"ending: {self._why}")
        server.close()
        await self._close()

    def _finish(self, why: str) -> None:
        self._why = self._why or why
        self._end.set()

    def _watched_one_is_gone(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        self._watched.discard(descriptor)
        if not self._watched:
            self._wait_for_holders(loop)

    def _wait_for_holders(self, loop: asyncio.AbstractEventLoop) -> None:
        """End once the holders' lock is free: they share it, and the kernel drops a share however they die."""

        def wait() -> None:
            try:
                descriptor = os.open(self._run_dir / HOLDERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                # Without the file nobody can hold, and nobody could ever be seen to leave.
                loop.call_soon_threadsafe(self._finish, f"its directory is gone: {error}")
                return
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._nobody_holds, descriptor)

        threading.Thread(target=wait, daemon=True).start()

    def _nobody_holds(self, descriptor: int) -> None:
        if self._kept:
            # Somebody may come back to it, so the lock must be free.
            os.close(descriptor)
        else:
            self._finish("no holder is left")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller = Caller(writer)
        try:
            with contextlib.suppress(ConnectionError):
                while line := await reader.readline():
                    request = json.loads(line)
                    try:
                        answer = await self._do(request, caller)
                    except KubernixError as error:
                        answer = {"error": wire.pack(error)}
                    except Exception:  # noqa: BLE001 - who asked must not wait for ever for a mistake of ours
                        failure = KubernixError(f"the guardian failed:\n{traceback.format_exc()}")
                        answer = {"error": wire.pack(failure)}
                    caller.send({"answer": answer, "number": request["number"]})
                    await writer.drain()
        finally:
            self._life.hung_up(caller)
            writer.close()

    async def _do(self, request: Message, caller: Caller) -> Message:
        match request["op"]:
            case "attach":
                if caller.who != request["who"]:
                    caller.who = request["who"]
                    log(f"{caller.who} holds")
                return await self._life.attach(caller)
            case "claim":
                return self._claim(request, caller)
            case "boot":
                return await self._boot_plan(request, caller)
            case "publish":
                self._life.publish(caller)
                return {}
            case "give_up":
                self._life.fail(request["error"])
                return {}
            case "status":
                return {**self._status(), "others": self._life.holders(but=caller)}
            case "run":
                return await self._run(request)
            case "fault":
                if not self._faults:
                    raise KubernixError("no cluster was booted yet")
                log(f"{caller.who}: {request['action']} {request['name']}")
                await self._faults.apply(request["name"], request["action"])
                return {}
            case "keep":
                self._kept = True
                return {}
            case "stop":
                self._finish(f"{caller.who} asked to stop")
                return {}
            case unknown:
                raise KubernixError(f"the guardian knows no operation {unknown!r}")

    def _claim(self, request: Message, caller: Caller) -> Message:
        """Let one caller plan the cluster, and take what it needs of this machine; see `HostFacts`."""
        if not self._life.take_charge(caller):
            return {"taken": True}
        wanted = {"kube-apiserver": request["api_port"], "kube-controller-manager": 0, "kube-scheduler": 0}
        # Whoever planned before may have died of it; what it had claimed is claimed anew.
        self._claims.release()
        return {
            "ports": {name: self._claims.port(port) for name, port in wanted.items()},
            "cidr": self._claims.network(request["cidr"]) if request["nodes"] else "10.0.0.0/16",
            "can_lower_oom_score": linux.has_capability(linux.CAP_SYS_RESOURCE),
        }

    async def _boot_plan(self, request: Message, caller: Caller) -> Message:
        """Boot; goes on when the caller dies, since others may be waiting."""
        plan = Plan.from_json(request["plan"])
        self._life.begin(caller)
        self._launcher = launcher = PlanLauncher(plan, self._spawner, request["timeout"])
        self._faults = Faults(launcher)
        launcher.logs.mkdir(mode=0o700, exist_ok=True)
        self._boot = asyncio.ensure_future(self._boot_to_the_end(plan, launcher, request))
        await asyncio.shield(self._boot)
        return await self._life.attach(caller)

    async def _boot_to_the_end(self, plan: Plan, launcher: PlanLauncher, request: Message) -> None:
        timings: dict[str, float] = {}

        def on_phase(phase: Phase, count: int, seconds: float | None) -> None:
            if seconds is not None:
                timings[phase.title] = round(seconds, 3)
            launcher.note(phase.title, "begins" if seconds is None else "ends")
            self._life.tell({"event": "phase", "phase": phase.title, "count": count, "seconds": seconds})

        begin = time.monotonic()
        try:
            await _run_plan(plan, launcher, on_phase)
            launcher.note("cluster", "ready")
            timings["total"] = round(time.monotonic() - begin, 3)
            handle = {**request["handle"], "timings": timings}
            _publish(self._run_dir / HANDLE, json.dumps(handle, indent=1, sort_keys=True))
        except BootError as error:
            launcher.note("cluster", "failed")
            kept = keep_logs(self._run_dir, Path(request["keep_logs"]) / plan.cluster_id, launcher.timeline)
            # Paths in the errors lead into the run directory, which is about to go.
            failures = [KubernixError(str(failure).replace(str(launcher.logs), kept)) for failure in error.failures]
            await self._close()
            # The guardian stays, so that whoever comes later learns the same instead of trying again.
            self._life.fail(wire.pack(BootError(error.phase, failures, logs=kept)))
            return
        except Exception:  # noqa: BLE001 - whoever waits must learn of a mistake of ours, or of a full disk
            text = traceback.format_exc()
            await self._close()
            self._life.fail(wire.pack(KubernixError(f"the guardian failed:\n{text}")))
            return
        self._life.booted(handle)

    def _status(self) -> Message:
        launcher, faults = self._launcher, self._faults
        return {
            "state": self._life.state,
            "holders": self._life.holders(),
            "kept": self._kept,
            "components": {name: faults.state(name) for name in faults.names()} if faults else {},
            "logs": {name: str(launcher.log_of(name)) for name in launcher.processes} if launcher else {},
            "deaths": [dataclasses.asdict(death) for death in launcher.deaths] if launcher else [],
            "timeline": launcher.timeline if launcher else [],
        }

    async def _run(self, request: Message) -> Message:
        """Run one command in a node, to its end."""
        if not self._launcher:
            raise KubernixError("no cluster was booted yet")
        with tempfile.TemporaryDirectory(dir=self._run_dir) as scratch:
            out, err = Path(scratch) / "out", Path(scratch) / "err"
            with out.open("wb") as stdout:
                code = await self._spawner.run(
                    request["name"],
                    request["argv"],
                    env=request["env"],
                    log=err,
                    stdout=stdout,
                    within=self._launcher.namespaces.entered(request["within"]),
                    timeout=wire.COMMAND_TIMEOUT,
                )
            return {"returncode": code, "stdout": _text(out), "stderr": _text(err)}

    async def _close(self) -> None:
        problems: list[str] = []
        if self._boot and not self._boot.done() and self._boot is not asyncio.current_task():
            self._boot.cancel()
            await asyncio.wait([self._boot])
        if self._launcher:
            problems += await self._launcher.close()
            self._launcher = None
        self._claims.release()
        for problem in problems:
            log(problem)


async def _run_plan(plan: Plan, launcher: PlanLauncher, on_phase: OnPhase) -> None:
    """Boot to the end, unless a component that was ready dies meanwhile: then nothing is worth waiting for."""
    phases = asyncio.ensure_future(_run_phases(plan, launcher, on_phase))
    try:
        either: list[asyncio.Future[Any]] = [phases, launcher.died]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not phases.done():
            phases.cancel()
            await asyncio.gather(phases, return_exceptions=True)
    if phases.cancelled():
        raise BootError("boot", [launcher.died.result()])
    await phases


async def _run_phases(plan: Plan, launcher: PlanLauncher, on_phase: OnPhase) -> None:
    try:
        launcher.prepare()
        await run_phases(plan.by_phase(), launcher, on_phase)
    except ComponentError as error:
        raise BootError("preparation", [error]) from error
    try:
        await launcher.readiness.wait("cluster", plan.final, launcher.deadline, log=launcher.log_of("cluster"))
    except ComponentError as error:
        raise BootError("readiness of the whole", [error]) from error


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _publish(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(text)
    scratch.replace(path)


def main() -> None:
    """Entry point: `guardian RUN_DIR LOCK_FD STARTED_FD [PIDFD …]`."""
    run_dir, (lock, started, *watched) = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    # Ctrl-C and a closed terminal are meant for the tests; holders say when to end.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    # The lock is held for life, so that nobody sweeps what still lives; a fork of this process shares it.
    for descriptor in (lock, started, *watched):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
    isolated = isolate()
    try:
        asyncio.run(Guardian(run_dir, isolated=isolated, watched=watched).serve(started))
    except BaseException:  # noqa: BLE001 - the process is about to end; its log is all there is
        traceback.print_exc()
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
        leave_root(run_dir.parent)
        # The thread that waits for holders may still be in its system call.
        os._exit(0)
