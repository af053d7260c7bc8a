"""One conversation with a guardian: a line of JSON for each request, event and answer.
Blocking, with one deadline for a request; numbered, so that a late answer is never taken for another's."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ClusterGone, KubernixError
from . import protocol as wire

Message = dict[str, Any]
OnEvent = Callable[[Message], None]

# A socket's limit of 0 would not mean "at once" but "never wait".
SHORTEST = 0.001
CONNECT_TIMEOUT = 30.0


def ignore(_: Message) -> None:
    """Listen to no event."""


class Connection:
    """A connection to the control socket of a cluster.

    Args:
        path: The socket.
        cluster_id: For errors.
        timeout: Limit in seconds for being let in: one that is stopped lets in no more than a queue's length.

    Attributes:
        guardian: PID of who listens there; 0 if it is in a PID namespace that can't be seen from here.

    Raises:
        ClusterGone: Nobody listens there.
        KubernixError: The queue is full.
    """

    def __init__(self, path: Path, cluster_id: str, timeout: float = CONNECT_TIMEOUT) -> None:
        self.cluster_id = cluster_id
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Only a blocking socket waits in the queue, and this is its limit there.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout))
            self._socket.connect(str(path))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(0))
            peer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.guardian: int = struct.unpack("3i", peer)[0]
        except BlockingIOError:
            self._socket.close()
            raise KubernixError(f"the guardian of cluster {cluster_id} has let nobody in for {timeout:g} s") from None
        except OSError as error:
            self._socket.close()
            raise ClusterGone(f"the guardian of cluster {cluster_id} does not listen: {error}") from None
        self._buffer = b""
        self._number = 0
        self._lock = threading.Lock()
        # What the guardian last said of its state; for who has to explain what it waited for.
        self.last_state: Message = {}
        # A forked child must not answer for, or hang up on, the conversation of its parent.
        os.register_at_fork(after_in_child=self._socket.close)

    def request(self, message: Message, *, on_event: OnEvent = ignore, timeout: float | None = None) -> Message:
        """Ask for something and wait for the answer.

        Args:
            message: The operation, under "op", and what it needs.
            on_event: Called with every event that comes before the answer.
            timeout: Limit for the whole, in seconds; None is no limit.

        Raises:
            KubernixError: The guardian's own error, as it was raised there.
            ClusterGone: The guardian is gone.
            TimeoutError: There was no answer in time. What was asked for may still be done.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        # Another thread's request may be as slow as the guardian is.
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError
        try:
            self._number += 1
            with self._talking():
                self._send(json.dumps({**message, "number": self._number}).encode() + b"\n", deadline)
            # A guardian of an older version, whose cluster still runs, numbers nothing.
            while line := self._next_line(deadline):
                received = json.loads(line)
                if "answer" not in received:
                    if received.get("event") == "state":
                        self.last_state = received
                    on_event(received)
                elif received.get("number", self._number) == self._number:
                    return _judge(received["answer"])
        finally:
            self._lock.release()
        raise ClusterGone(f"the guardian of cluster {self.cluster_id} is gone")

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Around what the guardian's end may break; an error of a callback is another matter."""
        try:
            yield
        except TimeoutError:
            raise
        except OSError:
            raise ClusterGone(f"the guardian of cluster {self.cluster_id} is gone") from None

    def _next_line(self, deadline: float | None) -> bytes:
        with self._talking():
            return self._line(deadline)

    def _send(self, line: bytes, deadline: float | None) -> None:
        self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), SHORTEST))
        try:
            self._socket.sendall(line)
        except BaseException:
            # Half a line would spoil the next one.
            self._socket.close()
            raise

    def _line(self, deadline: float | None) -> bytes:
        while b"\n" not in self._buffer:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            data = self._socket.recv(1 << 16)
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def hung_up(self) -> bool:
        """Whether the guardian's end is closed, as the kernel closes it when it is dead."""
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _judge(answer: Message) -> Message:
    if "error" in answer:
        raise wire.unpack(answer["error"])
    return answer


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
