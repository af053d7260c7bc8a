"""How long a cluster stays: as long as it has a holder, until it is ended when kept, for a while as a spare.
Holders share a lock, which the kernel drops however they die; a process that can't share it is watched by a pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence

from .. import locks
from ..layout import Layout

# Between the taking of a spare and its being held; it is longer only if the taker died in between.
TAKING_SECONDS = 30.0


class Lifetime:
    """Says when it is time to end.

    Args:
        layout: The cluster's directory.
        watched: pidfds of processes that hold the cluster as long as they live.
        finish: Called, once or more, with the reason to end.
    """

    def __init__(self, layout: Layout, watched: Sequence[int], finish: Callable[[str], None]) -> None:
        self._layout = layout
        self._watched = set(watched)
        self._finish = finish
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._identity = ""
        self._listener: socket.socket | None = None
        self.kept = False

    @property
    def spare(self) -> bool:
        """Whether this cluster waits for a holder that takes it."""
        return self._timer is not None

    def begin(self) -> None:
        """Watch and wait from now on; needs a running loop."""
        loop = asyncio.get_running_loop()
        for descriptor in self._watched:
            # A pidfd is readable once its process is gone.
            loop.add_reader(descriptor, self._watched_one_is_gone, descriptor)
        if not self._watched:
            self._wait_for_holders()
        path = self._layout.watch_socket
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen()
        loop.add_reader(self._listener, self._receive)

    def become_spare(self, identity: str, lifetime: float) -> None:
        """Stay without a holder for some seconds.

        Args:
            identity: What the cluster is; a process that wants the same may take it.
            lifetime: How long to wait for one, in seconds.
        """
        self._identity = identity
        self._timer = asyncio.get_running_loop().call_later(lifetime, self._expire)

    def offer(self) -> None:
        """The spare is up: let it be found."""
        scratch = self._layout.spare.with_suffix(".new")
        scratch.write_text(self._identity, encoding="utf-8")
        scratch.replace(self._layout.spare)

    def _expire(self) -> None:
        """End a spare that was not taken. A process that is taking it at this moment gets it."""
        try:
            # Either this finds the offer or their rename does.
            self._layout.spare.unlink()
        except FileNotFoundError:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(TAKING_SECONDS, self._finish, "this spare has no holder")
        else:
            self._finish("this spare was not taken")

    def taken(self) -> None:
        """A process has taken the spare, and holds it as any other cluster."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if not self._waiting and not self._watched:
            self._wait_for_holders()

    def _watched_one_is_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._watched.discard(descriptor)
        if not self._watched and not self._waiting:
            self._wait_for_holders()

    def _receive(self) -> None:
        """Watch one more process, by a pidfd that its worker sends: by number we could not find it."""
        assert self._listener
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(1)
                _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
                for descriptor in descriptors:
                    self._watched.add(descriptor)
                    asyncio.get_running_loop().add_reader(descriptor, self._watched_one_is_gone, descriptor)
                connection.send(b"1")

    def _wait_for_holders(self) -> None:
        """End once the holders' lock is free."""
        self._waiting = True
        loop = asyncio.get_running_loop()

        def wait() -> None:
            try:
                descriptor = locks.wait_until_unshared(self._layout.holders_lock)
            except OSError as error:
                # Without the file no process can hold, and none could ever be seen to leave.
                loop.call_soon_threadsafe(self._finish, f"its directory is gone: {error}")
                return
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._no_holder, descriptor)

        threading.Thread(target=wait, daemon=True).start()

    def _no_holder(self, descriptor: int) -> None:
        self._waiting = False
        if self.kept or self.spare or self._watched:
            # A holder may come back to it, so the lock must be free.
            os.close(descriptor)
        else:
            self._finish("no holder is left")
