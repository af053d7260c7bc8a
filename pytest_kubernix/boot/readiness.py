"""Waiting: until probes say yes, a process dies, or time is up; and until the API takes an object.
Everything that waits here waits on a condition, never on a length of time."""

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
from ..http_requests import AdminApi
from ..linux import processes
from ..logs import tail
from ..plan.model import ApiObject, Probe
from ..texts import shortened
from .namespaces import Namespaces
from .probes import ask
from .processes import Process

# Readiness is polled this often at first, and never less often than that: a boot lasts seconds.
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.02
PROBE_THREADS = 16
# What an error shows of an answer, in characters.
ANSWER_LENGTH = 500

T = TypeVar("T")


class Deadline:
    """A point in time that several waits share.

    Attributes:
        seconds: How far away it was in the beginning.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, at least a moment."""
        return max(0.1, self._at - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._at


class Readiness:
    """Asks probes and waits for their answers.

    Args:
        namespaces: Where probes are asked from.
        api: How to reach the API server.
    """

    def __init__(self, namespaces: Namespaces, api: AdminApi) -> None:
        self._namespaces = namespaces
        self._api = api
        self._last_answer: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(PROBE_THREADS, "probe")

    async def wait(
        self, name: str, probes: Sequence[Probe], deadline: Deadline, *, process: Process | None = None, log: Path
    ) -> None:
        """Wait until all probes say yes, the process dies, or time is up; whatever is first.

        Args:
            name: Whose readiness it is.
            probes: Asked one after the other.
            deadline: When to give up.
            process: What must not die meanwhile.
            log: Whose end is shown when it was in vain.

        Raises:
            ComponentError: It died, or the deadline passed; with what the last probe saw.
        """
        asking = asyncio.ensure_future(self._ask_all(name, probes))
        waiting: list[asyncio.Future[Any]] = [asking]
        if process:
            waiting.append(process.exited)
        try:
            await asyncio.wait(waiting, timeout=deadline.left, return_when=asyncio.FIRST_COMPLETED)
            if process and not process.alive:
                raise process.death("before it was ready")
            if not asking.done():
                seen = self._last_answer.get(name, "no probe was answered")
                if process and processes.is_stopped(process.pid):
                    seen = "its process is stopped"
                raise ComponentError(
                    name,
                    f"not ready within the boot's {deadline.seconds:g} s: {seen}",
                    log_tail=tail(log),
                    log=str(log) if log.exists() else "",
                )
            await asking
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    async def create(self, component: str, item: ApiObject, deadline: Deadline) -> None:
        """Create an object in the API; one that is there already is left alone.

        Raises:
            ComponentError: The API did not take it until the deadline.
        """
        pause = FIRST_PAUSE
        late = False
        while True:
            try:
                if late and await self._is_there(item):
                    return
                status, body = await self._in_thread(lambda: self._api.request("POST", item.path, item.body))
                if status in (201, 409):
                    return
                answer = f"HTTP {status}: {shortened(body.decode(errors='replace'), ANSWER_LENGTH)}"
            except (OSError, http.client.HTTPException) as error:
                answer = f"{type(error).__name__}: {error}"
            # It may have been done although there was no answer; asked again, it may then be refused for another
            # reason than that it is there (an address that is taken, by itself).
            late = True
            # A fresh API server takes a moment to make its own namespaces and roles.
            if deadline.over:
                raise ComponentError(component, f"its object {item.path} was not accepted: {answer}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _is_there(self, item: ApiObject) -> bool:
        path = f"{item.path}/{item.body['metadata']['name']}"
        status, _ = await self._in_thread(lambda: self._api.request("GET", path))
        return status == 200

    async def _ask_all(self, name: str, probes: Sequence[Probe]) -> None:
        for probe in probes:
            pause = FIRST_PAUSE
            while answer := await self._in_thread(lambda probe=probe: self._ask(probe)):  # type: ignore[misc]
                self._last_answer[name] = f"{probe}: {answer}"
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)

    def _ask(self, probe: Probe) -> str:
        def translate(path: str) -> str:
            return str(self._namespaces.path(probe.within, path))

        return self._namespaces.in_network(probe.within, lambda: ask(probe, self._api, translate))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        """Ask no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
