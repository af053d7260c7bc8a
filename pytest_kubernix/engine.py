"""The contract between a guardian, which keeps a cluster, and the engine, which runs it.
The guardian knows nothing of how: an engine may start processes, call k3d, or only remember what it was told."""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import KubernixError
from .handle import Action, ComponentState, Death, Event
from .layout import Layout


@dataclass(frozen=True)
class Progress:
    """How a boot gets on.

    Attributes:
        phase: The phase it is about.
        count: How many components the phase has.
        seconds: How long it took; None when it begins.
    """

    phase: str
    count: int
    seconds: float | None = None


@dataclass(frozen=True)
class EngineStatus:
    """What an engine knows of its cluster.

    Attributes:
        components: Name → state, of each component and node that can be broken, in order.
        deaths: Components that died by themselves, in order.
        timeline: What happened since the boot began, in order.
    """

    components: Mapping[str, ComponentState] = field(default_factory=dict)
    deaths: tuple[Death, ...] = ()
    timeline: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command to run where the cluster is.

    Attributes:
        name: What it is called in errors and logs.
        argv: Executable and arguments.
        env: Its whole environment.
        within: The node to run it in, or "host".
        timeout: Limit in seconds.
        again: Whether it is to be run again whenever its node has come back: a node comes back empty.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    within: str
    timeout: float
    again: bool = False


@dataclass(frozen=True)
class CommandResult:
    """How a command ended: its exit code, negative for a signal, and its output."""

    returncode: int
    stdout: str
    stderr: str


class Engine(ABC):
    """Runs one cluster, in the process of its guardian. Made by `open`; methods are called from one event loop.

    Args:
        layout: The cluster's directory, which exists.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @classmethod
    def open(cls, layout: Layout, lock: int) -> Self:  # noqa: ARG003 - for engines that have children
        """Make the engine. Called first of all, while the process has one thread and no event loop.

        Args:
            layout: The cluster's directory.
            lock: Descriptor of the guardian's lock; children that share it are waited for by the next sweep.
        """
        return cls(layout)

    async def begin(self) -> None:  # noqa: B027 - not every engine needs it
        """Called once, when the event loop runs, before anything else."""

    def claim(self, wants: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - for engines that claim
        """Take what the cluster needs of this machine, and keep it until `close`.

        Args:
            wants: What the driver asked for.

        Returns:
            What its plan is made from.

        Raises:
            KubernixError: It can't be had.
        """
        return {}

    @abstractmethod
    async def boot(
        self, spec: Mapping[str, Any], *, timeout: float, tell: Callable[[Progress], None]
    ) -> Mapping[str, float]:
        """Boot the cluster and return once it is ready.

        Args:
            spec: What the driver planned, as plain data.
            timeout: Limit in seconds.
            tell: Called with each step.

        Returns:
            Phase → seconds it took.

        Raises:
            KubernixError: It did not come up; `close` is called next.
        """

    @abstractmethod
    async def status(self) -> EngineStatus:
        """What the cluster looks like right now."""

    @abstractmethod
    async def control(self, name: str, action: Action) -> float:
        """Break or mend a component or a node.

        Args:
            name: One of the components of `status`.
            action: What to do.

        Returns:
            When it was in effect, in seconds on the monotonic clock.

        Raises:
            KubernixError: There is no such thing, it is not in a state for that, or it did not come back.
        """

    @abstractmethod
    async def run(self, command: Command) -> CommandResult:
        """Run a command to its end.

        Raises:
            KubernixError: It could not be started, or took too long.
        """

    @abstractmethod
    async def close(self) -> list[str]:
        """End everything, and return when it is gone. Called also when nothing was booted, and more than once.

        Returns:
            What could not be removed, a line each.
        """

    def lower_priority(self, *, low: bool) -> None:  # noqa: B027 - not every engine has processes
        """Give way to other processes, or be as before; called with `low` while the cluster is a spare."""

    @classmethod
    def remove_remains(cls, layout: Layout) -> list[str]:  # noqa: ARG003 - for engines that leave something
        """Remove what a guardian that was killed has left, but for the directory; nothing of the cluster runs.

        Returns:
            What could not be removed, a line each.
        """
        return []


def record(engine: type[Engine]) -> str:
    """How an engine is named in a run directory: where its package is, and "module:Class", on two lines."""
    file = getattr(sys.modules[engine.__module__], "__file__", None) or ""
    home = Path(file).parents[engine.__module__.count(".")] if file else Path()
    return f"{home}\n{engine.__module__}:{engine.__qualname__}"


def load(recorded: str) -> type[Engine]:
    """The engine that was recorded.

    Raises:
        KubernixError: It can't be imported here.
    """
    home, _, name = recorded.rpartition("\n")
    module, _, qualified = name.partition(":")
    if home not in sys.path:
        # Last: what this process has already must not be replaced by it.
        sys.path.append(home)
    try:
        found = getattr(importlib.import_module(module), qualified)
    except (ImportError, AttributeError) as error:
        raise KubernixError(f"the engine {name} can't be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise KubernixError(f"{name} is no engine")
    return found
