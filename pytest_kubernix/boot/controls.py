"""Kills, pauses, resumes and restarts components and whole nodes of a running cluster.
Done by their parent, so never to a recycled PID; each returns once it is in effect, and says since when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ..engine import CommandResult
from ..errors import KubernixError
from ..handle import Action, ComponentState
from ..linux import processes as proc
from ..plan.model import ComponentPlan
from .launcher import STOP_TIMEOUT, Launcher
from .processes import Process
from .readiness import FIRST_PAUSE, Deadline
from .sequence import run_phases

STATE_TIMEOUT = 5.0
# Starting one component or one node again takes a second or two; a loaded machine takes longer.
RESTART_TIMEOUT = 60.0


class Controls:
    """Does to components and nodes what tests ask for.

    Args:
        launcher: The cluster's.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._components = {component.name: component for component in launcher.plan.components}
        self._paused: set[str] = set()
        self._again: defaultdict[str, list[Callable[[], Awaitable[CommandResult]]]] = defaultdict(list)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def names(self) -> list[str]:
        """All that can be broken: components, then nodes."""
        return [*self._components, *self._launcher.plan.nodes]

    def states(self) -> dict[str, ComponentState]:
        """The state of each."""
        return {name: self.state(name) for name in self.names()}

    def state(self, name: str) -> ComponentState:
        """The state of one."""
        process = self._process(name)
        if process is None or not process.alive:
            return ComponentState.DEAD
        return ComponentState.PAUSED if name in self._paused else ComponentState.RUNNING

    async def apply(self, name: str, action: Action) -> float:
        """Do something to a component or a node.

        Args:
            name: Such as "kube-apiserver", "kubelet/node-1", or "node-1".
            action: What to do.

        Returns:
            When it was in effect, in seconds on the monotonic clock; also on the timeline.

        Raises:
            KubernixError: There is no such thing, or it is not in a state for that.
            ComponentError: It was not ready again in time.
        """
        if name not in self.names():
            raise KubernixError(f"no component or node {name!r}; there are {', '.join(self.names())}")
        actions: dict[Action, tuple[Callable[[str], Awaitable[None]], str]] = {
            Action.KILL: (self._kill, "killed"),
            Action.PAUSE: (self._pause, "paused"),
            Action.RESUME: (self._resume, "resumed"),
            Action.RESTART: (self._restart, "restarted"),
        }
        do, done = actions[action]
        # Workers that share a cluster may break the same thing at once: one after another, each sees what is there.
        # What is in a node goes with it; anything else is broken side by side.
        async with self._locks[self._place(name)]:
            await do(name)
            return self._launcher.note(name, done)

    def after_restart(self, node: str, run: Callable[[], Awaitable[CommandResult]]) -> None:
        """Run something again whenever a node has come back, before its restart is over."""
        self._again[node].append(run)

    def _place(self, name: str) -> str:
        """What must stay as it is while something is done to this one: the node that it lives in, or itself."""
        component = self._components.get(name)
        return component.within if component and self._is_node(component.within) else name

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
            if self._is_node(home) and self.state(home) == ComponentState.DEAD:
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
        for run in self._again[name]:
            result = await run()
            if result.returncode != 0:
                raise KubernixError(f"{name} came back without what it had: {result.stderr.strip()}")

    def _inside(self, name: str) -> list[str]:
        """The components that live in a node; none for a component."""
        return [one.name for one in self._components.values() if self._is_node(name) and one.within == name]

    async def _signal_until(self, name: str, process: Process, number: int, state: str) -> None:
        """Signal a component, or all processes of a node, until each is in that state ("" is any but stopped)."""
        deadline = Deadline(STATE_TIMEOUT)
        while True:
            pids = _pids_inside(process.pid) if self._is_node(name) else [process.pid]
            # Between two looks a process may have forked; so look until nothing is left to signal.
            states = {pid: proc.state(pid) for pid in pids}
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
    """Starts components anew with a deadline of their own; see `sequence.Starter`."""

    def __init__(self, launcher: Launcher, deadline: Deadline) -> None:
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
    return int((proc.stat(pid) or ["X", "0"])[1])
