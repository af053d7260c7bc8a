"""The guardian: parent of every process of one cluster, child of nobody who runs tests.
It boots a plan on request, answers on a control socket, and ends the cluster when no holder is left."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ..boot.booting import run_plan
from ..boot.claims import Claims
from ..boot.controls import Faults
from ..boot.launcher import PlanLauncher
from ..boot.namespaces import isolate
from ..boot.processes import Spawner
from ..errors import BootError, KubernixError
from ..linux import calls as linux
from ..linux.priority import Priority
from ..logs import keep_logs, log
from ..plan.model import Phase, Plan
from . import protocol as wire
from .lifetime import Stay
from .rundir import CONTROL_SOCKET, HANDLE, leave_root
from .state import FAILED, PLANNING, VACANT, Caller, Life

# A plan for 64 nodes is about a megabyte.
LINE_LIMIT = 64 * 1024 * 1024

Message = dict[str, Any]


class Guardian:
    """Serves one cluster from claim to end.

    Args:
        run_dir: The cluster's directory, which exists.
        lock: The lock that says that the cluster lives.
        isolated: Whether this is process 1 of a PID namespace.
        watched: pidfds of processes that hold the cluster as long as they live.
    """

    def __init__(self, run_dir: Path, lock: int, *, isolated: bool, watched: Sequence[int] = ()) -> None:
        self._run_dir = run_dir
        self._isolated = isolated
        self._claims = Claims()
        priority = Priority(isolated=isolated)
        self._spawner = Spawner(on_spawn=priority.apply, shared=(lock,) if isolated else ())
        self._launcher: PlanLauncher | None = None
        self._faults: Faults | None = None
        self._boot: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._why = ""
        # What could not be removed.
        self._left: list[str] = []
        self._life = Life()
        self._stay = Stay(run_dir, watched, self._finish, priority)
        # Who boots a spare, and so does not take it.
        self._maker: Caller | None = None

    async def serve(self, started: int) -> bool:
        """Answer on the control socket until it is time to end, and end.

        Args:
            started: File descriptor that gets one byte once the socket listens.

        Returns:
            Whether nothing of the cluster is left but its directory.
        """
        loop = asyncio.get_running_loop()
        self._spawner.watch()
        if not self._isolated:
            linux.become_subreaper()
            self._spawner.launcher = ("setpriv", "--pdeathsig", "KILL", "--")
        loop.add_signal_handler(signal.SIGTERM, self._finish, "SIGTERM")
        self._stay.begin()
        server = await asyncio.start_unix_server(self._answer, str(self._run_dir / CONTROL_SOCKET), limit=LINE_LIMIT)
        with contextlib.suppress(BrokenPipeError):
            # Whoever started us may be dead, and somebody else be waiting.
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
                    caller.send({"answer": answer, "number": request.get("number")})
                    await writer.drain()
        finally:
            self._life.hung_up(caller)
            if caller is self._maker:
                self._maker = None
                self._give_up_spare()
            writer.close()

    async def _do(self, request: Message, caller: Caller) -> Message:
        operations: dict[str, Callable[[Message, Caller], Awaitable[Message]]] = {
            "attach": self._attach,
            "spare": self._become_spare,
            "claim": self._claim,
            "boot": self._boot_plan,
            "publish": self._publish,
            "give_up": self._give_up,
            "status": self._status,
            "run": self._run,
            "fault": self._fault,
            "keep": self._keep,
            "stop": self._stop,
        }
        if request["op"] not in operations:
            raise KubernixError(f"the guardian knows no operation {request['op']!r}")
        return await operations[request["op"]](request, caller)

    async def _attach(self, request: Message, caller: Caller) -> Message:
        if caller.who != request["who"]:
            caller.who = request["who"]
            log(f"{caller.who} holds")
        if self._stay.spare and caller is not self._maker:
            # How it was booted is not what whoever takes it has waited for.
            self._life.forget_phases()
            self._stay.taken()
        return await self._life.attach(caller)

    async def _become_spare(self, request: Message, caller: Caller) -> Message:
        self._maker = caller
        self._stay.become_spare(request["identity"], request["lifetime"])
        return {}

    async def _publish(self, _: Message, caller: Caller) -> Message:
        self._life.publish(caller)
        return {}

    async def _give_up(self, request: Message, _: Caller) -> Message:
        self._life.fail(request["error"])
        return {}

    async def _fault(self, request: Message, caller: Caller) -> Message:
        if not self._faults:
            raise KubernixError("no cluster was booted yet")
        log(f"{caller.who}: {request['action']} {request['name']}")
        await self._faults.apply(request["name"], request["action"])
        return {}

    async def _keep(self, _: Message, __: Caller) -> Message:
        self._stay.kept = True
        return {}

    async def _stop(self, _: Message, caller: Caller) -> Message:
        self._finish(f"{caller.who} asked to stop")
        return {}

    async def _claim(self, request: Message, caller: Caller) -> Message:
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
        self._boot.add_done_callback(lambda boot: self._give_up_spare())
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
            await run_plan(plan, launcher, on_phase)
            launcher.note("cluster", "ready")
            timings["total"] = round(time.monotonic() - begin, 3)
            handle = {**request["handle"], "timings": timings}
            _write_whole(self._run_dir / HANDLE, json.dumps(handle, indent=1, sort_keys=True))
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
        if self._stay.spare:
            self._stay.offer()

    def _give_up_spare(self) -> None:
        """End a spare that nobody boots any more, or that did not come up."""
        if self._stay.spare and not self._maker and self._life.state in (VACANT, PLANNING, FAILED):
            self._finish("this spare did not come up")

    async def _status(self, _: Message, caller: Caller) -> Message:
        launcher, faults = self._launcher, self._faults
        return {
            "state": self._life.state,
            "holders": self._life.holders(),
            "others": self._life.holders(but=caller),
            "kept": self._stay.kept,
            "spare": self._stay.spare,
            "components": {name: faults.state(name) for name in faults.names()} if faults else {},
            "deaths": [dataclasses.asdict(death) for death in launcher.deaths] if launcher else [],
            "timeline": launcher.timeline if launcher else [],
        }

    async def _run(self, request: Message, _: Caller) -> Message:
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
        self._left += problems


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _write_whole(path: Path, text: str) -> None:
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
    # The lock is held for life, so that nobody sweeps what still lives; a fork of this process shares it. So do a PID
    # namespace's other processes: the kernel ends them after their first, and until they are dead they make cgroups.
    for descriptor in (lock, started, *watched):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
    isolated = isolate()
    try:
        # What is left is swept by who finds the lock free, and it finds it by the directory.
        if asyncio.run(Guardian(run_dir, lock, isolated=isolated, watched=watched).serve(started)):
            shutil.rmtree(run_dir, ignore_errors=True)
            leave_root(run_dir.parent)
    except BaseException:  # noqa: BLE001 - the process is about to end; its log is all there is
        traceback.print_exc()
    finally:
        # The thread that waits for holders may still be in its system call.
        os._exit(0)
