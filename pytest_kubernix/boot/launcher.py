"""Starts the components of one plan: namespaces, files, API objects, the process, its readiness.
Everything that waits here waits on a condition, until the boot's one deadline."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ComponentError
from ..plan.model import HOST, ApiObject, ComponentPlan, Plan, Probe
from .netns import Namespaces
from .probe import ApiClient, ask
from .process import Process, Spawner, tail

# Readiness is polled this often at first, and never less often than that: a boot lasts seconds.
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.05
STOP_TIMEOUT = 10.0
PROBE_THREADS = 16

T = TypeVar("T")


class PlanLauncher:
    """Starts and stops components of a plan; see `sequence.Launcher`.

    Attributes:
        processes: Component → its process.
        timeline: (component, what happened, seconds since the boot began), in order.
    """

    def __init__(self, plan: Plan, spawner: Spawner, timeout: float) -> None:
        self._plan = plan
        self._spawner = spawner
        self.run_dir = Path(plan.run_dir)
        self.logs = self.run_dir / "logs"
        self._begin = time.monotonic()
        self._timeout = timeout
        self.namespaces = Namespaces(spawner, self.run_dir, self.logs)
        self.processes: dict[str, Process] = {}
        self.timeline: list[tuple[str, str, float]] = []
        self._made: dict[str, asyncio.Task[None]] = {}
        self._last_answer: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(PROBE_THREADS, "probe")
        pki = self.run_dir / "pki"
        self.api = ApiClient(plan.server, str(pki / "ca.crt"), str(pki / "admin.crt"), str(pki / "admin.key"))

    def prepare(self) -> None:
        """Write the host's files and begin to make the namespaces, which components then wait for."""
        self.namespaces.write(HOST, self._plan.files)
        for plan in self._plan.namespaces:
            # Nodes hang on the fabric, which is first; among each other they are independent.
            before = [next(iter(self._made.values()))] if self._made else []
            self._made[plan.name] = asyncio.ensure_future(self._make(plan.name, before))

    async def _make(self, name: str, before: Sequence[asyncio.Task[None]]) -> None:
        for task in before:
            await asyncio.shield(task)
        plan = next(plan for plan in self._plan.namespaces if plan.name == name)
        await self.namespaces.create(plan)
        self._note(name, "set up")

    def _note(self, name: str, what: str) -> None:
        self.timeline.append((name, what, round(time.monotonic() - self._begin, 4)))

    def log_of(self, name: str) -> Path:
        """The file that has a component's output."""
        return self.logs / f"{name.replace('/', '-')}.log"

    async def start(self, component: ComponentPlan) -> None:
        """Start a component and return once it is ready.

        Raises:
            ComponentError: It died, or was not ready in time; what is left of it was killed.
        """
        for name in (component.within, *component.requires):
            if name in self._made:
                await asyncio.shield(self._made[name])
        for item in component.objects:
            await self._create_object(component.name, item)
        self.namespaces.write(component.within, component.files)
        process = self.spawn(component)
        try:
            await self.until_ready(component.name, component.ready, process)
            for command in component.after:
                code = await self._spawner.run(
                    component.name, command.argv, env=command.env, log=self.log_of(component.name),
                    within=self.namespaces.entered(component.within), timeout=self.remaining,
                )  # fmt: skip
                if code != 0:
                    log = self.log_of(component.name)
                    raise ComponentError(
                        component.name, f"{' '.join(command.argv)} failed with exit code {code}",
                        log_tail=tail(log), log=str(log),
                    )  # fmt: skip
        except BaseException:
            await self._spawner.end([process], STOP_TIMEOUT)
            raise
        self._note(component.name, "ready")

    def spawn(self, component: ComponentPlan) -> Process:
        """Start the process of a component, and no more."""
        process = self._spawner.spawn(
            component.name, component.argv, env=component.env, log=self.log_of(component.name),
            within=self.namespaces.entered(component.within),
        )  # fmt: skip
        self.processes[component.name] = process
        self._note(component.name, "spawned")
        return process

    @property
    def remaining(self) -> float:
        """Seconds until the boot's deadline, at least a moment."""
        return max(0.1, self._begin + self._timeout - time.monotonic())

    async def until_ready(self, name: str, probes: Sequence[Probe], process: Process | None = None) -> None:
        """Wait until all probes say yes, the process dies, or time is up; whatever is first."""
        asking = asyncio.ensure_future(self._ask_all(name, probes))
        waiting: list[asyncio.Future[Any]] = [asking]
        if process:
            waiting.append(process.exited)
        try:
            await asyncio.wait(waiting, timeout=self.remaining, return_when=asyncio.FIRST_COMPLETED)
            if process and not process.alive:
                raise process.died("before it was ready")
            if not asking.done():
                log = self.log_of(name)
                raise ComponentError(
                    name, f"not ready within the boot's {self._timeout:g} s: {self._last_answer.get(name, '')}",
                    log_tail=tail(log), log=str(log) if log.exists() else "",
                )  # fmt: skip
            await asking
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def _ask_all(self, name: str, probes: Sequence[Probe]) -> None:
        for probe in probes:
            pause = FIRST_PAUSE
            while answer := await self._in_thread(lambda probe=probe: self._ask(probe)):  # type: ignore[misc]
                self._last_answer[name] = f"{probe}: {answer}"
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _ask(self, probe: Probe) -> str:
        def translate(path: str) -> str:
            return str(self.namespaces.path(probe.within, path))

        return self.namespaces.in_network(probe.within, lambda: ask(probe, self.api, translate))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def _create_object(self, component: str, item: ApiObject) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                status, body = await self._in_thread(lambda: self.api.request("POST", item.path, item.body))
                if status in (201, 409):
                    return
                answer = f"HTTP {status}: {body[:500].decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                answer = f"{type(error).__name__}: {error}"
            # A fresh API server takes a moment to make its own namespaces and roles.
            if self.remaining <= 0.1:
                raise ComponentError(component, f"its object {item.path} was not accepted: {answer}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def stop(self, names: Sequence[str]) -> list[str]:
        """Stop components in the order given; returns what went wrong, a line each."""
        return await self._spawner.end([self.processes[name] for name in names], STOP_TIMEOUT)

    async def close(self) -> list[str]:
        """End everything that was started, and let go of the namespaces.

        Returns:
            What went wrong, a line each.
        """
        await _cancel(list(self._made.values()))
        problems = await self._spawner.end(self._spawner.everyone(), STOP_TIMEOUT)
        self._threads.shutdown(wait=False, cancel_futures=True)
        return problems + self.namespaces.close()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
