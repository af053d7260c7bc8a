"""A native cluster as the process that holds it sees it: every question goes to its guardian, with a limit.
Booting one is `driver.py`'s part."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...boot.controls import RESTART_TIMEOUT
from ...engine import Command
from ...errors import ClusterGone, KubernixError
from ...guardian.boot_ahead import BootAhead
from ...guardian.client import ASK_TIMEOUT, GuardianClient
from ...guardian.connection import Connection
from ...guardian.protocol import Control, GetHistory, GetStatus, Keep, Run
from ...handle import Action, ClusterHandle, ComponentState, not_running
from ...plan.context import SYSTEM_PATH
from ..base import Diagnostics, RunningCluster, State, Status

if TYPE_CHECKING:
    from ...access.users import Users
    from ...store.history import History

LOADING_TIMEOUT = 300.0
# Above what the engine may take, so that its error, which knows more, comes first: a node that comes back loads images
# again, and another worker may just be restarting it too.
CONTROL_TIMEOUT = 2 * RESTART_TIMEOUT + LOADING_TIMEOUT


class NativeCluster(RunningCluster):
    """A cluster that a guardian keeps for this process.

    Args:
        guardian: Its guardian.
        handle: How to reach it.
        shared: Whether other processes may hold it too.
        spares: Those that are booted meanwhile, or None.
    """

    def __init__(
        self, guardian: GuardianClient, handle: ClusterHandle, *, shared: bool, spares: BootAhead | None = None
    ) -> None:
        self._guardian = guardian
        self._spares = spares
        self.shared = shared
        self.handle = handle

    def status(self) -> Status:
        broken = not_running(self.components())
        return Status(State.NOT_READY, broken) if broken else Status(State.READY)

    def components(self) -> Mapping[str, ComponentState]:
        return self._guardian.ask(GetStatus()).components

    def diagnostics(self, *, timeout: float) -> Diagnostics:
        layout = self._guardian.layout
        logs = {path.stem: path for path in (*sorted(layout.logs.glob("*.log")), layout.guardian_log)}
        try:
            # A conversation of its own: one that was closed meanwhile says nothing of the guardian.
            with contextlib.closing(Connection(layout.control_socket, layout.cluster_id)) as connection:
                history = connection.request(GetHistory(), timeout=timeout)
        except ClusterGone:
            if not layout.logs.exists():
                raise
            # The guardian was killed, and could not remove what it left.
            return Diagnostics({"guardian": ComponentState.DEAD}, logs=logs)
        return Diagnostics(history.components, history.deaths, history.timeline, logs)

    def control(self, name: str, action: Action) -> float:
        return self._guardian.ask(Control(name, action), timeout=CONTROL_TIMEOUT).at

    def others(self) -> Sequence[str]:
        return self._guardian.ask(GetStatus()).others

    def etcd(self) -> Path:
        return self._guardian.layout.etcd_socket

    def history(self) -> History:
        from ...http_requests import AdminApi
        from ...store.etcd import EtcdClient
        from ...store.history import History
        from ...store.reactions import Reactions

        pki = self._guardian.layout.pki
        api = AdminApi(self.handle.server, *(str(pki / name) for name in ("ca.crt", "admin.crt", "admin.key")))
        reactions = Reactions(api, self.handle.metrics.get("kube-controller-manager", ""))
        return History(self.handle.cluster_id, EtcdClient(self.etcd()), reactions, self.handle.nodes)

    def users(self, what: str) -> Users:  # noqa: ARG002 - for drivers that refuse
        from ...access.users import Users

        return Users(self._guardian.layout, self.handle.server)

    def load_image(self, archive: str) -> Sequence[str]:
        from ...components.containerd import import_argv

        loaded: list[str] = []
        kept = self._kept(Path(archive))
        argv = import_argv(self.handle.programs["ctr"], str(kept))
        for node in self.handle.nodes:
            command = Command(f"image import ({node})", argv, {"PATH": SYSTEM_PATH}, node, LOADING_TIMEOUT, again=True)
            result = self._guardian.ask(Run(command), timeout=LOADING_TIMEOUT + ASK_TIMEOUT)
            if result.returncode != 0:
                raise KubernixError(f"{node} could not load {archive}: {result.stderr.strip()}")
            # ctr's line for each image: "unpacking docker.io/library/app:1 (sha256:…)...done".
            loaded = list(dict.fromkeys(re.findall(r"(?m)^unpacking (\S+) \(", result.stdout)))
        return loaded

    def _kept(self, archive: Path) -> Path:
        """A copy of an archive that lasts as long as the cluster: a node that comes back loads it again.

        Raises:
            KubernixError: There is no room for it.
        """
        folder = self._guardian.layout.images
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            copy = Path(tempfile.mkdtemp(dir=folder)) / "image.tar"
            shutil.copyfile(archive, copy)
        except OSError as error:
            raise KubernixError(f"{archive} could not be kept for the nodes: {error}") from None
        return copy

    def keep(self) -> None:
        self._settle()
        self._guardian.ask(Keep())
        self._guardian.leave()

    def leave(self) -> None:
        self._settle()
        self._guardian.leave()

    def destroy(self) -> None:
        self._settle()
        self._guardian.stop()

    def _settle(self) -> None:
        if self._spares:
            self._spares.settle()
