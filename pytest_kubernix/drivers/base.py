"""The contract of a driver: how a cluster comes to be, is looked at, and ends.
A driver outside this project is a pytest plugin that registers one in `pytest_kubernix_drivers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import ClusterConfig
from ..errors import DriverError
from ..handle import Action, ClusterHandle, ComponentState, Death, Event
from ..share import Share

if TYPE_CHECKING:
    from ..access.users import Users
    from ..errors import KubernixError
    from ..store.history import History


class State(StrEnum):
    """Where a cluster is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    NOT_READY = "not-ready"
    READY = "ready"


@dataclass(frozen=True)
class Status:
    """What a driver sees of a cluster right now.

    Attributes:
        state: Where it is in its life.
        detail: Why it is not ready, or "".
    """

    state: State
    detail: str = ""


@dataclass(frozen=True)
class Diagnostics:
    """What a driver knows of a cluster beside what its API server says.

    Attributes:
        components: Name → state.
        deaths: The components that died by themselves, in order.
        timeline: What happened, in order: the cluster "begins", and is "ready" or "failed"; a phase "begins" and
            "ends"; a component is "spawned", maybe before its phase, "awaited" by its phase, "let go" (if it was
            held), and "ready"; the namespaces of a node are "set up"; and later a component or node "died", or was
            "killed", "paused", "resumed" or "restarted".
        logs: Name → file, of every log that there is beside those of pods.
    """

    components: Mapping[str, ComponentState] = field(default_factory=dict)
    deaths: Sequence[Death] = ()
    timeline: Sequence[Event] = ()
    logs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class BootOptions:
    """What a driver gets beside the configuration.

    Attributes:
        progress: Called with one line whenever something worth telling happened.
        on_ready: Called with a cluster that is up, once for all that share it, before any test sees it.
        share: Who shares the cluster.
        spares: How many clusters like this one to boot meanwhile, for the next that are asked for.
        directories: Directories of the test run that pods' hostPath volumes shall reach.
        component_plugins: Called with (registry, config) so that plugins can add components; None where there are
            no such plugins.
    """

    progress: Callable[[str], None] = field(default=lambda line: None)
    on_ready: Callable[[RunningCluster], None] = field(default=lambda running: None)
    share: Share = field(default_factory=Share)
    spares: int = 0
    directories: tuple[Path, ...] = ()
    component_plugins: Callable[[object, ClusterConfig], None] | None = None


class RunningCluster(ABC):
    """A cluster that this process holds. It ends when its last holder has left, or is gone.

    Attributes:
        handle: How to reach it.
        shared: Whether other processes may hold it too.
    """

    handle: ClusterHandle
    shared: bool = False

    @abstractmethod
    def status(self) -> Status:
        """What the cluster looks like right now."""

    def components(self) -> Mapping[str, ComponentState]:
        """Name → state, of each component and node that can be broken; none by default."""
        return {}

    def diagnostics(self, *, timeout: float) -> Diagnostics:  # noqa: ARG002 - for drivers that ask
        """What there is to say when something went wrong; nothing by default.

        Args:
            timeout: Limit in seconds.

        Raises:
            KubernixError: It can't be known any more.
            TimeoutError: There was no answer in time.
        """
        return Diagnostics()

    def control(self, name: str, action: Action) -> float:
        """Break or mend a component or a node; returns once it is in effect.

        Args:
            name: One of `components`.
            action: What to do.

        Returns:
            When it was in effect, in seconds on the monotonic clock.

        Raises:
            KubernixError: There is no such thing, it is not in a state for that, or it did not come back.
        """
        raise DriverError(f"driver {self.handle.driver} can't {action} {name}")

    def others(self) -> Sequence[str]:
        """Which other processes hold this cluster right now; none by default."""
        return ()

    def etcd(self) -> Path:
        """The Unix socket of its etcd; asked for only where it has the capability "etcd"."""
        raise DriverError(f"driver {self.handle.driver} has no access to the etcd of its clusters")

    def history(self) -> History:
        """Checkpoints of its objects, and the way back; asked for only where it has the capability "etcd"."""
        raise DriverError(f"driver {self.handle.driver} has no access to the etcd of its clusters")

    def users(self, what: str) -> Users:
        """Users and service accounts with kubeconfigs of their own; there where it has the capability "users".

        Args:
            what: Which method asks, for the error.
        """
        raise DriverError(f"{what}: driver {self.handle.driver!r} does not hold the CA of its clusters")

    @abstractmethod
    def load_image(self, archive: str) -> Sequence[str]:
        """Give every node the images of an archive.

        Args:
            archive: Path of a docker archive or an OCI archive.

        Returns:
            The references of the images that were loaded.

        Raises:
            KubernixError: The archive is not one, or a node refused it.
        """

    def keep(self) -> None:
        """Let the cluster stay when this process is gone.

        Raises:
            KubernixError: This driver's clusters can't stay.
        """
        raise DriverError(f"driver {self.handle.driver} can't leave a cluster running")

    def leave(self) -> None:
        """Hold it no more: it ends with its last holder. By default this process is its only one."""
        self.destroy()

    @abstractmethod
    def destroy(self) -> None:
        """End the cluster, whatever processes hold it, and leave nothing of it. Doing so twice is no error."""


class Driver(ABC):
    """Makes clusters of one kind.

    Attributes:
        name: What users type after `--kubernix-driver=`.
    """

    name: str

    @abstractmethod
    def check(self, config: ClusterConfig) -> KubernixError | None:
        """Why this driver can't make such a cluster on this machine, or None. Starts nothing."""

    @abstractmethod
    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        """Boot a cluster and return once it is ready.

        Raises:
            BootError: It did not come up; nothing of it is left behind.
            KubernixError: It can't be made here at all.
        """
