"""Starts the components of one plan: namespaces, files, API objects, the process, its readiness.
Knows what was started, what died by itself since, and how to end it all."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from ..errors import ComponentError
from ..handle import Death, Event
from ..http_requests import AdminApi
from ..layout import Layout
from ..logs import log, tail
from ..plan.model import HOST, ComponentPlan, Plan
from .namespaces import Namespaces
from .processes import Process, Spawner
from .readiness import Deadline, Readiness

STOP_TIMEOUT = 10.0
# The same word is in binaries/go/kubernetes/main.go.
HOLD_VARIABLE = "KUBERNIX_HOLD"


class Launcher:
    """Starts and stops components of a plan; see `sequence.Starter`.

    Attributes:
        plan: What is carried out.
        layout: The cluster's directory.
        deadline: When the boot is over, one way or the other.
        namespaces: The kernel namespaces of fabric and nodes.
        readiness: Asks probes.
        processes: Component → its process.
        expected: Components whose end was asked for.
        deaths: Components that died by themselves, in order.
        died: Resolves when the first of them has died.
        timeline: What happened to components, nodes and phases, in order.
    """

    def __init__(self, plan: Plan, layout: Layout, spawner: Spawner, timeout: float) -> None:
        self.plan = plan
        self.layout = layout
        self.spawner = spawner
        self.deadline = Deadline(timeout)
        self.namespaces = Namespaces(spawner, layout.run_dir, layout.logs)
        pki = layout.pki
        self.readiness = Readiness(
            self.namespaces,
            AdminApi(plan.server, str(pki / "ca.crt"), str(pki / "admin.crt"), str(pki / "admin.key")),
        )
        self.processes: dict[str, Process] = {}
        self.expected: set[str] = set()
        self.deaths: list[Death] = []
        self.timeline: list[Event] = []
        self.died: asyncio.Future[ComponentError] = asyncio.get_running_loop().create_future()
        self._held: dict[str, int] = {}
        self._made: dict[str, asyncio.Task[None]] = {}
        self._begun: dict[str, asyncio.Task[Process]] = {}
        self._ready: dict[str, asyncio.Event] = {component.name: asyncio.Event() for component in plan.components}

    def set_up(self) -> None:
        """Write the host's files and begin to make the namespaces, which components then wait for."""
        self.note("cluster", "begins")
        self.namespaces.write(HOST, self.plan.files)
        for plan in self.plan.namespaces:
            # Nodes hang on the fabric, which is first; among each other they are independent.
            before = [next(iter(self._made.values()))] if self._made else []
            self._made[plan.name] = asyncio.ensure_future(self._make(plan.name, before))

    async def _make(self, name: str, before: Sequence[asyncio.Task[None]]) -> None:
        for task in before:
            await asyncio.shield(task)
        plan = next(plan for plan in self.plan.namespaces if plan.name == name)
        await self.namespaces.create(plan)
        self.note(name, "set up")

    def note(self, name: str, what: str) -> float:
        """Put down on the timeline what just happened to a component, a node, a phase or the cluster.

        Returns:
            When that was, in seconds on the monotonic clock.
        """
        at = time.monotonic()
        self.timeline.append(Event(name, what, at))
        return at

    async def start(self, component: ComponentPlan, deadline: Deadline | None = None) -> None:
        """Start a component and return once it is ready.

        Args:
            component: What to start.
            deadline: When to give up; None is the boot's.

        Raises:
            ComponentError: It died, or was not ready in time; what is left of it was killed.
        """
        deadline = deadline or self.deadline
        self.note(component.name, "awaited")
        if component.name not in self._begun:
            self._begun[component.name] = asyncio.ensure_future(self._launch(component, deadline))
        launch = self._begun[component.name]
        try:
            process = await asyncio.shield(launch)
        finally:
            # A caller that gives up waiting leaves it to `close`.
            if launch.done():
                self._begun.pop(component.name, None)
        try:
            log_path = self.layout.log_of(component.name)
            await self.readiness.wait(component.name, component.ready, deadline, process=process, log=log_path)
            await self._run_after(component, deadline)
        except BaseException:
            self.expected.add(component.name)
            await self.spawner.end([process], STOP_TIMEOUT)
            raise
        self.note(component.name, "ready")
        self._ready[component.name].set()

    def begin(self, component: ComponentPlan) -> None:
        """Let a component start as soon as what it waits for is ready; `start` then waits for its readiness."""
        self._begun[component.name] = asyncio.ensure_future(self._begin_early(component))

    async def _begin_early(self, component: ComponentPlan) -> Process:
        others = [self._ready[other].wait() for other in component.waits_for or ()]
        if not component.held:
            await asyncio.gather(*others)
            return await self._launch(component, self.deadline)
        process = await self._spawn_within(component, held=True)
        waiting: asyncio.Future[Any] = asyncio.gather(*others)
        either: list[asyncio.Future[Any]] = [waiting, process.exited]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not process.alive:
            error = process.death("while it waited to begin")
            if not self.died.done():
                self.died.set_result(error)
            raise error
        await self._provide(component, self.deadline)
        self._let_go(component.name)
        return process

    async def _launch(self, component: ComponentPlan, deadline: Deadline) -> Process:
        # Once in a cluster's life: what tests did to them since is not undone by a restart.
        if component.name not in self.processes:
            await self._provide(component, deadline)
        return await self._spawn_within(component)

    async def _provide(self, component: ComponentPlan, deadline: Deadline) -> None:
        """Make what a component needs to be there when it begins."""
        for item in component.objects:
            await self.readiness.create(component.name, item, deadline)
        for copy in component.copies:
            try:
                await asyncio.to_thread(shutil.copytree, copy.source, copy.path)
            except OSError as error:
                raise ComponentError(component.name, f"{copy.source} could not be copied: {error}") from error

    async def _spawn_within(self, component: ComponentPlan, *, held: bool = False) -> Process:
        for name in (component.within, *component.requires):
            if name in self._made:
                await asyncio.shield(self._made[name])
        self.namespaces.write(component.within, component.files)
        return self.spawn(component, held=held)

    async def _run_after(self, component: ComponentPlan, deadline: Deadline) -> None:
        log_path = self.layout.log_of(component.name)
        for command in component.after:
            code = await self.spawner.run(
                component.name,
                command.argv,
                env=command.env,
                log=log_path,
                within=self.namespaces.entered(component.within),
                timeout=deadline.left,
            )
            if code != 0:
                reason = f"{' '.join(command.argv)} failed with exit code {code}"
                raise ComponentError(component.name, reason, log_tail=tail(log_path), log=str(log_path))

    def spawn(self, component: ComponentPlan, *, held: bool = False) -> Process:
        """Start the process of a component, and no more.

        Args:
            component: What to start.
            held: Whether it only loads until `_let_go`.
        """
        stdin, env = subprocess.DEVNULL, component.env
        if component.name not in self.processes:
            env = {**env, **component.first_env}
        if held:
            stdin, self._held[component.name] = os.pipe()
            env = {**env, HOLD_VARIABLE: "1"}
        try:
            process = self.spawner.spawn(
                component.name,
                component.argv,
                env=env,
                log=self.layout.log_of(component.name),
                within=self.namespaces.entered(component.within),
                stdin=stdin,
            )
        finally:
            if held:
                os.close(stdin)
        self.processes[component.name] = process
        self.expected.discard(component.name)
        self._ready[component.name].clear()
        process.exited.add_done_callback(lambda _: self._ended(process))
        self.note(component.name, "spawned")
        return process

    def _let_go(self, name: str) -> None:
        """Let a component begin that was held; the end of its input is the sign."""
        if name in self._held:
            os.close(self._held.pop(name))
            self.note(name, "let go")

    def _ended(self, process: Process) -> None:
        if process.name in self.expected or self.processes.get(process.name) is not process:
            return
        at = self.note(process.name, "died")
        if not self._ready[process.name].is_set():
            # The caller that waits for it to become ready, or comes to do so in a later phase, tells of that.
            return
        if not self.died.done():
            self.died.set_result(process.death("on its own, after it had been ready"))
        death = Death(process.name, at, str(process.death("on its own")))
        self.deaths.append(death)
        log(death.text.splitlines()[0])

    async def stop(self, names: Sequence[str]) -> list[str]:
        """Stop components, all at once; returns what went wrong, a line each."""
        self.expected.update(names)
        return await self.spawner.end([self.processes[name] for name in names], STOP_TIMEOUT)

    async def close(self) -> list[str]:
        """End everything that was started, and let go of the namespaces.

        Returns:
            What went wrong, a line each.
        """
        tasks = [*self._begun.values(), *self._made.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.expected.update(self.processes)
        problems = await self.spawner.end(self.spawner.everyone(), STOP_TIMEOUT)
        # Only now, so that nothing begins that was to wait.
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self.readiness.close()
        return problems + self.namespaces.close()
