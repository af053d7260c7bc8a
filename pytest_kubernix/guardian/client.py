"""The holder's side of a guardian: find or start one, keep a share of its lock, talk to it.
A holder that dies drops its share with it; a child that it forks never has one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ClusterGone, KubernixError
from ..layout import default_root, how_to_remove
from ..logs import tail
from .connection import Connection
from .locks import PAUSE, try_lock, wait_for
from .rundir import (
    CONTROL_SOCKET,
    GUARDIAN_LOCK,
    GUARDIAN_LOG,
    HOLDERS_LOCK,
    NAME,
    START_LOCK,
    STARTER,
    WATCH_SOCKET,
    make_run_dir,
)
from .sweep import clear, sweep, sweep_one
from .unresponsive import find_stopped

# Starting a guardian takes a fraction of a second; whoever holds the lock for longer is stopped or stuck.
START_TIMEOUT = 30.0
# The end takes a fifth of a second. Nobody's tests wait longer: the guardian goes on by itself.
END_TIMEOUT = 1.0


@dataclass(frozen=True)
class Meeting:
    """Where processes that share a cluster meet.

    Attributes:
        cluster_id: The id that all of them arrive at, or "" for a new cluster of this process alone.
        who: This process as others are told of it.
        controller: PID of a process that the cluster lasts for as well, or 0.
        name: Name that the cluster is kept under, or "".
    """

    cluster_id: str = ""
    who: str = ""
    controller: int = 0
    name: str = ""


class Holder:
    """A share of a cluster's lock: the cluster lives as long as somebody holds one.

    Args:
        run_dir: The cluster's directory.
        timeout: Limit in seconds for a cluster of that name that is just ending.

    Raises:
        FileNotFoundError: The directory is gone.
        TimeoutError: The one that is ending did not end.
    """

    def __init__(self, run_dir: Path, timeout: float = START_TIMEOUT) -> None:
        self._descriptor = os.open(run_dir / HOLDERS_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A child forked without exec shares the lock itself; it must not keep a cluster from ending.
        os.register_at_fork(after_in_child=self.release)
        if not wait_for(self._descriptor, timeout, fcntl.LOCK_SH):
            self.release()
            raise TimeoutError(f"the cluster in {run_dir} has been ending for {timeout} s")

    def holds(self, run_dir: Path) -> bool:
        """Whether what it holds is still the lock that others find in that directory."""
        try:
            there = (run_dir / HOLDERS_LOCK).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def release(self) -> None:
        """Hold no longer."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


