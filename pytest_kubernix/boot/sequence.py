"""The order of a boot: phases one after another, members of a phase side by side.
Knows what a starter of components is, not how one works, so it is tested without a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from ..errors import BootError, ComponentError, KubernixError
from ..plan.model import ComponentPlan, Phase


class Starter(Protocol):
    """Starts and stops single components."""

    def begin(self, component: ComponentPlan) -> None:
        """Let a component start as soon as what it waits for is ready; called before any `start`."""

    async def start(self, component: ComponentPlan) -> None:
        """Start a component and return once it is ready; raises ComponentError."""

    async def stop(self, names: Sequence[str]) -> list[str]:
        """Stop components, all at once; returns what went wrong, a line each."""


# After a first failure: long enough for what fails for the same reason, short for a reader of the report.
GRACE_SECONDS = 1.0

OnPhase = Callable[[Phase, int, float | None], None]


async def run_phases(
    phases: Sequence[tuple[Phase, Sequence[ComponentPlan]]],
    starter: Starter,
    on_phase: OnPhase = lambda phase, count, seconds: None,
) -> None:
    """Start all components, phase by phase.

    Args:
        phases: What `Plan.by_phase` gives.
        starter: Starts a component.
        on_phase: Called with a phase, its number of components, and None at its start or its seconds at its end.

    Raises:
        BootError: Components of a phase failed; it names each. The rest of that phase had a moment to
            fail or to succeed as well, later phases were not begun, and what had started was stopped.
    """
    started: list[str] = []
    for _, components in phases:
        for component in components:
            if component.waits_for is not None:
                starter.begin(component)
    for phase, components in phases:
        begin = time.monotonic()
        on_phase(phase, len(components), None)
        results = await _together([starter.start(component) for component in components])
        failures: list[KubernixError] = []
        unfinished: list[str] = []
        for component, result in zip(components, results, strict=True):
            if result is None:
                started.append(component.name)
            elif isinstance(result, asyncio.CancelledError):
                unfinished.append(component.name)
            elif isinstance(result, KubernixError):
                failures.append(result)
            elif isinstance(result, Exception):
                failures.append(ComponentError(component.name, f"{type(result).__name__}: {result}"))
            else:
                raise result
        if failures:
            remarks = [f"not ready by then either: {', '.join(unfinished)}"] if unfinished else []
            raise BootError(phase.title, failures, remarks=[*remarks, *await starter.stop(started)])
        on_phase(phase, len(components), time.monotonic() - begin)


async def _together(starts: Sequence[Coroutine[None, None, None]]) -> list[BaseException | None]:
    """Run all to their end, or until a moment after the first failure. Returns each one's error, or None."""
    tasks = [asyncio.ensure_future(start) for start in starts]
    try:
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=GRACE_SECONDS)
    finally:
        # Also when the whole boot is cancelled: nothing goes on behind its back.
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return list(results)
