"""Spares of the native driver: clusters that boot while tests run, and are taken instead of booted.
Made by a thread of the test process, which knows the plugins' components; kept by their guardians."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

from ...binaries import Executables
from ...components import register_all
from ...config import ClusterConfig
from ...errors import KubernixError
from ...guardian import rundir, spare
from ...guardian.client import GuardianClient, Meeting, send_watched
from ...layout import default_root
from ...plan.component import ComponentRegistry
from ..base import BootOptions
from . import machine

# A guardian that does not answer within that is no good as a spare.
ANSWER_TIMEOUT = 5.0
# For another worker that is taking one: it may meet more than one that does not answer.
TAKING_TIMEOUT = 2 * ANSWER_TIMEOUT
PAUSE = 0.005
# Planning takes a fifth of a second; nobody's tests end later than that for the sake of the next run.
SETTLE_TIMEOUT = 1.0
# Of a socket without a file.
LONGEST_NAME = 107


class Spares:
    """The spares of one configuration.

    Args:
        config: What they are.
        options: Of the cluster that was asked for.
        executables: What they run.
        boot: Boots the cluster of a guardian, and returns once it is up; it calls what it is given once the guardian
            has all it needs for that.
    """

    def __init__(
        self,
        config: ClusterConfig,
        options: BootOptions,
        executables: Executables,
        boot: Callable[[GuardianClient, Callable[[], None]], None],
    ) -> None:
        self._config = config
        self._options = options
        self._boot = boot
        self._settled = threading.Event()
        self._settled.set()
        registry = ComponentRegistry()
        register_all(registry, config, machine.planned_facts(config))
        options.component_plugins(registry, config)
        programs = [str(path) for path in executables.programs.values()]
        self._identity = spare.identity(config, programs, registry, machine.proxy_environment())

    def take(self) -> GuardianClient | None:
        """Take one, or None when there is none. Whoever shares the cluster finds it under the id where they meet."""
        meeting = self._options.share.meeting(self._config.root)
        if not meeting.cluster_id:
            return self._take_alone(meeting)
        # Without the lock the next process of this run, which finds neither spare nor cluster, would boot one.
        # Whoever waited in vain does just that.
        with _alone(f"take/{meeting.cluster_id}", TAKING_TIMEOUT) as alone:
            return self._take_alone(meeting) if alone else None

    def _take_alone(self, meeting: Meeting) -> GuardianClient | None:
        root = self._config.root
        if meeting.cluster_id and (root or default_root()).joinpath(meeting.cluster_id).exists():
            return None
        while run_dir := spare.take(root, self._identity):
            try:
                guardian = GuardianClient.join(run_dir)
            except KubernixError:
                # It has just ended; another one will do.
                continue
            try:
                status = guardian.connection.request({"op": "status"}, timeout=ANSWER_TIMEOUT)
                well = all(state == "running" for state in status["components"].values())
                if well:
                    return self._meet_there(guardian, meeting)
            except (KubernixError, TimeoutError, OSError):
                # It is ending, or hangs.
                pass
            guardian.stop()
        return None

    def _meet_there(self, guardian: GuardianClient, meeting: Meeting) -> GuardianClient | None:
        if not meeting.cluster_id:
            return guardian
        # All before others can find it: what fails from then on must not end it under them.
        _watch(guardian, meeting.controller)
        name = guardian.run_dir / rundir.NAME
        if meeting.name:
            name.write_text(meeting.name)
        if rundir.alias(self._config.root, meeting.cluster_id, guardian.run_dir):
            return guardian
        # Somebody else of this run was first, and boots or has found another one.
        name.unlink(missing_ok=True)
        spare.give_back(guardian.run_dir)
        guardian.leave()
        return None

    def fill(self, count: int) -> None:
        """Boot until there are so many, in the background."""
        self._settled.clear()
        threading.Thread(target=self._fill, args=(count,), name="kubernix-spares", daemon=True).start()

    def settle(self) -> None:
        """Wait until what is on its way gets on without this process, which is about to end; not for long."""
        self._settled.wait(SETTLE_TIMEOUT)

    def _fill(self, count: int) -> None:
        try:
            self._fill_alone(count)
        finally:
            self._settled.set()

    def _fill_alone(self, count: int) -> None:
        with _alone(f"spare/{self._identity}/{self._config.root or ''}") as alone:
            # Or another process of this run is at it.
            if alone:
                # A spare that does not come up is no failure of any test; its logs are kept as every boot's.
                with contextlib.suppress(Exception):
                    while len(spare.ready(self._config.root, self._identity)) < count:
                        self._boot_one()

    def _boot_one(self) -> None:
        who = f"{self._options.share.who}, for whoever asks next"
        guardian = GuardianClient.meet(self._config.root, Meeting(who=who), self._config.boot_timeout)
        try:
            request = {"op": "spare", "identity": self._identity, "lifetime": spare.LIFETIME}
            guardian.connection.request(request, timeout=ANSWER_TIMEOUT)
            self._boot(guardian, self._settled.set)
        except BaseException:
            guardian.stop()
            raise
        guardian.leave()


@contextlib.contextmanager
def _alone(what: str, timeout: float = 0.0) -> Iterator[bool]:
    """Be the only process of this user that does something.

    Args:
        what: Which nobody else does meanwhile.
        timeout: Limit in seconds for somebody who does it already.

    Returns:
        Whether that is so.
    """
    deadline = time.monotonic() + timeout
    # A name that goes with this process, however it ends.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        while not (alone := _bind(lock, f"\0kubernix/{os.getuid()}/{what}"[:LONGEST_NAME])):
            if time.monotonic() >= deadline:
                break
            time.sleep(PAUSE)
        yield alone


def _bind(lock: socket.socket, name: str) -> bool:
    try:
        lock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _watch(guardian: GuardianClient, controller: int) -> None:
    if controller:
        # A controller that is dead holds nothing.
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(controller)
            try:
                send_watched(guardian.run_dir, pidfd, ANSWER_TIMEOUT)
            finally:
                os.close(pidfd)
