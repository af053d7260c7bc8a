"""One conversation with a guardian, for all threads of a process: each waits for its own answer, and no longer than it
said. A thread of the connection reads, and hands each answer to the request that has its number."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import ClusterGone, KubernixError
from . import protocol
from .protocol import Message, Request, StageChanged

A = TypeVar("A")

OnEvent = Callable[[Message], None]

# A socket's limit of 0 would not mean "at once" but "wait for ever".
SHORTEST = 0.001
CONNECT_TIMEOUT = 30.0


class Connection:
    """A connection to the control socket of a cluster. Any thread may use it.

    Args:
        path: The socket.
        cluster_id: For errors.
        timeout: Limit in seconds for being let in: a guardian that is stopped lets in no more than a queue's length.

    Attributes:
        guardian: PID of the process that listens there; 0 if it is in a PID namespace that can't be seen from here.
        stage: The last that the guardian said of its cluster; for errors that explain what was waited for.

    Raises:
        ClusterGone: No guardian listens there.
        KubernixError: The queue is full.
    """

    def __init__(self, path: Path, cluster_id: str, timeout: float = CONNECT_TIMEOUT) -> None:
        self.cluster_id = cluster_id
        self.stage: StageChanged | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Only a blocking socket waits in the queue, and this is its limit there.
            self._limit_sending(timeout)
            self._socket.connect(str(path))
            peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.guardian: int = struct.unpack("3i", peer)[0]
        except BlockingIOError:
            self._socket.close()
            raise KubernixError(f"the guardian of cluster {cluster_id} has let none in for {timeout:g} s") from None
        except OSError as error:
            self._socket.close()
            raise ClusterGone(f"the guardian of cluster {cluster_id} does not listen: {error}") from None
        self._sending = threading.Lock()
        # Guards what follows: which requests are under way, and who reads for them.
        self._lock = threading.Lock()
        self._number = 0
        self._pending: dict[int, _Pending] = {}
        self._reader: threading.Thread | None = None
        self._gone = False
        _OPEN.add(self)

    def request(self, request: Request[A], *, on_event: OnEvent | None = None, timeout: float | None = None) -> A:
        """Ask for something and wait for the answer.

        Args:
            request: What to ask for.
            on_event: Called by this thread with every event that comes before the answer.
            timeout: Limit for the whole, in seconds; None is no limit.

        Raises:
            KubernixError: The guardian's own error, as it was raised there.
            ClusterGone: The guardian is gone.
            TimeoutError: There was no answer in time. What was asked for may still be done.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pending = _Pending(hears=on_event is not None)
        number = self._begin(pending)
        try:
            self._send(protocol.request_line(number, request), deadline)
            while line := pending.next(deadline):
                if line.number:
                    return protocol.answer_of(request, line)
                if on_event:
                    on_event(protocol.event_of(line))
        finally:
            with self._lock:
                self._pending.pop(number, None)
        raise self._is_gone()

    def _begin(self, pending: _Pending) -> int:
        with self._lock:
            if self._gone:
                raise self._is_gone()
            self._number += 1
            self._pending[self._number] = pending
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name=f"guardian {self.cluster_id}", daemon=True)
                self._reader.start()
            return self._number

    def _send(self, line: bytes, deadline: float | None) -> None:
        left = -1 if deadline is None else max(deadline - time.monotonic(), 0)
        if not self._sending.acquire(timeout=left):
            raise TimeoutError
        try:
            self._limit_sending(0 if deadline is None else max(deadline - time.monotonic(), SHORTEST))
            self._socket.sendall(line)
        except BlockingIOError:
            # Half a line would spoil the next one.
            self.close()
            raise TimeoutError from None
        except OSError:
            raise self._is_gone() from None
        except BaseException:
            self.close()
            raise
        finally:
            self._sending.release()

    def _limit_sending(self, seconds: float) -> None:
        """For one call of the kernel; 0 is no limit. Python's own limit would be one for the reading thread as well."""
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def _read(self) -> None:
        buffer = b""
        try:
            while data := self._socket.recv(1 << 16):
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._hand_on(protocol.parse(line))
        except OSError:
            pass
        finally:
            with self._lock:
                self._gone = True
                for pending in self._pending.values():
                    pending.put(None)

    def _hand_on(self, line: protocol.Line) -> None:
        with self._lock:
            if line.number:
                # A request that gave up waiting is not there any more.
                if pending := self._pending.get(line.number):
                    pending.put(line)
                return
            event = protocol.event_of(line)
            if isinstance(event, StageChanged):
                self.stage = event
            for pending in self._pending.values():
                if pending.hears:
                    pending.put(line)

    def _is_gone(self) -> ClusterGone:
        return ClusterGone(f"the guardian of cluster {self.cluster_id} is gone")

    def hung_up(self) -> bool:
        """Whether the guardian's end is closed, as the kernel closes it when it is dead."""
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up; requests that are under way end with ClusterGone."""
        with contextlib.suppress(OSError):
            # Wakes the reading thread, which a mere close would not.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close_in_child(self) -> None:
        """Close this process's descriptor alone, after a fork: the conversation is the parent's."""
        self._socket.close()


class _Pending:
    """A request that waits for its answer.

    Attributes:
        hears: Whether it wants to hear events.
    """

    def __init__(self, *, hears: bool) -> None:
        self.hears = hears
        self._lines: queue.SimpleQueue[protocol.Line | None] = queue.SimpleQueue()
        self.put = self._lines.put

    def next(self, deadline: float | None) -> protocol.Line | None:
        """The next line for it; None when there will be none.

        Raises:
            TimeoutError: The deadline has passed.
        """
        try:
            return self._lines.get(timeout=None if deadline is None else max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise TimeoutError from None


_OPEN: weakref.WeakSet[Connection] = weakref.WeakSet()


def _close_in_child() -> None:
    for connection in list(_OPEN):
        connection.close_in_child()


# A forked child must not answer for, or hang up on, the conversation of its parent.
os.register_at_fork(after_in_child=_close_in_child)
