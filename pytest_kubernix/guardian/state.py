"""The life of one cluster as its holders see it, and which of them is in charge of getting it ready.
Whoever is in charge may die at any moment; then the next who asks takes over where it was left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ..logs import log

Message = dict[str, Any]

VACANT = "vacant"
PLANNING = "planning"
BOOTING = "booting"
BOOTED = "booted"
READY = "ready"
FAILED = "failed"


class Caller:
    """One connection to the guardian.

    Attributes:
        who: Who is at the other end, as it says itself.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.who = "somebody"
        self._writer = writer

    def send(self, message: Message) -> None:
        """Send one line."""
        self._writer.write(json.dumps(message).encode() + b"\n")


class Life:
    """States: vacant → planning → booting → booted → ready, or failed from any of them.

    Attributes:
        state: The current one.
    """

    def __init__(self) -> None:
        self.state = VACANT
        self._charge: Caller | None = None
        self._callers: list[Caller] = []
        self._phases: list[Message] = []
        self._handle: Message = {}
        self._error: Message = {}
        self._changed = asyncio.Event()

    def holders(self, *, but: Caller | None = None) -> list[str]:
        """Who is attached, in the order of their coming; all but one."""
        return [caller.who for caller in self._callers if caller is not but]

    async def attach(self, caller: Caller) -> Message:
        """Tell a caller everything until the cluster is ready, has failed, or wants somebody in charge.

        Returns:
            The state, with "handle" when ready or booted; a failure is under "error".
        """
        if caller not in self._callers:
            self._callers.append(caller)
            # Who comes during the boot learns whose it is, and sees all of it; who comes later, none.
            caller.send(self._said())
            for event in self._phases if self.state != READY else []:
                caller.send(event)
        while True:
            caller.send(self._said())
            if self.state == FAILED:
                return {"error": self._error}
            if self.state == READY:
                return {"state": READY, "handle": self._handle}
            if self.state == BOOTED and self._charge in (None, caller):
                # What is left to do needs the test process: its plugins prepare the cluster.
                self._charge = caller
                return {"state": BOOTED, "handle": self._handle}
            if self.state == VACANT:
                return {"state": VACANT}
            await self._changed.wait()

    def take_charge(self, caller: Caller) -> bool:
        """Let a caller plan the cluster; whether it may."""
        if self.state != VACANT:
            return False
        self._charge = caller
        self._set(PLANNING)
        return True

    def begin(self, caller: Caller) -> None:
        """The plan is here."""
        self._charge = caller
        self._set(BOOTING)

    def booted(self, handle: Message) -> None:
        """All components are ready; plugins may prepare the cluster."""
        self._handle = handle
        self._set(BOOTED)

    def publish(self, caller: Caller) -> None:
        """The cluster is ready for tests."""
        if self.state == BOOTED and self._charge is caller:
            self._charge = None
            self._set(READY)

    def fail(self, error: Message) -> None:
        """It will never be ready, and everybody is to learn why."""
        if self.state != READY:
            self._error = error
            self._charge = None
            self._set(FAILED)

    def hung_up(self, caller: Caller) -> None:
        """A caller is gone; if it was in charge, somebody else must be."""
        if caller in self._callers:
            self._callers.remove(caller)
            log(f"{caller.who} is gone; {', '.join(self.holders()) or 'nobody'} left")
        if self._charge is caller:
            self._charge = None
            self._set(VACANT if self.state == PLANNING else self.state)

    def tell(self, event: Message) -> None:
        """Send an event to everybody who is attached, now or later."""
        self._phases.append(event)
        self._to_all(event)

    def forget_phases(self) -> None:
        """Tell who comes later nothing of the boot."""
        self._phases.clear()

    def _set(self, state: str) -> None:
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _said(self) -> Message:
        return {"event": "state", "state": self.state, "charge": self._charge.who if self._charge else ""}

    def _to_all(self, event: Message) -> None:
        for caller in self._callers:
            caller.send(event)
