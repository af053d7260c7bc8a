"""Cluster: what a test holds. Everything a test may do with a cluster of any driver.
Built from a driver's RunningCluster; `kubernetes` and `cryptography` are imported once they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ClusterConfig
from .controls import Components
from .errors import DriverError, KubectlError, KubernixError
from .handle import Capability
from .kubectl import Kubectl
from .layout import Layout

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from .drivers.base import Diagnostics, RunningCluster, Status
    from .handle import ClusterHandle
    from .store.history import Checkpoint, History

# A token outlives any test run, and the cluster does not outlive the run.
TOKEN_LIFETIME = "24h"  # noqa: S105 - a duration


class Cluster:
    """A running cluster.

    Args:
        running: What the driver gave.
        stopping: Called with this cluster once, before it is stopped.
    """

    def __init__(
        self, running: RunningCluster, *, stopping: Callable[[Cluster], object] = lambda cluster: None
    ) -> None:
        self._running = running
        self._stopping = stopping
        self._stopped = False
        self._clients: dict[Path, ApiClient] = {}
        self._made_history: History | None = None

    def __repr__(self) -> str:
        return f"<Cluster {self.handle.cluster_id} {self.version} at {self.server}>"

    @property
    def handle(self) -> ClusterHandle:
        """Where it is and how to reach it, as plain data."""
        return self._running.handle

    @property
    def config(self) -> ClusterConfig:
        """What it was asked to be."""
        return ClusterConfig.from_json(self.handle.config)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.handle.kubeconfig

    @property
    def version(self) -> str:
        """The version of its API server, without a "v"."""
        return self.handle.k8s_version

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes, in order."""
        return self.handle.nodes

    @property
    def server(self) -> str:
        """The URL of its API server."""
        return self.handle.server

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it can do, such as "nodes"; what `kubernix_requires(capability=…)` looks for."""
        return self.handle.capabilities

    @cached_property
    def kubectl(self) -> Kubectl:
        """The kubectl of its own version, as the administrator."""
        run_dir = self.handle.run_dir
        # Beside the cluster's files: under HOME, what it learnt about one cluster would be believed of the
        # next that happens to listen on the same port.
        cache = Layout(run_dir).kubectl_cache if run_dir else None
        return Kubectl(self.handle.kubectl, self.kubeconfig, cache_dir=cache)

    def client(self, kubeconfig: Path | None = None) -> ApiClient:
        """A client for the APIs of `kubernetes.client`: `CoreV1Api(cluster.client())`.

        Args:
            kubeconfig: Whose access it uses; None is the administrator's. One client is made for each.
        """
        from kubernetes import client, config

        path = kubeconfig or self.kubeconfig
        if path not in self._clients:
            settings = client.Configuration()
            config.load_kube_config(config_file=str(path), client_configuration=settings, persist_config=False)
            # The cluster is on this machine: a proxy meant for the world outside can't reach it.
            settings.proxy = None
            self._clients[path] = client.ApiClient(settings)
        return self._clients[path]

    def runs_as(self, running: RunningCluster) -> None:
        """Go on with another hold of the same cluster, as the driver gave it in the end."""
        self._running = running
        self.__dict__.pop("components", None)

    def keep(self) -> None:
        """Let it stay when this process is gone; `pytest-kubernix down` removes it."""
        self._stopped = True
        self.hang_up()
        self._running.keep()

    def status(self) -> Status:
        """What it looks like right now."""
        return self._running.status()

    def diagnostics(self, *, timeout: float = 5.0) -> Diagnostics:
        """What its driver knows of it: the state of components, those that died by themselves, the boot's timeline.

        Args:
            timeout: Limit in seconds.

        Raises:
            ClusterGone: It does not run any more.
            TimeoutError: There was no answer in time.
        """
        return self._running.diagnostics(timeout=timeout)

    def diagnose(self, folder: str | Path) -> Path:
        """Write down all there is to know about it: logs, objects, events, the boot's timeline as a picture.

        Values of Secrets are left out. What can't be had is listed in `bundle.json`; it takes a few seconds,
        and a good minute at most.

        Args:
            folder: Where to make a new directory, named by the cluster's id; it is made if need be.

        Returns:
            The new directory.

        Raises:
            ClusterGone: It does not run any more.
            OSError: The directory can't be written.
        """
        from .diagnostics.artifacts import claim
        from .diagnostics.bundle import write_cluster

        return write_cluster(self, claim(Path(folder), self.handle.cluster_id))

    @cached_property
    def components(self) -> Components:
        """Its components and nodes, to be killed, paused, resumed and restarted by tests."""
        return Components(self._running)

    def others(self) -> tuple[str, ...]:
        """Who else holds this cluster right now, such as "gw1 (pid 4711)"."""
        return tuple(self._running.others())

    def checkpoint(self) -> Checkpoint:
        """Remember every object as it is, for `rollback`. docs/rollback.md says what that can undo, and what not.

        Raises:
            DriverError: The driver of this cluster has no access to its etcd.
        """
        return self._history("checkpoint").checkpoint()

    def rollback(self, checkpoint: Checkpoint, *, events: bool = False) -> None:
        """Make every object what it was: created ones go, deleted ones come back, changed ones are restored.

        Returns once the API serves the old state, kubelets know which pods are theirs, and controllers have
        nothing to do any more. Checkpoints that were taken after this one are not valid any longer.

        Args:
            checkpoint: What `checkpoint` gave.
            events: Whether events are rolled back too.

        Raises:
            TypeError: It is no checkpoint.
            DriverError: The driver of this cluster has no access to its etcd.
            KubernixError: Others hold the cluster, whose work would be undone; the checkpoint is not valid any
                more; or something keeps changing things back.
        """
        from .store.history import Checkpoint

        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(f"rollback({checkpoint!r}): allowed is what checkpoint() gave")
        history = self._history("rollback")
        if others := self.others():
            raise KubernixError(
                f"rollback: {', '.join(others)} {'hold' if len(others) > 1 else 'holds'} this cluster too, "
                "and would lose what they did",
                hint="Ask for the fixture kubernix_pristine: under pytest-xdist, it has a cluster for each worker.",
            )
        history.rollback(checkpoint, events=events)

    def load_image(self, image: str | Path, *, name: str | None = None) -> tuple[str, ...]:
        """Give every node an image, so that pods need no registry.

        Args:
            image: A docker archive, an OCI archive, an OCI layout directory, or a reference such as
                "app:dev" that the local docker or podman has.
            name: What pods shall call it, for an archive that has no name of its own, or another one.

        Returns:
            The references of the images that were loaded. Pods name one, and must not want to pull it:
            `imagePullPolicy` is IfNotPresent or Never, which the tag "latest" does not have by itself.

        Raises:
            ImageError: It is none of these, or has no name; the text says what was looked for.
            DriverError: The cluster has no nodes.
            KubernixError: A node refused it.
        """
        from .image_archive import archive

        if not self.nodes:
            raise DriverError("load_image: this cluster has no nodes that could hold an image (nodes=0)")
        with archive(image, name=name) as path:
            return tuple(self._running.load_image(str(path)))

    def user(self, name: str, groups: Sequence[str] = (), *, server: str | None = None) -> Path:
        """A user who may do nothing until RBAC allows it.

        Args:
            name: The user's name, as a RoleBinding names it.
            groups: The groups it is in.
            server: URL to reach the API server by, such as that of a proxy; None is the usual one.

        Returns:
            A kubeconfig with a client certificate of this user.

        Raises:
            ValueError: A name is empty or longer than 64 bytes, which a certificate can't say; or `groups` is a text.
            DriverError: The driver of this cluster does not hold its CA.
        """
        return self._running.users("user").certificate(name, groups, server=server)

    def service_account(self, namespace: str, name: str, *, server: str | None = None) -> Path:
        """A kubeconfig that acts as a ServiceAccount, as a pod of it would.

        Args:
            namespace: The namespace of the account; it is the kubeconfig's default namespace too.
            name: The account's name; it must exist.
            server: URL to reach the API server by, such as that of a proxy; None is the usual one.

        Returns:
            A kubeconfig with a token of the account, good for 24 hours.

        Raises:
            KubectlError: There is no such account.
            DriverError: The driver of this cluster does not hold its CA.
        """
        users = self._running.users("service_account")
        request = ("create", "token", name, f"--duration={TOKEN_LIFETIME}")
        try:
            token = self.kubectl(*request, namespace=namespace).stdout.strip()
        except KubectlError as error:
            if "not found" in error.stderr:
                error.add_note(f"service_account: make it first: kubectl create serviceaccount {name} -n {namespace}")
            raise
        return users.service_account(namespace, name, token, server=server)

    def stop(self) -> None:
        """End it now. The session's end does so too; stopping twice is no error."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._stopping(self)
        finally:
            self.hang_up()
            if self._running.shared:
                self._running.leave()
            else:
                self._running.destroy()

    def hang_up(self) -> None:
        """Close clients and checkpoints; the cluster goes on."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        if self._made_history:
            self._made_history.close()
            self._made_history = None

    def _history(self, what: str) -> History:
        if Capability.ETCD not in self.capabilities:
            raise DriverError(
                f"{what}: driver {self.handle.driver!r} has no access to the etcd of its clusters "
                '(the capability "etcd" is missing)',
                hint="kubernix_namespace gives each test a namespace of its own, with any driver.",
            )
        if self._made_history is None:
            self._made_history = self._running.history()
        return self._made_history
