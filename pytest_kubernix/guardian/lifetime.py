"""How long a cluster stays: as long as somebody holds it, until it is ended when kept, for a while as a spare.
Holders share a lock, which the kernel drops however they die; who can't share it is watched by a pidfd."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ..linux.priority import Priority
from .rundir import HOLDERS_LOCK, SPARE, WATCH_SOCKET

# Between the taking of a spare and its being held; longer only if whoever took it died in between.
TAKING_SECONDS = 30.0


class Stay:
    """Says when it is time to end.

    Args:
        run_dir: The cluster's directory.
        watched: pidfds of processes that hold the cluster as long as they live.
        finish: Called, once or more, with the reason to end.
        priority: Of the cluster; low while it is a spare.
    """

    def __init__(
        self, run_dir: Path, watched: Sequence[int], finish: Callable[[str], None], priority: Priority
    ) -> None:
        self._run_dir = run_dir
        self._watched = set(watched)
        self._finish = finish
        self._priority = priority
        self._waiting = False
        self._lifetime: asyncio.TimerHandle | None = None
        self._listener: socket.socket | None = None
        self.kept = False

    @property
    def spare(self) -> bool:
        """Whether nobody has taken this cluster yet, which was booted for whoever asks next."""
        return self._lifetime is not None

    def begin(self) -> None:
        """Watch and wait from now on; needs a running loop."""
        loop = asyncio.get_running_loop()
        for descriptor in self._watched:
            # A pidfd is readable once its process is gone.
            loop.add_reader(descriptor, self._watched_one_is_gone, descriptor)
        if not self._watched:
            self._wait_for_holders()
        (self._run_dir / WATCH_SOCKET).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(self._run_dir / WATCH_SOCKET))
        self._listener.listen()
        loop.add_reader(self._listener, self._receive)

    def become_spare(self, identity: str, lifetime: float) -> None:
        """Stay without a holder for some seconds, at low priority until somebody takes it.

        Args:
            identity: What the cluster is; who wants the same may take it.
            lifetime: How long to wait for somebody, in seconds.
        """
        self._identity = identity
        self._priority.lower()
        self._lifetime = asyncio.get_running_loop().call_later(lifetime, self._expire)

    def offer(self) -> None:
        """The spare is up: let it be found."""
        scratch = self._run_dir / f"{SPARE}.new"
        scratch.write_text(self._identity)
        scratch.replace(self._run_dir / SPARE)

    def _expire(self) -> None:
        """End what nobody took. Whoever is taking it at this moment gets it."""
        try:
            # Either this finds the offer or their rename does.
            (self._run_dir / SPARE).unlink()
        except FileNotFoundError:
            loop = asyncio.get_running_loop()
            self._lifetime = loop.call_later(TAKING_SECONDS, self._finish, "nobody holds this spare")
        else:
            self._finish("nobody took this spare")

    def taken(self) -> None:
        """Somebody has taken the spare, and holds it as any other cluster."""
        if self._lifetime is None:
            return
        self._lifetime.cancel()
        self._lifetime = None
        if not self._waiting and not self._watched:
            self._wait_for_holders()
        self._priority.restore()

    def _watched_one_is_gone(self, descriptor: int) -> None:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._watched.discard(descriptor)
        if not self._watched and not self._waiting:
            self._wait_for_holders()

    def _receive(self) -> None:
        """Watch one more process, of which somebody sends us a pidfd: by number we could not find it."""
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
                descriptor = os.open(self._run_dir / HOLDERS_LOCK, os.O_RDWR | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                # Without the file nobody can hold, and nobody could ever be seen to leave.
                loop.call_soon_threadsafe(self._finish, f"its directory is gone: {error}")
                return
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._nobody_holds, descriptor)

        threading.Thread(target=wait, daemon=True).start()

    def _nobody_holds(self, descriptor: int) -> None:
        self._waiting = False
        if self.kept or self.spare or self._watched:
            # Somebody may come back to it, so the lock must be free.
            os.close(descriptor)
        else:
            self._finish("no holder is left")
