"""Which driver is chosen, and what is said when none is."""

from __future__ import annotations

import pytest

from pytest_kubernix import (
    BootOptions,
    ClusterConfig,
    ConfigError,
    Driver,
    DriverError,
    DriverRegistry,
    KubernixError,
    RunningCluster,
)
from pytest_kubernix.drivers import registry as module


class Some(Driver):
    """A driver that is willing, or has a reason not to be."""

    name = "some"
    reason: KubernixError | None = None

    def check(self, config: ClusterConfig) -> KubernixError | None:
        return self.reason

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        raise NotImplementedError


class Unwilling(Some):
    """Never works here."""

    name = "unwilling"
    reason = DriverError("lacks a kernel", hint="get one")


CONFIG = ClusterConfig(k8s_version="1.36.3")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> DriverRegistry:
    """Without the drivers that this project ships."""
    monkeypatch.setattr(module, "BUILT_IN", {})
    monkeypatch.setattr(module, "AUTO_ORDER", ())
    return DriverRegistry()


def test_auto_takes_the_first_that_works(registry: DriverRegistry) -> None:
    """The order of registration decides, and only drivers that offered themselves are tried."""
    registry.register("hidden", Some)
    registry.register("unwilling", Unwilling, auto=True)
    registry.register("willing", Some, auto=True)
    registry.register("later", Unwilling, auto=True)
    assert type(registry.choose(CONFIG)) is Some
    assert registry.names() == ("auto", "hidden", "unwilling", "willing", "later")


def test_auto_tells_every_reason(registry: DriverRegistry) -> None:
    """When no driver works, each says why."""
    registry.register("one", Unwilling, auto=True)
    registry.register("two", Unwilling, auto=True)
    with pytest.raises(DriverError, match=r"(?s)no driver.*  one: lacks a kernel.*  two: lacks a kernel"):
        registry.choose(CONFIG)


def test_a_lone_reason_is_told_as_it_is(registry: DriverRegistry) -> None:
    """With one driver to try, its own error is raised, with its type and hint."""
    reason = ConfigError("root", "/r", "allowed is a shorter path")

    class Picky(Some):
        """Dislikes the root."""

    Picky.reason = reason
    registry.register("picky", Picky, auto=True)
    with pytest.raises(ConfigError) as raised:
        registry.choose(CONFIG)
    assert raised.value is reason


def test_a_driver_that_was_asked_for_says_why_it_can_not(registry: DriverRegistry) -> None:
    """Choosing by name never falls back to another driver."""
    registry.register("unwilling", Unwilling)
    registry.register("willing", Some, auto=True)
    with pytest.raises(DriverError, match="lacks a kernel\nget one"):
        registry.choose(CONFIG.replace(driver="unwilling"))


def test_an_unknown_driver(registry: DriverRegistry) -> None:
    """The error names the value and what there is."""
    registry.register("some", Some)
    with pytest.raises(DriverError, match=r"^driver=other: allowed is some$"):
        registry.create("other")


@pytest.mark.parametrize("name", ["some", "auto"])
def test_a_name_is_taken_once(registry: DriverRegistry, name: str) -> None:
    """Two plugins can't both be one driver, and none is auto."""
    registry.register("some", Some)
    with pytest.raises(DriverError, match=f"'{name}' is registered already"):
        registry.register(name, Some)


def test_a_driver_by_its_address(registry: DriverRegistry) -> None:
    """A driver may be named as text, and is imported only when it is made."""
    registry.register("lazy", f"{__name__}:Some")
    registry.register("broken", "pytest_kubernix.nowhere:Some")
    registry.register("other", f"{__name__}:Nobody")
    assert type(registry.create("lazy")) is Some
    for name in ("broken", "other"):
        with pytest.raises(DriverError, match=f"driver '{name}' .*can't be imported"):
            registry.create(name)
