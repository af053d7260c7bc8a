"""Where a cluster is on its way to its tests, and which of its holders plans, boots and prepares it (the booter).
The booter may die at any moment; then the next holder that asks goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..errors import KubernixError, unpack
from ..handle import ClusterHandle
from ..logs import log
from . import protocol
from .protocol import Attached, Message, PhaseChanged, Stage, StageChanged


class Caller:
    """One connection to the guardian.

    Attributes:
        who: The process at the other end, as it calls itself.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.who = "a process"
        self._writer = writer

    def send(self, line: bytes) -> None:
        """Send one line."""
        self._writer.write(line)

    def tell(self, event: Message) -> None:
        """Send an event."""
        self.send(protocol.event_line(event))


class ClusterState:
    """Stages: vacant → planning → booting → booted → ready, or failed from any of them.

    Attributes:
        stage: The current one.
    """

    def __init__(self) -> None:
        self.stage = Stage.VACANT
        self._booter: Caller | None = None
        self._callers: list[Caller] = []
        self._phases: list[PhaseChanged] = []
        self._handle: ClusterHandle | None = None
        self._error: Mapping[str, Any] = {}
        self._changed = asyncio.Event()

    def holders(self, *, but: Caller | None = None) -> tuple[str, ...]:
        """The processes that are attached, in the order of their coming; without one of them, if need be."""
        return tuple(caller.who for caller in self._callers if caller is not but)

    async def attach(self, caller: Caller) -> Attached:
        """Tell a caller all that happens until the cluster is ready, has failed, or needs a booter.

        Returns:
            The stage, with the handle when it is ready or booted.

        Raises:
            KubernixError: It has failed.
        """
        caller.tell(self._now())
        if caller not in self._callers:
            self._callers.append(caller)
            # A caller that comes before the cluster is ready hears all of its boot, after whose it is.
            for event in self._phases if self.stage != Stage.READY else []:
                caller.tell(event)
        while True:
            if self.stage == Stage.FAILED:
                raise unpack(self._error)
            if self.stage == Stage.READY:
                return Attached(Stage.READY, self._handle)
            if self.stage == Stage.BOOTED and self._booter in (None, caller):
                # What is left to do needs a test process: its plugins prepare the cluster.
                self._booter = caller
                return Attached(Stage.BOOTED, self._handle)
            if self.stage == Stage.VACANT:
                return Attached(Stage.VACANT)
            await self._changed.wait()
            caller.tell(self._now())

    def claim(self, caller: Caller) -> bool:
        """Make a caller the booter, which plans first; whether it is."""
        if self.stage != Stage.VACANT:
            return False
        self._booter = caller
        self._set(Stage.PLANNING)
        return True

    def boot(self, caller: Caller) -> None:
        """The plan is here."""
        self._booter = caller
        self._set(Stage.BOOTING)

    def booted(self, handle: ClusterHandle) -> None:
        """All components are ready; plugins may prepare the cluster."""
        self._handle = handle
        if self.stage != Stage.FAILED:
            self._set(Stage.BOOTED)

    def publish(self, caller: Caller) -> None:
        """The cluster is ready for tests.

        Raises:
            KubernixError: It is not the caller that boots it, or it is not booted.
        """
        if self.stage != Stage.BOOTED or self._booter is not caller:
            raise KubernixError(f"{caller.who} can't publish a cluster that is {self.stage}: {self._whose()}")
        self._booter = None
        self._set(Stage.READY)

    def give_up(self, caller: Caller, error: Mapping[str, Any]) -> None:
        """The booter could not go on, and no other will; one that only waits gives up for itself alone."""
        if self._booter is caller:
            self.fail(error)

    def fail(self, error: Mapping[str, Any]) -> None:
        """It will never be ready, and all callers are told why.

        Args:
            error: As `errors.pack` gives it.
        """
        if self.stage != Stage.READY:
            self._error = error
            self._booter = None
            self._set(Stage.FAILED)

    def hung_up(self, caller: Caller) -> None:
        """A caller is gone; if it was the booter, another one takes over."""
        if caller in self._callers:
            self._callers.remove(caller)
            log(f"{caller.who} is gone; {', '.join(self.holders()) or 'no holder'} left")
        if self._booter is caller:
            self._booter = None
            self._set(Stage.VACANT if self.stage == Stage.PLANNING else self.stage)

    def tell(self, event: PhaseChanged) -> None:
        """Send an event to all callers that are attached, now or later."""
        self._phases.append(event)
        for caller in self._callers:
            caller.tell(event)

    def forget_phases(self) -> None:
        """Tell later callers nothing of the boot."""
        self._phases.clear()

    def _set(self, stage: Stage) -> None:
        self.stage = stage
        self._changed.set()
        self._changed = asyncio.Event()

    def _whose(self) -> str:
        return f"{self._booter.who} is in charge of it" if self._booter else "no process is in charge of it"

    def _now(self) -> StageChanged:
        return StageChanged(self.stage, self._booter.who if self._booter else "")