class GuardianClient:
    """A guardian, as one of its holders sees it.

    Attributes:
        cluster_id: The cluster's short name.
        run_dir: Its directory.
        connection: The conversation with the guardian.
    """

    def __init__(self, run_dir: Path, holder: Holder, connection: Connection) -> None:
        self.cluster_id = run_dir.name
        self.run_dir = run_dir
        self.connection = connection
        self._holder = holder
        # Opened now, because the path goes before the guardian does.
        self._life = os.open(run_dir / GUARDIAN_LOCK, os.O_RDWR | os.O_CLOEXEC)

    @classmethod
    def meet(
        cls,
        root: Path | None,
        meeting: Meeting,
        timeout: float = START_TIMEOUT,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> GuardianClient:
        """Find the guardian of a shared cluster, or start one.

        Args:
            root: Directory that holds run directories; None is the default.
            meeting: Who meets there.
            timeout: Limit in seconds for others that are starting it, or for one of that name that is just ending.
            meanwhile: Called while one starts; not when one was found.

        Raises:
            ConfigError: The directory can't be used.
            KubernixError: Somebody else is starting the guardian and doesn't get on; it is named.
        """
        sweep(root or default_root())
        while True:
            run_dir = make_run_dir(root, meeting.cluster_id)
            try:
                holder = Holder(run_dir, timeout)
            except FileNotFoundError:
                continue
            except TimeoutError as error:
                raise KubernixError(str(error)) from None
            try:
                if not holder.holds(run_dir):
                    # The cluster of this name ended a moment ago, and took its directory along.
                    holder.release()
                    continue
                with _starting(run_dir, meeting, timeout):
                    if not holder.holds(run_dir):
                        holder.release()
                        continue
                    if (lock := _lock_of_none(run_dir)) is not None:
                        # Of one that was killed a moment ago, or has left a cgroup that can't be removed.
                        clear(run_dir)
                        _start(run_dir, meeting, lock, meanwhile)
                    elif not _listens(run_dir, timeout):
                        holder.release()
                        continue
                return cls(run_dir, holder, Connection(run_dir / CONTROL_SOCKET, run_dir.name))
            except BaseException:
                holder.release()
                sweep_one(run_dir)
                raise

    @classmethod
    def join(cls, run_dir: Path) -> GuardianClient:
        """Hold a cluster that runs already.

        Raises:
            ClusterGone: It does not run any more.
        """
        try:
            holder = Holder(run_dir, timeout=END_TIMEOUT)
        except (FileNotFoundError, TimeoutError):
            raise ClusterGone(f"cluster {run_dir.name} is gone") from None
        try:
            return cls(run_dir, holder, Connection(run_dir / CONTROL_SOCKET, run_dir.name))
        except OSError:
            holder.release()
            raise ClusterGone(f"cluster {run_dir.name} is gone") from None
        except BaseException:
            holder.release()
            raise

    def leave(self) -> None:
        """Hold no longer; the cluster ends once nobody does. Leaving twice is no error."""
        # Of one that was killed, the last processes are dying.
        self._leave(waiting=self.connection.hung_up())

    def _leave(self, *, waiting: bool) -> None:
        self.connection.close()
        self._holder.release()
        if self._life < 0:
            return
        gone = wait_for(self._life, END_TIMEOUT if waiting else 0)
        os.close(self._life)
        self._life = -1
        if gone:
            # A guardian that was killed could not remove its own directory.
            sweep_one(self.run_dir)

    def stop(self) -> None:
        """End the cluster, whoever else holds it, and return when nothing of it is left.

        After a second this returns all the same; the guardian goes on.
        """
        if self._life < 0:
            return
        with contextlib.suppress(ClusterGone, KubernixError, TimeoutError):
            self.connection.request({"op": "stop"}, timeout=END_TIMEOUT)
        self._leave(waiting=True)


def send_watched(run_dir: Path, pidfd: int, timeout: float) -> None:
    """Make a guardian that runs already keep its cluster for one more process.

    Raises:
        OSError: The guardian does not answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(run_dir / WATCH_SOCKET))
        socket.send_fds(connection, [b"1"], [pidfd])
        # Watched from here on, and not only some time later.
        if connection.recv(1) != b"1":
            raise ConnectionError("the guardian hung up")


@contextlib.contextmanager
def _starting(run_dir: Path, meeting: Meeting, timeout: float) -> Iterator[None]:
    lock = FileLock(run_dir / START_LOCK, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        starter = run_dir / STARTER
        name = starter.read_text() if starter.exists() else "another process"
        raise KubernixError(
            f"waited {timeout:g} s for {name}, which is starting the guardian of this cluster and doesn't get on"
        ) from None
    try:
        (run_dir / STARTER).write_text(meeting.who)
        if meeting.name:
            (run_dir / NAME).write_text(meeting.name)
        yield
    finally:
        lock.release()


def _start(run_dir: Path, meeting: Meeting, lock: int, meanwhile: Callable[[], object]) -> None:
    """Start a guardian and return once it listens.

    It gets its lock from us, taken: who comes after our death must see that a guardian is on its way.
    """
    read = write = -1
    watched: list[int] = []
    package = Path(__file__).parent.parent.parent
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pytest_kubernix.guardian.server import main; main()"
    try:
        read, write = os.pipe()
        # A controller that is dead holds nothing; its workers, of which this is one, soon learn of it.
        with contextlib.suppress(ProcessLookupError):
            watched = [os.pidfd_open(meeting.controller)] if meeting.controller else []
        with (run_dir / GUARDIAN_LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", start, str(package), str(run_dir), *map(str, [lock, write, *watched])],
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                cwd="/",
                pass_fds=[lock, write, *watched],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for descriptor in (write, lock):
            os.close(descriptor)
        write = lock = -1
        meanwhile()
        if not os.read(read, 1):
            raise KubernixError(f"the guardian did not start:\n{tail(run_dir / GUARDIAN_LOG)}")
    finally:
        for descriptor in (read, write, lock, *watched):
            if descriptor >= 0:
                os.close(descriptor)
    # Isolated, it goes on as a grandchild, and the child is over in a moment; otherwise it is ours until one of us
    # ends. Somebody has to take its exit code, whenever that is.
    threading.Thread(target=process.wait, name="guardian", daemon=True).start()


def _lock_of_none(run_dir: Path) -> int | None:
    """The lock of the guardian, taken, if there is none; the descriptor is the caller's."""
    descriptor = os.open(run_dir / GUARDIAN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _listens(run_dir: Path, timeout: float) -> bool:
    """Whether a guardian that is there answers: whoever started it may have died before it did."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            Connection(run_dir / CONTROL_SOCKET, run_dir.name).close()
        except ClusterGone:
            lock = _lock_of_none(run_dir)
            if lock is not None:
                os.close(lock)
                return False
            time.sleep(PAUSE)
        else:
            return True
    stopped = find_stopped(run_dir)
    why = f" (process {stopped}) is stopped, and" if stopped else ""
    raise KubernixError(
        f"the guardian of cluster {run_dir.name}{why} has not listened for {timeout:g} s",
        hint=f"Wait for its end, or end it: {how_to_remove(run_dir.name, run_dir)}",
    )
