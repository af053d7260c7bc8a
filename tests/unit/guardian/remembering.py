"""An engine that runs nothing: it remembers what it was told. Shows that a guardian keeps what any engine runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytest_kubernix.engine import Command, CommandResult, Engine, EngineStatus, Progress
from pytest_kubernix.errors import BootError, ComponentError, KubernixError
from pytest_kubernix.handle import Action, ComponentState
from pytest_kubernix.layout import Layout


class Remembering(Engine):
    """One component, "thing"; killing it takes as long as the file "slow" is there."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._components: dict[str, ComponentState] = {}

    async def boot(
        self, spec: Mapping[str, Any], *, timeout: float, tell: Callable[[Progress], None]
    ) -> Mapping[str, float]:
        tell(Progress("Only", 1))
        if "fails" in spec:
            raise BootError("Only", [ComponentError("thing", spec["fails"], log_tail="last words", log="/l")])
        self._components["thing"] = ComponentState.RUNNING
        tell(Progress("Only", 1, 0.5))
        return {"Only": 0.5}

    async def status(self) -> EngineStatus:
        return EngineStatus(self._components)

    async def control(self, name: str, action: Action) -> float:
        if name not in self._components:
            raise KubernixError(f"no {name}", hint="there is thing")
        while (self.layout.run_dir / "slow").exists():
            await asyncio.sleep(0.01)
        self._components[name] = ComponentState.DEAD if action == Action.KILL else ComponentState.RUNNING
        return time.monotonic()

    async def run(self, command: Command) -> CommandResult:
        return CommandResult(0, " ".join(command.argv), "")

    async def close(self) -> list[str]:
        self._components.clear()
        return []

    @classmethod
    def remove_remains(cls, layout: Layout) -> list[str]:
        (layout.run_dir.parent / "removed").write_text(layout.cluster_id)
        return []
