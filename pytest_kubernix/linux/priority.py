"""The priority of a whole cluster: low while a spare waits for a holder, what it was before once it has one.
A nice value counts within a session only where the kernel groups by session (autogroup), so both are set."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..logs import log
from . import calls as linux

# A spare boots while tests run, and must not take their time; but it should be there when they end. This is a third of
# the usual weight. With both of two cores busy a control plane boots in 5 s so, and in 16 s at 10; idle, in 2 s.
NICE = 5


class Priority:
    """The priority of the guardian and its children.

    Args:
        isolated: Whether this process is the first of a PID namespace, so that all it sees is its own.
    """

    def __init__(self, *, isolated: bool) -> None:
        # Who could not take it back does not lower it either.
        self._possible = isolated and linux.has_capability(linux.CAP_SYS_NICE)
        self._usual = self._low = 0

    def lower(self) -> None:
        """Be nice from now on, and so will be all that is started."""
        if self._possible:
            self._usual = os.getpriority(os.PRIO_PROCESS, 0)
            self._low = os.nice(NICE)
            self.apply(os.getpid())

    def apply(self, pid: int) -> None:
        """Be nice in a session of its own, too: a new one begins at the usual weight."""
        if self._low != self._usual:
            _set_session(pid, self._low)

    def restore(self) -> None:
        """Give everything its usual priority; again, until nothing new has slipped through. Never fails."""
        low, self._low = self._low, self._usual
        if low == self._usual:
            return
        slow = 1
        while slow:
            slow = 0
            for pid in _numbers(Path("/proc")):
                _set_session(pid, self._usual)
                for thread in _numbers(Path(f"/proc/{pid}/task")):
                    with contextlib.suppress(OSError):
                        if os.getpriority(os.PRIO_PROCESS, thread) == low:
                            os.setpriority(os.PRIO_PROCESS, thread, self._usual)
                            slow += 1
        log("taken: at full speed")


def _numbers(folder: Path) -> Iterator[int]:
    """The names in a directory that are numbers; it may go at any time."""
    with contextlib.suppress(OSError):
        yield from [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def _set_session(pid: int, nice: int) -> None:
    # Where the kernel does not group by session there is no such file.
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
