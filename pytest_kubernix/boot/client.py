"""The holder's side of a guardian: start one, keep a share of its lock, talk to it.
A holder that dies drops its share with it; a child that it forks never has one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BootError, ClusterGone, ConfigError, KubernixError
from .claims import default_root, make_run_dir
from .process import tail
from .sweep import HOLDERS_LOCK, sweep, sweep_one

GUARDIAN_LOG = "guardian.log"
END_TIMEOUT = 20.0

Message = dict[str, Any]


class Holder:
    """A share of a cluster's lock: the cluster lives as long as somebody holds one.

    Args:
        run_dir: The cluster's directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._descriptor = os.open(run_dir / HOLDERS_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        # A child forked without exec shares the lock itself; it must not keep a cluster from ending.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Hold no longer."""
        self._forget()


class GuardianClient:
    """A guardian that this process started, and holds.

    Args:
        root: Directory that holds run directories; None is the default.

    Raises:
        ConfigError: The directory can't be used.
    """

    def __init__(self, root: Path | None) -> None:
        sweep(root or default_root())
        self.cluster_id, self.run_dir, self._holder = _begin(root)
        try:
            ours, theirs = socket.socketpair()
            with theirs, (self.run_dir / GUARDIAN_LOG).open("wb") as log:
                package = Path(__file__).parent.parent.parent
                start = (
                    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
                    "from pytest_kubernix.boot.guardian import main; main()"
                )
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", start, str(package), str(self.run_dir), str(theirs.fileno())],
                    env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except BaseException:
            self._holder.release()
            sweep_one(self.run_dir)
            raise
        os.register_at_fork(after_in_child=ours.close)
        self._socket = ours
        self._stream = ours.makefile("rb")
        self._lock = threading.Lock()

    def request(self, message: Message, on_event: Callable[[Message], None] = lambda event: None) -> Message:
        """Ask the guardian for something and wait for its answer.

        Args:
            message: The operation, under "op", and what it needs.
            on_event: Called with every event that comes before the answer.

        Raises:
            ConfigError, BootError, KubernixError: The guardian's own errors.
            ClusterGone: It is not there any more.
        """
        with self._lock:
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                while line := self._stream.readline():
                    received = json.loads(line)
                    if "answer" in received:
                        return _unpack(received["answer"])
                    on_event(received)
            except OSError:
                pass
        raise ClusterGone(
            f"the guardian of cluster {self.cluster_id} is gone\n{tail(self.run_dir / GUARDIAN_LOG)}".rstrip()
        )

    def stop(self) -> None:
        """End the cluster, and return when nothing of it is left. Stopping twice is no error."""
        with contextlib.suppress(ClusterGone, KubernixError):
            self.request({"op": "stop"})
        self._holder.release()
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        self._socket.settimeout(END_TIMEOUT)
        # The guardian's end of the connection closes with its life, after everything else is gone.
        with contextlib.suppress(OSError, ValueError):
            while self._stream.read(65536):
                pass
        self._stream.close()
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT)
        # A guardian that was killed could not remove its own directory.
        sweep_one(self.run_dir)


def _begin(root: Path | None) -> tuple[str, Path, Holder]:
    """A new run directory with a share of its lock; one that was swept in between is made anew."""
    while True:
        cluster_id, run_dir = make_run_dir(root)
        try:
            holder = Holder(run_dir)
        except FileNotFoundError:
            continue
        if run_dir.exists():
            return cluster_id, run_dir, holder
        holder.release()


def _unpack(answer: Message) -> Message:
    if "config_error" in answer:
        raise ConfigError(*answer["config_error"])
    if "error" in answer:
        raise KubernixError(answer["error"])
    if failed := answer.get("failed"):
        failures = [KubernixError(text) for text in failed["failures"]]
        raise BootError(failed["phase"], failures, logs=failed["logs"])
    return answer
