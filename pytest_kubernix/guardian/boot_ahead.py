"""Boots spares while tests run, by a thread of the test process, and takes one instead of booting.
Their guardians keep them meanwhile; what a spare is, and how to boot one, its driver says."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from .. import locks
from ..errors import KubernixError
from ..handle import not_running
from ..layout import Layout, default_root
from ..share import Share
from . import spare
from .client import GuardianClient, send_watched
from .protocol import BecomeSpare, GetStatus
from .rundir import alias

# A guardian that does not answer within that is no good as a spare.
ANSWER_TIMEOUT = 5.0
# For another worker that is taking one: it may meet more than one that does not answer.
TAKING_TIMEOUT = 2 * ANSWER_TIMEOUT
# Planning takes a fifth of a second; no test run ends later than that for the sake of the next one.
SETTLE_TIMEOUT = 1.0


class BootAhead:
    """The spares of one configuration.

    Args:
        root: Directory that holds run directories; None is the default.
        share: Of the cluster that was asked for.
        identity: What the spares are; see `spare.identity`.
        start: Starts the guardian of a new cluster, for this process as others are told of it.
        boot: Boots the cluster of a guardian, and returns once it is up; it calls what it is given once the guardian
            has all it needs for that.
    """

    def __init__(
        self,
        root: Path | None,
        share: Share,
        identity: str,
        start: Callable[[Share], GuardianClient],
        boot: Callable[[GuardianClient, Callable[[], None]], None],
    ) -> None:
        self._root = root
        self._share = share
        self._identity = identity
        self._start = start
        self._boot = boot
        self._settled = threading.Event()
        self._settled.set()

    def take(self) -> GuardianClient | None:
        """Take one, or None when there is none. Processes that share the cluster find it under the id of the share."""
        cluster_id = self._share.cluster_id(self._root)
        if not cluster_id:
            return self._take_alone("")
        # Without the lock the next process of this run, which finds neither spare nor cluster, would boot one.
        # A process that waited in vain does just that.
        with locks.alone(f"take/{cluster_id}", TAKING_TIMEOUT) as alone:
            return self._take_alone(cluster_id) if alone else None

    def _take_alone(self, cluster_id: str) -> GuardianClient | None:
        if cluster_id and (self._root or default_root()).joinpath(cluster_id).exists():
            return None
        while layout := spare.take(self._root, self._identity):
            try:
                guardian = GuardianClient.join(layout)
            except KubernixError:
                # It has just ended; another one will do.
                continue
            try:
                status = guardian.connection.request(GetStatus(), timeout=ANSWER_TIMEOUT)
                if not not_running(status.components):
                    return self._share_it(guardian, cluster_id)
            except (KubernixError, TimeoutError, OSError):
                # It is ending, or hangs.
                pass
            guardian.stop()
        return None

    def _share_it(self, guardian: GuardianClient, cluster_id: str) -> GuardianClient | None:
        if not cluster_id:
            return guardian
        # All before others can find it: what fails from then on must not end it under them.
        _watch(guardian.layout, self._share.controller)
        name = guardian.layout.name
        if self._share.name:
            name.write_text(self._share.name, encoding="utf-8")
        if alias(self._root, cluster_id, guardian.layout.run_dir):
            return guardian
        # Another process of this run was first, and boots or has found another one.
        name.unlink(missing_ok=True)
        spare.give_back(guardian.layout)
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
        with locks.alone(f"spare/{self._identity}/{self._root or ''}") as alone:
            # Or another process of this run is at it.
            if alone:
                # A spare that does not come up is no failure of any test; its logs are kept as every boot's.
                with contextlib.suppress(Exception):
                    while len(spare.ready(self._root, self._identity)) < count:
                        self._boot_one()

    def _boot_one(self) -> None:
        guardian = self._start(Share(who=f"{self._share.who}, booting ahead"))
        try:
            guardian.connection.request(BecomeSpare(self._identity, spare.LIFETIME), timeout=ANSWER_TIMEOUT)
            self._boot(guardian, self._settled.set)
        except BaseException:
            guardian.stop()
            raise
        guardian.leave()


def _watch(layout: Layout, controller: int) -> None:
    if controller:
        # A controller that is dead holds nothing.
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(controller)
            try:
                send_watched(layout, pidfd, ANSWER_TIMEOUT)
            finally:
                os.close(pidfd)
