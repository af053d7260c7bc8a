"""One boot from the first file to the last probe: namespaces and files, phases, then the cluster as a whole.
What fails is told as one BootError, with the phase; a component that dies meanwhile ends it at once."""

from __future__ import annotations

import asyncio
from typing import Any

from ..errors import BootError, ComponentError
from ..plan.model import Plan
from .launcher import PlanLauncher
from .sequence import OnPhase, run_phases


async def run_plan(plan: Plan, launcher: PlanLauncher, on_phase: OnPhase) -> None:
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
