"""What a test does to the parts of a cluster: `kubernix.components["etcd"].kill()`, and contexts that undo.
Carried out by the parent of the processes; here are only the words for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .errors import KubernixError
from .handle import Action, ComponentState

if TYPE_CHECKING:
    from .drivers.base import RunningCluster


class ComponentControl:
    """One component or node of a cluster that a test can break and mend.

    Every call returns once it is in effect, with the moment since when, in seconds on the monotonic clock (that of
    `time.monotonic`, and of `Cluster.diagnostics`). It raises KubernixError when it can't be done.

    Attributes:
        name: Such as "kube-apiserver", "kubelet/node-1", or "node-1".
    """

    def __init__(self, running: RunningCluster, name: str) -> None:
        self._running = running
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}: {self.state}>"

    @property
    def state(self) -> ComponentState:
        """Its state: "running", "paused" or "dead"."""
        return self._running.components()[self.name]

    def kill(self) -> float:
        """End it at once, as SIGKILL does; a node with everything in it, as pulling its plug does."""
        return self._running.control(self.name, Action.KILL)

    def pause(self) -> float:
        """Stop it where it is, as SIGSTOP does; a node with everything in it. Its connections stay open."""
        return self._running.control(self.name, Action.PAUSE)

    def resume(self) -> float:
        """Let it go on."""
        return self._running.control(self.name, Action.RESUME)

    def restart(self) -> float:
        """Kill it, if it lives, start it again, and return once it is ready. A node comes back empty."""
        return self._running.control(self.name, Action.RESTART)

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """Dead inside the context; restarted at its end."""
        self.kill()
        try:
            yield
        finally:
            self.restart()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Paused inside the context; resumed at its end."""
        self.pause()
        try:
            yield
        finally:
            # The test may have killed it meanwhile; there is nothing to resume then.
            if self.state == ComponentState.PAUSED:
                self.resume()


class Components(Mapping[str, ComponentControl]):
    """The components and nodes of a cluster by name."""

    def __init__(self, running: RunningCluster) -> None:
        self._running = running

    def __getitem__(self, name: str) -> ComponentControl:
        names = self._running.components()
        if name not in names:
            known = ", ".join(names) or f"none: driver {self._running.handle.driver} has no access to them"
            raise KubernixError(f"no component or node {name!r} in this cluster; there are {known}")
        return ComponentControl(self._running, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._running.components())

    def __repr__(self) -> str:
        return f"<components {', '.join(f'{name}: {state}' for name, state in self._running.components().items())}>"

    def __len__(self) -> int:
        return len(self._running.components())
