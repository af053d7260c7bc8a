"""Share: by what name processes of one test run find each other's cluster, and who they are.
Pure: read from what pytest-xdist tells its workers."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from ..boot.rundir import ID_DIGITS


@dataclass(frozen=True)
class Share:
    """How a cluster is shared.

    Attributes:
        key: What all who share it have in common, or "" for a cluster of one process alone.
        who: This process as others are told of it, such as "gw3 (pid 4711)".
        controller: PID of the process that outlives the workers, or 0; the cluster lives as long as it does.
    """

    key: str = ""
    who: str = ""
    controller: int = 0

    def cluster_id(self) -> str:
        """The id that everybody with this key arrives at; "" when the cluster is not shared."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:ID_DIGITS] if self.key else ""

    def of(self, configuration: str) -> Share:
        """The share of one configuration's cluster among those of a test run."""
        return Share(f"{self.key}/{configuration}" if self.key else "", self.who, self.controller)


def share_of(worker_input: dict[str, Any] | None, *, scope: str) -> Share:
    """The share of this process.

    Args:
        worker_input: What pytest-xdist gave this worker, or None in a run without workers.
        scope: "session": all workers share; "worker": each has its own.
    """
    pid = os.getpid()
    if worker_input is None:
        return Share(who=f"pytest (pid {pid})")
    worker = worker_input.get("workerid", "worker")
    who = f"{worker} (pid {pid})"
    if scope == "worker":
        return Share(who=who)
    controller = worker_input.get("kubernix_controller", 0)
    # A controller on another machine is not one that a guardian here could watch.
    watched = controller if controller == os.getppid() else 0
    return Share(f"{os.getuid()}/{worker_input['testrunuid']}", who, watched)
