"""The holder's side of a guardian: find or start one, keep a share of its lock, talk to it.
A holder that dies drops its share with it; a child that it forks never has one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from .. import engine as engines
from .. import locks
from ..engine import Engine
from ..errors import ClusterGone, KubernixError
from ..layout import Layout, default_root, how_to_remove
from ..logs import tail
from ..share import Share
from . import unresponsive
from .connection import Connection
from .protocol import Request, Stop
from .rundir import make_run_dir
from .sweep import clear, sweep, sweep_one

A = TypeVar("A")

# What Python runs for a guardian.
GUARDIAN = (
    "import json, sys; first, *last = json.loads(sys.argv.pop(1)); sys.path[:] = [first, *sys.path, *last]; "
    "from pytest_kubernix.guardian.server import main; main()"
)

# Starting a guardian takes a fraction of a second; a process that holds the lock for longer is stopped or stuck.
START_TIMEOUT = 30.0
# The end takes a fifth of a second. No test waits longer: the guardian goes on by itself.
END_TIMEOUT = 1.0
# A guardian answers within milliseconds; on a machine that swaps, within seconds.
ASK_TIMEOUT = 15.0


class Holder:
    """A share of a cluster's lock: the cluster lives as long as a process holds one.

    Args:
        layout: The cluster's directory.
        timeout: Limit in seconds for a cluster of that name that is just ending.

    Raises:
        FileNotFoundError: The directory is gone.
        TimeoutError: The one that is ending did not end.
    """

    def __init__(self, layout: Layout, timeout: float = START_TIMEOUT) -> None:
        self._descriptor = locks.opened(layout.holders_lock)
        _HOLDERS.add(self)
        if not locks.wait_for(self._descriptor, timeout, locks.SHARED):
            self.release()
            raise TimeoutError(f"the cluster in {layout.run_dir} has been ending for {timeout} s")

    def holds(self, layout: Layout) -> bool:
        """Whether what it holds is still the lock that others find in that directory."""
        try:
            there = layout.holders_lock.stat()
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
        layout: The cluster's directory.
        connection: The conversation with the guardian.
    """

    def __init__(self, layout: Layout, holder: Holder, connection: Connection) -> None:
        self.layout = layout
        self.connection = connection
        self._holder = holder
        # Opened now, because the path goes before the guardian does.
        self._life = locks.opened(layout.guardian_lock, create=False)

    @property
    def cluster_id(self) -> str:
        """The cluster's id."""
        return self.layout.cluster_id

    @classmethod
    def find_or_start(
        cls,
        engine: type[Engine],
        root: Path | None,
        share: Share,
        timeout: float = START_TIMEOUT,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> GuardianClient:
        """Hold a cluster: find its guardian, or start one.

        Args:
            engine: What runs the cluster.
            root: Directory that holds run directories; None is the default.
            share: How the cluster is shared.
            timeout: Limit in seconds for others that are starting it, or for one of that name that is just ending.
            meanwhile: Called while one starts; not when one was found.

        Raises:
            ConfigError: The directory can't be used.
            KubernixError: Another process is starting the guardian and doesn't get on; it is named.
        """
        sweep(root or default_root())
        while True:
            layout = Layout(make_run_dir(root, share.cluster_id(root)))
            try:
                holder = Holder(layout, timeout)
            except FileNotFoundError:
                continue
            except TimeoutError as error:
                raise KubernixError(str(error)) from None
            try:
                if not holder.holds(layout):
                    # The cluster of this name ended a moment ago, and took its directory along.
                    holder.release()
                    continue
                with _starting(layout, share, timeout):
                    if not holder.holds(layout):
                        holder.release()
                        continue
                    if (lock := _lock_without_guardian(layout)) is not None:
                        # Of one that was killed a moment ago, or has left what can't be removed.
                        try:
                            clear(layout)
                        except BaseException:
                            os.close(lock)
                            raise
                        _start(layout, engine, share.controller, lock, meanwhile)
                    elif not _listens(layout, timeout):
                        holder.release()
                        continue
                return cls(layout, holder, Connection(layout.control_socket, layout.cluster_id))
            except BaseException:
                holder.release()
                sweep_one(layout)
                raise

    @classmethod
    def join(cls, layout: Layout) -> GuardianClient:
        """Hold a cluster that runs already.

        Raises:
            ClusterGone: It does not run any more.
        """
        gone = ClusterGone(f"cluster {layout.cluster_id} is gone")
        try:
            holder = Holder(layout, timeout=END_TIMEOUT)
        except (FileNotFoundError, TimeoutError):
            raise gone from None
        try:
            return cls(layout, holder, Connection(layout.control_socket, layout.cluster_id))
        except OSError:
            holder.release()
            raise gone from None
        except BaseException:
            holder.release()
            raise

    def ask(self, request: Request[A], *, timeout: float | None = None) -> A:
        """Ask for something that takes no boot.

        Args:
            request: What to ask for.
            timeout: Limit in seconds; None is the one for what the guardian answers at once.

        Raises:
            ClusterGone: It does not run any more.
            KubernixError: It could not be done, or there was no answer; a guardian that is stopped is named.
        """
        timeout = ASK_TIMEOUT if timeout is None else timeout
        try:
            return self.connection.request(request, timeout=timeout)
        except TimeoutError:
            raise KubernixError(
                f"the guardian of cluster {self.cluster_id} did not answer within {timeout:g} s: "
                + unresponsive.describe(self.connection),
                hint=unresponsive.how_to_mend(self.layout),
            ) from None

    def leave(self) -> None:
        """Hold no longer; the cluster ends with its last holder. Leaving twice is no error."""
        # Of one that was killed, the last processes are dying.
        self._leave(waiting=self.connection.hung_up())

    def _leave(self, *, waiting: bool) -> None:
        self.connection.close()
        self._holder.release()
        if self._life < 0:
            return
        gone = locks.wait_for(self._life, END_TIMEOUT if waiting else 0)
        os.close(self._life)
        self._life = -1
        if gone:
            # A guardian that was killed could not remove its own directory.
            sweep_one(self.layout)

    def stop(self) -> None:
        """End the cluster, whatever other processes hold it, and return when nothing of it is left.

        After a second this returns all the same; the guardian goes on.
        """
        if self._life < 0:
            return
        with contextlib.suppress(ClusterGone, KubernixError, TimeoutError):
            self.connection.request(Stop(), timeout=END_TIMEOUT)
        self._leave(waiting=True)


def send_watched(layout: Layout, pidfd: int, timeout: float) -> None:
    """Make a guardian that runs already keep its cluster for one more process.

    Raises:
        OSError: The guardian does not answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(layout.watch_socket))
        socket.send_fds(connection, [b"1"], [pidfd])
        # Watched from here on, and not only some time later.
        if connection.recv(1) != b"1":
            raise ConnectionError("the guardian hung up")


@contextlib.contextmanager
def _starting(layout: Layout, share: Share, timeout: float) -> Iterator[None]:
    lock = FileLock(layout.start_lock, timeout=timeout)
    try:
        lock.acquire()
    except Timeout:
        starter = layout.starter
        name = starter.read_text(encoding="utf-8") if starter.exists() else "another process"
        raise KubernixError(
            f"waited {timeout:g} s for {name}, which is starting the guardian of this cluster and doesn't get on"
        ) from None
    try:
        layout.starter.write_text(share.who, encoding="utf-8")
        if share.name:
            layout.name.write_text(share.name, encoding="utf-8")
        yield
    finally:
        lock.release()


def _start(layout: Layout, engine: type[Engine], controller: int, lock: int, meanwhile: Callable[[], object]) -> None:
    """Start a guardian and return once it listens.

    It gets its lock from us, taken: a process that comes after our death must see that a guardian is on its way.
    """
    read = write = -1
    watched: list[int] = []
    recorded = engines.record(engine)
    try:
        layout.engine.write_text(recorded, encoding="utf-8")
        read, write = os.pipe()
        # A controller that is dead holds nothing; its workers, of which this is one, soon learn of it.
        with contextlib.suppress(ProcessLookupError):
            watched = [os.pidfd_open(controller)] if controller else []
        words = [_import_path(), str(layout.run_dir), recorded, *map(str, [lock, write, *watched])]
        with layout.guardian_log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", GUARDIAN, *words],
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
            raise KubernixError(f"the guardian did not start:\n{tail(layout.guardian_log)}")
    finally:
        for descriptor in (read, write, lock, *watched):
            if descriptor >= 0:
                os.close(descriptor)
    # Isolated, it goes on as a grandchild, and the child is over in a moment; otherwise it is ours until one of us
    # ends. Its exit code must be taken, whenever that is.
    threading.Thread(target=process.wait, name="guardian", daemon=True).start()


def _import_path() -> str:
    """Where a guardian finds this package, first, and what this process could import, last, as JSON.

    Isolated Python looks at no PYTHONPATH; dependencies, or another engine, may nevertheless be there and nowhere else.
    """
    package = Path(__file__).parent.parent.parent
    return json.dumps([str(package), *(path for path in sys.path if Path(path).is_absolute())])


def _lock_without_guardian(layout: Layout) -> int | None:
    """The lock of the guardian, taken, if there is none; the descriptor is the caller's."""
    descriptor = locks.opened(layout.guardian_lock)
    if locks.try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _listens(layout: Layout, timeout: float) -> bool:
    """Whether a guardian that is there answers: the process that started it may have died before it did."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            Connection(layout.control_socket, layout.cluster_id).close()
        except ClusterGone:
            lock = _lock_without_guardian(layout)
            if lock is not None:
                os.close(lock)
                return False
            time.sleep(locks.PAUSE)
        else:
            return True
    stopped = unresponsive.find_stopped(layout)
    why = f" (process {stopped}) is stopped, and" if stopped else ""
    raise KubernixError(
        f"the guardian of cluster {layout.cluster_id}{why} has not listened for {timeout:g} s",
        hint=f"Wait for its end, or end it: {how_to_remove(layout.cluster_id, layout.run_dir)}",
    )


_HOLDERS: weakref.WeakSet[Holder] = weakref.WeakSet()


def _release_in_child() -> None:
    for holder in list(_HOLDERS):
        holder.release()


# A child forked without exec shares the lock itself; it must not keep a cluster from ending.
os.register_at_fork(after_in_child=_release_in_child)
