from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pytest_kubernix.errors import BootError, ConfigError, KubernixError
from pytest_kubernix.guardian import protocol as wire
from pytest_kubernix.guardian.state import Caller, Life

ERROR = {"kind": "other", "message": "it broke", "hint": ""}


class FakeCaller(Caller):
    """A caller that remembers what it was sent."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.heard: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.heard.append(message)


def drive(scenario: Callable[[Life], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(Life()), 10)

    asyncio.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_is_in_charge_and_all_get_the_cluster() -> None:
    """Of those who come at once, one plans and boots; all others get the cluster once it is prepared."""

    async def scenario(life: Life) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        assert (await life.attach(one))["state"] == "vacant"
        assert (await life.attach(other))["state"] == "vacant"
        assert life.take_charge(one)
        assert not life.take_charge(other)
        waiting = asyncio.ensure_future(life.attach(other))
        life.begin(one)
        await settle()
        life.tell({"event": "phase"})
        life.booted({"id": "x"})
        await settle()
        assert not waiting.done(), "it is booted, but not prepared yet"
        life.publish(one)
        assert await waiting == {"state": "ready", "handle": {"id": "x"}}
        assert {"event": "phase"} in other.heard
        assert {"event": "state", "state": "booting", "charge": "gw0"} in other.heard

    drive(scenario)


@pytest.mark.parametrize("when", ["planning", "booting", "booted"])
def test_the_next_takes_over_where_it_was_left(when: str) -> None:
    """Whoever is in charge may die: another one plans, waits for the boot, or prepares, whatever is left to do."""

    async def scenario(life: Life) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        await life.attach(one)
        life.take_charge(one)
        waiting = asyncio.ensure_future(life.attach(other))
        await settle()
        if when != "planning":
            life.begin(one)
        if when == "booted":
            life.booted({"id": "x"})
        await settle()
        life.hung_up(one)
        if when == "planning":
            assert (await waiting)["state"] == "vacant"
            assert life.take_charge(other)
            return
        if when == "booting":
            life.booted({"id": "x"})
        assert (await waiting)["state"] == "booted"
        life.publish(other)
        assert life.state == "ready"

    drive(scenario)


def test_a_failure_is_everybodys() -> None:
    """Who waits, and who comes later, gets the same error, and nobody is asked to try again."""

    async def scenario(life: Life) -> None:
        one, other, late = FakeCaller("gw0"), FakeCaller("gw1"), FakeCaller("gw2")
        await life.attach(one)
        life.take_charge(one)
        waiting = asyncio.ensure_future(life.attach(other))
        await settle()
        life.fail(ERROR)
        assert await waiting == {"error": ERROR}
        assert await life.attach(late) == {"error": ERROR}

    drive(scenario)


def test_a_cluster_that_is_ready_does_not_fail_any_more() -> None:
    """A late complaint takes no cluster away from tests that run on it."""

    async def scenario(life: Life) -> None:
        one = FakeCaller("gw0")
        await life.attach(one)
        life.take_charge(one)
        life.begin(one)
        life.booted({})
        life.publish(one)
        life.fail(ERROR)
        assert life.state == "ready"

    drive(scenario)


def test_only_who_is_in_charge_publishes() -> None:
    """Somebody who was overtaken can't declare ready what another one still prepares."""

    async def scenario(life: Life) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        await life.attach(one)
        life.take_charge(one)
        life.begin(one)
        life.booted({})
        life.publish(other)
        assert life.state == "booted"

    drive(scenario)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("cidr", "10.0.0.0/16", "allowed is a free network"),
        BootError("ControlPlane", [KubernixError("a"), KubernixError("b")], logs="/kept"),
        KubernixError("message", hint="hint"),
    ],
)
def test_errors_survive_the_socket(error: KubernixError) -> None:
    """An error that another process raised reads the same here, and is of the kind that users catch."""
    again = wire.unpack(wire.pack(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
