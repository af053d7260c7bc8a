"""The guardian: parent of every process of one cluster, child of nobody who runs tests.
It boots a plan on request, answers on a control socket, and ends the cluster when no holder is left."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ..errors import BootError, ComponentError, ConfigError, KubernixError
from ..plan.model import Phase, Plan
from . import linux
from .claims import Claims
from .launcher import PlanLauncher
from .netns import isolate
from .process import Spawner
from .sequence import run_phases
from .sweep import GUARDIAN_LOCK, HOLDERS_LOCK

CONTROL_SOCKET = "control.sock"
HANDLE = "handle.json"
RECORD = "guardian.json"
# A plan for 64 nodes is about a megabyte.
LINE_LIMIT = 64 * 1024 * 1024
COMMAND_TIMEOUT = 300.0

Message = dict[str, Any]


class Guardian:
    """Serves one cluster from claim to end.

    Args:
        run_dir: The cluster's directory, which exists.
        isolated: Whether this is process 1 of a PID namespace.
    """

    def __init__(self, run_dir: Path, *, isolated: bool) -> None:
        self._run_dir = run_dir
        self._isolated = isolated
        self._claims = Claims()
        self._spawner = Spawner()
        self._launcher: PlanLauncher | None = None
        self._boot: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._why = ""
        self._started = time.time()

    async def serve(self, holder: socket.socket) -> None:
        """Answer the first holder and everybody on the control socket, until it is time to end."""
        loop = asyncio.get_running_loop()
        self._spawner.watch()
        if not self._isolated:
            linux.become_subreaper()
            self._spawner.launcher = ("setpriv", "--pdeathsig", "KILL", "--")
        loop.add_signal_handler(signal.SIGTERM, self._finish, "SIGTERM")
        threading.Thread(target=self._wait_for_holders, args=(loop,), daemon=True).start()
        server = await asyncio.start_unix_server(self._answer, str(self._run_dir / CONTROL_SOCKET), limit=LINE_LIMIT)
        reader, writer = await asyncio.open_connection(sock=holder, limit=LINE_LIMIT)
        first = asyncio.ensure_future(self._answer(reader, writer))
        await self._end.wait()
        _log(f"ending: {self._why}")
        server.close()
        await self._close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.drain(), 1)
        first.cancel()

    def _finish(self, why: str) -> None:
        self._why = self._why or why
        self._end.set()

    def _wait_for_holders(self, loop: asyncio.AbstractEventLoop) -> None:
        # Holders share this lock; the kernel drops a holder's share however it dies.
        descriptor = os.open(self._run_dir / HOLDERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._finish, "no holder is left")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                request = json.loads(line)
                try:
                    answer = await self._do(request, writer)
                except ConfigError as error:
                    answer = {
                        "config_error": [error.field, str(error.value), error.allowed],
                    }
                except KubernixError as error:
                    answer = {"error": str(error)}
                except Exception:  # noqa: BLE001 - whoever asked must not wait for ever for a mistake of ours
                    answer = {"error": f"the guardian failed:\n{traceback.format_exc()}"}
                _send(writer, {"answer": answer})
                await writer.drain()

    async def _do(self, request: Message, writer: asyncio.StreamWriter) -> Message:
        operation = request["op"]
        if operation == "claim":
            return self._claim(request)
        if operation == "boot":
            return await self._boot_plan(request, writer)
        if operation == "status":
            return self._status()
        if operation == "run":
            return await self._run(request)
        if operation == "stop":
            self._finish("asked to stop")
            return {}
        raise KubernixError(f"the guardian knows no operation {operation!r}")

    def _claim(self, request: Message) -> Message:
        """Take what a cluster needs of this machine; see `HostFacts`."""
        wanted = {"kube-apiserver": request["api_port"], "kube-controller-manager": 0, "kube-scheduler": 0}
        return {
            "ports": {name: self._claims.port(port) for name, port in wanted.items()},
            "cidr": self._claims.network(request["cidr"]) if request["nodes"] else "10.0.0.0/16",
            "can_lower_oom_score": linux.has_capability(linux.CAP_SYS_RESOURCE),
        }

    async def _boot_plan(self, request: Message, writer: asyncio.StreamWriter) -> Message:
        plan = Plan.from_json(request["plan"])
        self._launcher = launcher = PlanLauncher(plan, self._spawner, request["timeout"])
        launcher.logs.mkdir(mode=0o700, exist_ok=True)
        timings: dict[str, float] = {}

        def on_phase(phase: Phase, count: int, seconds: float | None) -> None:
            if seconds is not None:
                timings[phase.title] = round(seconds, 3)
            _send(writer, {"event": "phase", "phase": phase.title, "count": count, "seconds": seconds})

        begin = time.monotonic()
        self._boot = asyncio.ensure_future(self._run_plan(plan, launcher, on_phase))
        try:
            await self._boot
        except BootError as error:
            kept = _keep_logs(launcher.logs, Path(request["keep_logs"]) / plan.cluster_id)
            # Paths in the errors lead into the run directory, which is about to go.
            failures = [str(failure).replace(str(launcher.logs), kept) for failure in error.failures]
            self._finish("the boot failed")
            return {"failed": {"phase": error.phase, "failures": failures, "logs": kept}}
        except asyncio.CancelledError:
            return {"failed": {"phase": "boot", "failures": [f"interrupted: {self._why}"], "logs": ""}}
        finally:
            self._boot = None
        timings["total"] = round(time.monotonic() - begin, 3)
        handle = {**request["handle"], "timings": timings}
        _publish(self._run_dir / HANDLE, json.dumps(handle, indent=1, sort_keys=True))
        return {"handle": handle, "timeline": launcher.timeline}

    @staticmethod
    async def _run_plan(plan: Plan, launcher: PlanLauncher, on_phase: Any) -> None:
        try:
            launcher.prepare()
            await run_phases(plan.by_phase(), launcher, on_phase)
        except ComponentError as error:
            raise BootError("preparation", [error]) from error
        try:
            await launcher.until_ready("cluster", plan.final)
        except ComponentError as error:
            raise BootError("readiness of the whole", [error]) from error

    def _status(self) -> Message:
        processes = self._launcher.processes if self._launcher else {}
        return {
            "components": {
                name: {
                    "pid": process.pid,
                    "alive": process.alive,
                    "exit_code": None if process.alive else process.exited.result(),
                    "log": str(process.log),
                }
                for name, process in processes.items()
            },
            "age": time.time() - self._started,
        }

    async def _run(self, request: Message) -> Message:
        """Run one command in a node, to its end."""
        if not self._launcher:
            raise KubernixError("no cluster was booted yet")
        with tempfile.TemporaryDirectory(dir=self._run_dir) as scratch:
            out, err = Path(scratch) / "out", Path(scratch) / "err"
            with out.open("wb") as stdout:
                code = await self._spawner.run(
                    request["name"], request["argv"], env=request["env"], log=err, stdout=stdout,
                    within=self._launcher.namespaces.entered(request["within"]), timeout=COMMAND_TIMEOUT,
                )  # fmt: skip
            return {"returncode": code, "stdout": _text(out), "stderr": _text(err)}

    async def _close(self) -> None:
        problems: list[str] = []
        if self._boot:
            self._boot.cancel()
            await asyncio.wait([self._boot])
        if self._launcher:
            problems += await self._launcher.close()
        self._claims.release()
        for problem in problems:
            _log(problem)


def _send(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _publish(path: Path, text: str) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(text)
    scratch.replace(path)


KEPT_LOGS = 5


def _keep_logs(logs: Path, kept: Path) -> str:
    """Move logs out of a run directory that is about to go; only the newest few are kept.

    Returns:
        Where they are now, or "" when they could not be kept.
    """
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copytree(logs, kept)
        older = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]
        for path in older:
            shutil.rmtree(path, ignore_errors=True)
    except OSError as error:
        _log(f"the logs could not be kept: {error}")
        return ""
    return str(kept)


def _log(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point: `guardian RUN_DIR FD`, with the first holder's connection at file descriptor FD."""
    run_dir, holder = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    # Ctrl-C and a closed terminal are meant for the tests; holders say when to end.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    # Held for life, so that nobody sweeps what still lives; a fork of this process shares it.
    lock = os.open(run_dir / GUARDIAN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    isolated = isolate()
    # Who waits for the end reads this connection until it closes, which must be the very last thing.
    os.dup(holder.fileno())
    try:
        asyncio.run(_serve(run_dir, holder, isolated=isolated))
    except BaseException:  # noqa: BLE001 - the process is about to end; its log is all there is
        traceback.print_exc()
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            run_dir.parent.rmdir()
        # The thread that waits for holders may still be in its system call.
        os._exit(0)


async def _serve(run_dir: Path, holder: socket.socket, *, isolated: bool) -> None:
    await Guardian(run_dir, isolated=isolated).serve(holder)
