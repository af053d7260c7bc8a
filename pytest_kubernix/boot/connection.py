"""One conversation with a guardian: a line of JSON for each request, event and answer.
Blocking, with one deadline for a whole request."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ClusterGone
from . import wire

Message = dict[str, Any]
OnEvent = Callable[[Message], None]


def ignore(_: Message) -> None:
    """Listen to no event."""


class Connection:
    """A connection to the control socket of a cluster.

    Args:
        path: The socket.
        cluster_id: For errors.

    Raises:
        ClusterGone: Nobody listens there.
    """

    def __init__(self, path: Path, cluster_id: str) -> None:
        self._id = cluster_id
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ClusterGone(f"the guardian of cluster {cluster_id} does not listen: {error}") from None
        self._buffer = b""
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
            TimeoutError: There was no answer in time; the connection is of no use any more.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            try:
                self._socket.settimeout(timeout)
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                while line := self._line(deadline):
                    received = json.loads(line)
                    if "answer" in received:
                        return _judge(received["answer"])
                    if received.get("event") == "state":
                        self.last_state = received
                    on_event(received)
            except TimeoutError:
                raise
            except OSError:
                pass
        raise ClusterGone(f"the guardian of cluster {self._id} is gone")

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

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _judge(answer: Message) -> Message:
    if "error" in answer:
        raise wire.unpack(answer["error"])
    return answer
