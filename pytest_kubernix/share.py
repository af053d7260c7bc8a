"""Share: by what name processes find each other's cluster, and who they are.
Read from options and from what pytest-xdist tells its workers; nothing is started or touched."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import ID_DIGITS, default_root


@dataclass(frozen=True)
class Share:
    """How a cluster is shared.

    Attributes:
        key: What all processes that share it have in common, or "" for a cluster of one process alone.
        who: This process as others are told of it, such as "gw3 (pid 4711)".
        controller: PID of the process that outlives the workers, or 0; the cluster lives as long as it does.
        name: Name under which it is left running and found again, or "".
        run: The test run that this process is part of, or "".
    """

    key: str = ""
    who: str = ""
    controller: int = 0
    name: str = ""
    run: str = ""

    def of(self, configuration: str, *, changed: bool) -> Share:
        """The share of one configuration's cluster among those of a test run.

        Args:
            configuration: Digest of the configuration.
            changed: Whether it is another than the suite's own.
        """
        if self.name:
            # The suite's own cluster goes by the plain name: asking for another configuration under it is
            # a mismatch to be told, not another cluster.
            return named(f"{self.name}-{configuration}", self.who, self.run) if changed else self
        return dataclasses.replace(self, key=f"{self.key}/{configuration}" if self.key else "")

    def cluster_id(self, root: Path | None) -> str:
        """The id that all processes arrive at that share it; "" for a new cluster of this process alone.

        Args:
            root: Directory that holds run directories; None is the default. Links and cgroups are named by the
                cluster's id alone, so it must be another one in every root.
        """
        key = f"{(root or default_root()).resolve()}/{self.key}"
        return hashlib.sha256(os.fsencode(key)).hexdigest()[:ID_DIGITS] if self.key else ""

    def alone(self) -> Share:
        """The share of a cluster that this process has for itself."""
        return Share(who=self.who)


def named(name: str, who: str, run: str = "") -> Share:
    """The share of a cluster that is left running under a name.

    Args:
        name: As users type it.
        who: This process as others are told of it.
        run: The test run that it is part of, or "".
    """
    return Share(f"{os.getuid()}/named/{name}", who, name=name, run=run)


def share_of(worker_input: dict[str, Any] | None, *, scope: str, reuse: str = "") -> Share:
    """The share of this process.

    Args:
        worker_input: What pytest-xdist gave this worker, or None in a run without workers.
        scope: "session": all workers share; "worker": each has its own.
        reuse: Name of a cluster to find again, or "".
    """
    pid = os.getpid()
    worker = worker_input.get("workerid", "worker") if worker_input else ""
    who = f"{worker or 'pytest'} (pid {pid})"
    if reuse:
        run = str(worker_input["testrunuid"]) if worker_input else f"pid {pid}"
        return named(f"{reuse}-{worker}" if worker and scope == "worker" else reuse, who, run)
    if not worker_input or scope == "worker":
        return Share(who=who)
    controller = worker_input.get("kubernix_controller", 0)
    # A controller on another machine is not one that a guardian here could watch.
    watched = controller if controller == os.getppid() else 0
    return Share(f"{os.getuid()}/run/{worker_input['testrunuid']}", who, watched)
