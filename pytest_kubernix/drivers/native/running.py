"""A native cluster as the process that holds it sees it: every question goes to its guardian, with a limit.
Booting one is `native.py`'s part."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import ClusterGone, KubernixError
from ...guardian import unresponsive as silence
from ...guardian.client import GuardianClient
from ...guardian.connection import Connection
from ...guardian.protocol import COMMAND_TIMEOUT, RESTART_TIMEOUT
from ...guardian.rundir import CONTROL_SOCKET, ETCD_SOCKET, GUARDIAN_LOG
from ...handle import ClusterHandle, Death
from ...plan.context import SYSTEM_PATH
from ..base import Diagnostics, RunningCluster, State, Status
from .boot_ahead import Spares

# A guardian answers within milliseconds; on a machine that swaps, within seconds.
ASK_TIMEOUT = 15.0
# Above the guardian's own limits, so that its error, which knows more, comes first.
FAULT_TIMEOUT = RESTART_TIMEOUT + 30.0


class NativeCluster(RunningCluster):
    """A cluster that a guardian keeps for this process.

    Attributes:
        spares: Those that are booted meanwhile, or None.
    """

    spares: Spares | None = None

    def __init__(self, guardian: GuardianClient, handle: dict[str, Any], *, shared: bool) -> None:
        self._guardian = guardian
        self._shared = shared
        self.handle = ClusterHandle.from_json(json.dumps(handle))

    def status(self) -> Status:
        components = self._ask({"op": "status"})["components"]
        wrong = sorted(f"{name} is {state}" for name, state in components.items() if state != "running")
        return Status(State.NOT_READY, ", ".join(wrong)) if wrong else Status(State.READY)

    def components(self) -> Mapping[str, str]:
        states: dict[str, str] = self._ask({"op": "status"})["components"]
        return states

    def diagnostics(self, *, timeout: float) -> Diagnostics:
        run_dir = self._guardian.run_dir
        logs = [*sorted((run_dir / "logs").glob("*.log")), run_dir / GUARDIAN_LOG]
        try:
            # A conversation of its own: after a time-out there is no other, and tests go on with theirs.
            with contextlib.closing(Connection(run_dir / CONTROL_SOCKET, run_dir.name)) as connection:
                status = connection.request({"op": "status"}, timeout=timeout)
        except ClusterGone:
            if not logs[0].exists():
                raise
            # The guardian was killed, so nobody removed what it left.
            return Diagnostics({"guardian": "dead"}, logs={path.stem: path for path in logs})
        return Diagnostics(
            components=status["components"],
            deaths=[Death(**death) for death in status["deaths"]],
            timeline=[(name, what, at) for name, what, at in status["timeline"]],
            logs={path.stem: path for path in logs},
        )

    def fault(self, name: str, action: str) -> None:
        self._ask({"op": "fault", "name": name, "action": action}, timeout=FAULT_TIMEOUT)

    def others(self) -> Sequence[str]:
        others: list[str] = self._ask({"op": "status"})["others"]
        return others

    def etcd(self) -> Path:
        return self._guardian.run_dir / ETCD_SOCKET

    def load_image(self, archive: str) -> Sequence[str]:
        from ...components.containerd import import_argv

        loaded: list[str] = []
        for node in self.handle.nodes:
            argv = import_argv(self.handle.programs["ctr"], str(Path(archive).resolve()))
            command = {"name": f"image import ({node})", "argv": argv, "env": {"PATH": SYSTEM_PATH}, "within": node}
            result = self._ask({"op": "run", **command}, timeout=COMMAND_TIMEOUT + ASK_TIMEOUT)
            if result["returncode"] != 0:
                raise KubernixError(f"{node} could not load {archive}: {result['stderr'].strip()}")
            # ctr's line for each image: "unpacking docker.io/library/app:1 (sha256:…)...done".
            loaded = list(dict.fromkeys(re.findall(r"(?m)^unpacking (\S+) \(", result["stdout"])))
        return loaded

    def keep(self) -> None:
        if self.spares:
            self.spares.settle()
        self._ask({"op": "keep"})
        self._guardian.leave()

    def stop(self) -> None:
        if self.spares:
            self.spares.settle()
        if self._shared:
            self._guardian.leave()
        else:
            self._guardian.stop()

    def _ask(self, request: dict[str, Any], timeout: float = 0.0) -> dict[str, Any]:
        timeout = timeout or ASK_TIMEOUT
        try:
            return self._guardian.connection.request(request, timeout=timeout)
        except TimeoutError:
            raise KubernixError(
                f"the guardian of cluster {self._guardian.cluster_id} did not answer within {timeout:g} s: "
                + silence.describe(self._guardian.connection),
                hint=silence.how_to_mend(self._guardian.run_dir),
            ) from None
