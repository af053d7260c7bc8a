"""Faults: kill, pause, resume and restart components and whole nodes of a running cluster.
Done by their parent, so never to a recycled PID; each returns once the fault is in effect."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ..errors import KubernixError
from ..guardian.protocol import RESTART_TIMEOUT
from ..linux import calls as linux
from ..plan.model import ComponentPlan
from .launcher import STOP_TIMEOUT, PlanLauncher
from .processes import Process
from .readiness import FIRST_PAUSE, Deadline
from .sequence import run_phases

STATE_TIMEOUT = 5.0


class Faults:
    """Carries out faults on what a launcher started.

    Args:
        launcher: The cluster's.
    """

    def __init__(self, launcher: PlanLauncher) -> None:
        self._launcher = launcher
        self._components = {component.name: component for component in launcher.plan.components}
        self._paused: set[str] = set()
        self._lock = asyncio.Lock()

    def names(self) -> list[str]:
        """All that can be broken: components, then nodes."""
        return [*self._components, *self._launcher.plan.nodes]

    def state(self, name: str) -> str:
        """One of "running", "paused" and "dead"."""
        process = self._process(name)
        if process is None or not process.alive:
            return "dead"
        return "paused" if name in self._paused else "running"

    async def apply(self, name: str, action: str) -> None:
        """Do something to a component or a node.

        Args:
            name: Such as "kube-apiserver", "kubelet/node-1", or "node-1".
            action: "kill", "pause", "resume" or "restart".

        Raises:
            KubernixError: There is no such thing, or it is not in a state for that.
            ComponentError: It was not ready again in time.
        """
        actions: dict[str, Callable[[str], Awaitable[None]]] = {
            "kill": self._kill,
            "pause": self._pause,
            "resume": self._resume,
            "restart": self._restart,
        }
        if name not in self.names():
            raise KubernixError(f"no component or node {name!r}; there are {', '.join(self.names())}")
        # Workers that share a cluster may break the same thing at once: one after another, each sees what is there.
        async with self._lock:
            await actions[action](name)

    def _is_node(self, name: str) -> bool:
        return name in self._launcher.plan.nodes

    def _process(self, name: str) -> Process | None:
        return self._launcher.namespaces.init_of(name) if self._is_node(name) else self._launcher.processes.get(name)

    def _living(self, name: str, action: str) -> Process:
        process = self._process(name)
        if process is None or not process.alive:
            raise KubernixError(f"{name} can't be {action}: it is dead")
        return process

    async def _kill(self, name: str) -> None:
        process = self._living(name, "killed")
        self._launcher.expected.update([name, *self._inside(name)])
        # The kernel ends all processes of a node with its process 1.
        problems = await self._launcher.spawner.end([process], STOP_TIMEOUT)
        if problems:
            raise KubernixError("\n".join(problems))
        self._paused -= {name, *self._inside(name)}
        if self._is_node(name):
            await self._launcher.namespaces.forget(name)

    async def _pause(self, name: str) -> None:
        process = self._living(name, "paused")
        await self._signal_until(name, process, signal.SIGSTOP, "T")
        self._paused.update([name, *self._inside(name)])

    async def _resume(self, name: str) -> None:
        process = self._living(name, "resumed")
        await self._signal_until(name, process, signal.SIGCONT, "")
        self._paused -= {name, *self._inside(name)}

    async def _restart(self, name: str) -> None:
        process = self._process(name)
        if not self._is_node(name):
            # What runs in a dead node could only be started on the host, where it has no business.
            home = self._components[name].within
            if self._is_node(home) and self.state(home) == "dead":
                raise KubernixError(f"{name} can't be restarted: {home} is dead; restart that")
        if process and process.alive:
            await self._kill(name)
        else:
            self._paused -= {name, *self._inside(name)}
            if process and self._is_node(name):
                await self._launcher.namespaces.forget(name)
        deadline = Deadline(RESTART_TIMEOUT)
        if not self._is_node(name):
            await self._launcher.start(self._components[name], deadline)
            return
        plan = next(plan for plan in self._launcher.plan.namespaces if plan.name == name)
        await self._launcher.namespaces.create(plan)
        phases = self._launcher.plan.by_phase()
        members = {phase: [one for one in group if one.within == name] for phase, group in phases}
        await run_phases(
            [(phase, group) for phase, group in members.items() if group], _Restarter(self._launcher, deadline)
        )

    def _inside(self, name: str) -> list[str]:
        """The components that live in a node; none for a component."""
        return [one.name for one in self._components.values() if self._is_node(name) and one.within == name]

    async def _signal_until(self, name: str, process: Process, number: int, state: str) -> None:
        """Signal a component, or all processes of a node, until each is in that state ("" is any but stopped)."""
        deadline = Deadline(STATE_TIMEOUT)
        while True:
            pids = _pids_inside(process.pid) if self._is_node(name) else [process.pid]
            # Between two looks a process may have forked; so look until nothing is left to signal.
            states = {pid: linux.state(pid) for pid in pids}
            pending = [pid for pid, now in states.items() if now not in "ZX" and (now == "T") != (state == "T")]
            if not pending:
                return
            for pid in pending:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if deadline.over:
                raise KubernixError(f"{name}: {len(pending)} processes did not take the signal")
            await asyncio.sleep(FIRST_PAUSE)


class _Restarter:
    """Starts components anew with a deadline of their own; see `sequence.Launcher`."""

    def __init__(self, launcher: PlanLauncher, deadline: Deadline) -> None:
        self._launcher = launcher
        self._deadline = deadline

    def begin(self, component: ComponentPlan) -> None:
        """What a node's components wait for is in other nodes or on the host, and runs."""

    async def start(self, component: ComponentPlan) -> None:
        await self._launcher.start(component, self._deadline)

    async def stop(self, names: Sequence[str]) -> list[str]:
        return await self._launcher.stop(names)


def _pids_inside(init: int) -> list[int]:
    """All processes of the PID namespace that `init` is process 1 of, those of pods below it included."""
    own = _pid_namespace(os.getpid())
    inside = _pid_namespace(init)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _belongs(pid, inside, own)]


def _belongs(pid: int, inside: str, own: str) -> bool:
    # A pod with a PID namespace of its own is below the node's; its ancestors lead there.
    while pid > 1:
        namespace = _pid_namespace(pid)
        if namespace == inside:
            return True
        if namespace in ("", own):
            return False
        pid = _parent(pid)
    return False


def _pid_namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _parent(pid: int) -> int:
    return int((linux.stat(pid) or ["X", "0"])[1])
