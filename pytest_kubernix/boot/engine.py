"""The native engine: boots a plan as processes of this machine, breaks and mends them, and ends them all.
Its guardian is process 1 of a PID namespace, where this user may make one: the kernel ends what it started with it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .. import plain
from ..engine import Command, CommandResult, Engine, EngineStatus, Progress
from ..errors import BootError, ComponentError, KubernixError
from ..handle import Action
from ..layout import Layout
from ..linux import calls, cgroups
from ..linux.priority import Priority
from ..logs import log
from ..plan.model import Phase, Plan
from .claims import Claims
from .controls import Controls
from .isolation import isolate, wait_until_link_is_gone
from .launcher import Launcher
from .processes import Spawner
from .sequence import run_phases

# Failed boots of which the logs are kept.
# After the last phase.
READINESS = "readiness of the whole"
KEPT_LOGS = 5
TIMELINE = "timeline.json"
# A process that has just died leaves its cgroup in a moment; one that lives there is none of the cluster's.
CGROUP_TIMEOUT = 0.5


@dataclass(frozen=True)
class NativeSpec:
    """What the native engine boots.

    Attributes:
        plan: The whole cluster.
        failed_boots: Directory that keeps the logs of boots that failed.
    """

    plan: Plan
    failed_boots: Path


@dataclass(frozen=True)
class NativeWants:
    """What a plan needs of this machine before it can be made.

    Attributes:
        ports: Component → port on 127.0.0.1, 0 for any.
        network: Whether it needs a network for nodes.
        cidr: Which network; None is any.
    """

    ports: Mapping[str, int]
    network: bool
    cidr: str | None


@dataclass(frozen=True)
class NativeFacts:
    """What was claimed of this machine; see `HostFacts`."""

    ports: Mapping[str, int]
    cidr: str
    can_lower_oom_score: bool


class NativeEngine(Engine):
    """Runs the processes of one cluster.

    Args:
        layout: The cluster's directory.
        lock: The guardian's lock.
        isolated: Whether this process is the first of a PID namespace.
    """

    def __init__(self, layout: Layout, lock: int, *, isolated: bool) -> None:
        super().__init__(layout)
        self._isolated = isolated
        self._claims = Claims()
        self._priority = Priority(isolated=isolated)
        # A PID namespace's processes share the lock: the kernel ends them after their first, and they make cgroups.
        self._spawner = Spawner(on_spawn=self._priority.apply, shared=(lock,) if isolated else ())
        self._launcher: Launcher | None = None
        self._controls: Controls | None = None

    @classmethod
    def open(cls, layout: Layout, lock: int) -> Self:
        """Isolate this process, if this user may; a child of the one that called goes on then."""
        isolated = isolate()
        return cls(layout, lock, isolated=isolated)

    async def begin(self) -> None:
        """Reap children from now on."""
        self._spawner.watch()
        if not self._isolated:
            calls.become_subreaper()
            # Without a PID namespace the kernel must be asked to end a child when the guardian dies.
            self._spawner.prefix = ("setpriv", "--pdeathsig", "KILL", "--")

    def claim(self, wants: Mapping[str, Any]) -> Mapping[str, Any]:
        """Claim ports and a network; see `NativeWants` and `NativeFacts`."""
        asked = plain.from_plain(NativeWants, wants)
        # A holder that planned before may have died of it; what it had claimed is claimed anew.
        self._claims.release()
        facts = NativeFacts(
            ports={name: self._claims.port(port) for name, port in asked.ports.items()},
            # Without nodes no address of it is ever used.
            cidr=self._claims.network(asked.cidr) if asked.network else "10.0.0.0/16",
            can_lower_oom_score=calls.has_capability(calls.CAP_SYS_RESOURCE),
        )
        claimed: Mapping[str, Any] = plain.to_plain(facts)
        return claimed

    async def boot(
        self, spec: Mapping[str, Any], *, timeout: float, tell: Callable[[Progress], None]
    ) -> Mapping[str, float]:
        """Boot; see `NativeSpec`.

        Raises:
            BootError: Components failed; their logs were kept.
        """
        asked = plain.from_plain(NativeSpec, spec)
        self._launcher = launcher = Launcher(asked.plan, self.layout, self._spawner, timeout)
        self._controls = Controls(launcher)
        timings: dict[str, float] = {}

        def on_phase(phase: Phase, count: int, seconds: float | None) -> None:
            if seconds is not None:
                timings[phase.title] = round(seconds, 3)
            launcher.note(phase.title, "begins" if seconds is None else "ends")
            tell(Progress(phase.title, count, seconds))

        begin = time.monotonic()
        try:
            self.layout.logs.mkdir(mode=0o700, exist_ok=True)
            await _boot_or_die(launcher, on_phase)
        except BootError as error:
            launcher.note("cluster", "failed")
            kept = self._keep_logs(asked.failed_boots / asked.plan.cluster_id, launcher)
            # Paths in the errors lead into the run directory, which is about to go.
            failures = [_moved(failure, str(self.layout.logs), kept) for failure in error.failures]
            raise BootError(error.phase, failures, logs=kept, remarks=error.remarks) from None
        launcher.note("cluster", "ready")
        return {**timings, "total": round(time.monotonic() - begin, 3)}

    async def status(self) -> EngineStatus:
        """What the processes do."""
        launcher, controls = self._launcher, self._controls
        if not launcher or not controls:
            return EngineStatus()
        return EngineStatus(controls.states(), tuple(launcher.deaths), tuple(launcher.timeline))

    async def control(self, name: str, action: Action) -> float:
        """Break or mend a component or a node."""
        if not self._controls:
            raise KubernixError("no cluster was booted yet")
        return await self._controls.apply(name, action)

    async def run(self, command: Command) -> CommandResult:
        """Run a command in a node or on the host."""
        launcher, controls = self._launcher, self._controls
        if not launcher or not controls:
            raise KubernixError("no cluster was booted yet")
        result = await self._run(command, launcher)
        if command.again and result.returncode == 0:
            controls.after_restart(command.within, lambda: self._run(command, launcher))
        return result

    async def _run(self, command: Command, launcher: Launcher) -> CommandResult:
        with tempfile.TemporaryDirectory(dir=self.layout.run_dir) as scratch:
            out, err = Path(scratch) / "out", Path(scratch) / "err"
            with out.open("wb") as stdout:
                code = await self._spawner.run(
                    command.name,
                    command.argv,
                    env=command.env,
                    log=err,
                    stdout=stdout,
                    within=launcher.namespaces.entered(command.within),
                    timeout=command.timeout,
                )
            return CommandResult(code, _text(out), _text(err))

    def lower_priority(self, *, low: bool) -> None:
        """Be nice, or not any more."""
        if low:
            self._priority.lower()
        else:
            self._priority.restore()

    async def close(self) -> list[str]:
        """Kill everything, and return when nothing of it is left on this machine."""
        problems: list[str] = []
        if self._launcher:
            problems = await self._launcher.close()
            if self._launcher.plan.namespaces:
                problems += await asyncio.to_thread(wait_until_link_is_gone, self.layout.host_link)
            self._launcher = self._controls = None
        self._claims.release()
        self._spawner.unwatch()
        return problems

    @classmethod
    def remove_remains(cls, layout: Layout) -> list[str]:
        """Remove cgroups; the kernel has ended all else with the guardian, or is about to."""
        problems = wait_until_link_is_gone(layout.host_link)
        name = f"kubernix/{layout.cluster_id}"
        for top in cgroups.hierarchies():
            # Another user's common parent may be private; below it is nothing of ours.
            with contextlib.suppress(PermissionError):
                if (top / name).exists():
                    return problems + cgroups.remove(name, CGROUP_TIMEOUT)
        return problems

    def _keep_logs(self, kept: Path, launcher: Launcher) -> str:
        """Copy logs out of a run directory that is about to go; only the newest few boots' are kept.

        Returns:
            Where they are now, or "" when they could not be kept.
        """
        try:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A cluster that is kept under a name has the same id each time.
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.layout.logs, kept)
            (kept / TIMELINE).write_bytes(plain.to_json(launcher.timeline))
            shutil.copy(self.layout.guardian_log, kept)
            older = sorted(kept.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]
            for path in older:
                shutil.rmtree(path, ignore_errors=True)
        except OSError as error:
            log(f"the logs could not be kept: {error}")
            return ""
        return str(kept)


async def _boot_or_die(launcher: Launcher, on_phase: Callable[[Phase, int, float | None], None]) -> None:
    """Boot to the end, unless a component that was ready dies meanwhile: then nothing is worth waiting for."""
    current = "preparation"

    def noted(phase: Phase, count: int, seconds: float | None) -> None:
        nonlocal current
        current = phase.title if seconds is None else READINESS
        on_phase(phase, count, seconds)

    phases = asyncio.ensure_future(_boot(launcher, noted))
    try:
        either: list[asyncio.Future[Any]] = [phases, launcher.died]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not phases.done():
            phases.cancel()
            await asyncio.gather(phases, return_exceptions=True)
    if phases.cancelled():
        raise BootError(current, [launcher.died.result()])
    await phases


async def _boot(launcher: Launcher, on_phase: Callable[[Phase, int, float | None], None]) -> None:
    try:
        launcher.set_up()
    except ComponentError as error:
        raise BootError("preparation", [error]) from error
    await run_phases(launcher.plan.by_phase(), launcher, on_phase)
    try:
        log_path = launcher.layout.log_of("cluster")
        await launcher.readiness.wait("cluster", launcher.plan.final, launcher.deadline, log=log_path)
    except ComponentError as error:
        raise BootError(READINESS, [error]) from error


def _moved(failure: KubernixError, logs: str, kept: str) -> KubernixError:
    """The same error, with paths of logs where they are kept; without them, if they are not."""
    if not kept and isinstance(failure, ComponentError):
        return ComponentError(failure.component, failure.reason, log_tail=failure.log_tail)
    kept = kept or logs
    if not isinstance(failure, ComponentError):
        return KubernixError(failure.message.replace(logs, kept), hint=failure.hint)
    return ComponentError(
        failure.component,
        failure.reason.replace(logs, kept),
        log_tail=failure.log_tail.replace(logs, kept),
        log=failure.log.replace(logs, kept),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
