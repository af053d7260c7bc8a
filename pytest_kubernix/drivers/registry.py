"""DriverRegistry: which drivers there are, by name, and which of them serves a configuration.
The table below is all that this project ships; the others come through `pytest_kubernix_drivers`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from ..errors import DriverError, KubernixError

if TYPE_CHECKING:
    from ..config import ClusterConfig
    from .base import Driver

# "package.module:Class" is imported only once that driver is needed: naming drivers must cost nothing.
Factory: TypeAlias = "str | Callable[[], Driver]"

AUTO = "auto"

BUILT_IN: dict[str, str] = {
    "native": "pytest_kubernix.drivers.native.driver:NativeDriver",
}

# What "auto" tries, best first.
AUTO_ORDER: tuple[str, ...] = ("native",)


class DriverRegistry:
    """The drivers of one session, by the name that users type."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = dict(BUILT_IN)
        self._auto = list(AUTO_ORDER)

    def register(self, name: str, factory: Factory, *, auto: bool = False) -> None:
        """Add a driver.

        Args:
            name: What users type after `--kubernix-driver=`.
            factory: The driver's class, any callable that returns a `Driver`, or "package.module:name".
            auto: Whether "auto" may choose it, after those that it knows already.

        Raises:
            DriverError: The name is taken.
        """
        if name == AUTO or name in self._factories:
            raise DriverError(f"driver {name!r} is registered already", hint=f"Taken names: {self.allowed()}")
        self._factories[name] = factory
        if auto:
            self._auto.append(name)

    def names(self) -> tuple[str, ...]:
        """What users may type, in the order of registration; "auto" comes first."""
        return (AUTO, *self._factories)

    def allowed(self) -> str:
        """The names as a phrase, for messages."""
        return " or ".join(self.names())

    def create(self, name: str) -> Driver:
        """A new driver of that name. Starts nothing.

        Raises:
            DriverError: There is no such driver ("auto" is none: `choose` settles it), or no such module.
        """
        factory = self._factories.get(name)
        if factory is None:
            raise DriverError(f"driver={name}: allowed is {' or '.join(self._factories)}")
        if isinstance(factory, str):
            module, _, attribute = factory.partition(":")
            try:
                factory = getattr(importlib.import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise DriverError(f"driver {name!r} ({module}:{attribute}) can't be imported: {error}") from error
        driver: Driver = factory()
        return driver

    def choose(self, config: ClusterConfig) -> Driver:
        """The driver that makes clusters of this configuration on this machine. Starts nothing.

        Raises:
            KubernixError: The driver that was asked for says why it can't; with "auto", the only one that
                there is to try.
            DriverError: The driver is unknown; or, with "auto", none of several can, and each says why.
        """
        if config.driver != AUTO:
            driver = self.create(config.driver)
            problem = driver.check(config)
            if problem is not None:
                raise problem
            return driver
        problems: dict[str, KubernixError] = {}
        for name in self._auto:
            driver = self.create(name)
            problem = driver.check(config)
            if problem is None:
                return driver
            problems[name] = problem
        if len(problems) == 1:
            # One reason needs no list around it, and keeps its own type and hint.
            raise next(iter(problems.values()))
        reasons = "\n".join(f"  {name}: {problem}" for name, problem in problems.items())
        raise DriverError(f"driver=auto: no driver can make this cluster here\n{reasons}")
