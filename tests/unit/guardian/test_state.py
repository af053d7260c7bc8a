"""Which holder plans, boots and prepares a cluster, and what the others get; with callers that only listen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pytest_kubernix.errors import BootError, ComponentError, KubernixError, pack
from pytest_kubernix.guardian import protocol
from pytest_kubernix.guardian.protocol import Attached, Message, PhaseChanged, Stage, StageChanged
from pytest_kubernix.guardian.state import Caller, ClusterState
from pytest_kubernix.handle import ClusterHandle

HANDLE = ClusterHandle(
    cluster_id="x", driver="d", k8s_version="1.2.3", server="s", kubeconfig=Path("k"), kubectl=Path("c"), nodes=()
)
PHASE = PhaseChanged("ControlPlane", 1)
FAILURE = BootError("ControlPlane", [ComponentError("etcd", "exited with code 1", log_tail="last words", log="/l")])


class FakeCaller(Caller):
    """A caller that remembers what it was told."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.heard: list[Message] = []

    def send(self, line: bytes) -> None:
        self.heard.append(protocol.event_of(protocol.parse(line)))


def drive(scenario: Callable[[ClusterState], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(ClusterState()), 10)

    asyncio.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_boots_and_all_get_the_cluster() -> None:
    """Of those that come at once, one plans and boots; all others get the cluster once it is prepared."""

    async def scenario(state: ClusterState) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        assert await state.attach(one) == Attached(Stage.VACANT)
        assert await state.attach(other) == Attached(Stage.VACANT)
        assert state.claim(one)
        assert not state.claim(other)
        waiting = asyncio.ensure_future(state.attach(other))
        state.boot(one)
        await settle()
        state.tell(PHASE)
        state.booted(HANDLE)
        await settle()
        assert not waiting.done(), "it is booted, but not prepared yet"
        state.publish(one)
        assert await waiting == Attached(Stage.READY, HANDLE)
        assert PHASE in other.heard
        assert StageChanged(Stage.BOOTING, "gw0") in other.heard

    drive(scenario)


@pytest.mark.parametrize("when", [Stage.PLANNING, Stage.BOOTING, Stage.BOOTED])
def test_the_next_takes_over_where_it_was_left(when: Stage) -> None:
    """The booter may die: another holder plans, waits for the boot, or prepares, whatever is left to do."""

    async def scenario(state: ClusterState) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        await state.attach(one)
        state.claim(one)
        waiting = asyncio.ensure_future(state.attach(other))
        await settle()
        if when != Stage.PLANNING:
            state.boot(one)
        if when == Stage.BOOTED:
            state.booted(HANDLE)
        await settle()
        state.hung_up(one)
        if when == Stage.PLANNING:
            assert (await waiting).stage == Stage.VACANT
            assert state.claim(other)
            return
        if when == Stage.BOOTING:
            state.booted(HANDLE)
        assert (await waiting).stage == Stage.BOOTED
        state.publish(other)
        assert state.stage == Stage.READY

    drive(scenario)


def test_a_failure_is_the_same_for_all() -> None:
    """A caller that waits, and one that comes later, gets the same error, and none is asked to try again."""

    async def scenario(state: ClusterState) -> None:
        one, other, late = FakeCaller("gw0"), FakeCaller("gw1"), FakeCaller("gw2")
        await state.attach(one)
        state.claim(one)
        waiting = asyncio.ensure_future(state.attach(other))
        await settle()
        state.fail(pack(FAILURE))
        for answer in (waiting, state.attach(late)):
            with pytest.raises(BootError) as failure:
                await answer
            (component,) = failure.value.failures
            assert isinstance(component, ComponentError)
            assert (component.component, component.log_tail) == ("etcd", "last words")

    drive(scenario)


def test_a_cluster_that_is_ready_does_not_fail_any_more() -> None:
    """A late complaint takes no cluster away from tests that run on it."""

    async def scenario(state: ClusterState) -> None:
        one = FakeCaller("gw0")
        await state.attach(one)
        state.claim(one)
        state.boot(one)
        state.booted(HANDLE)
        state.publish(one)
        state.fail(pack(FAILURE))
        assert state.stage == Stage.READY

    drive(scenario)


def test_only_the_booter_publishes() -> None:
    """A holder that was overtaken can't declare ready what another one still prepares."""

    async def scenario(state: ClusterState) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        await state.attach(one)
        state.claim(one)
        state.boot(one)
        state.booted(HANDLE)
        with pytest.raises(KubernixError, match="gw1 can't publish a cluster that is booted: gw0 is in charge of it"):
            state.publish(other)
        assert state.stage == Stage.BOOTED

    drive(scenario)


@pytest.mark.parametrize("when", [Stage.PLANNING, Stage.BOOTING, Stage.BOOTED])
def test_one_that_waits_gives_up_for_itself_alone(when: Stage) -> None:
    """A holder that ran out of patience takes the cluster from no other; the booter's failure is all holders'."""

    async def scenario(state: ClusterState) -> None:
        one, other = FakeCaller("gw0"), FakeCaller("gw1")
        await state.attach(one)
        state.claim(one)
        if when != Stage.PLANNING:
            state.boot(one)
        if when == Stage.BOOTED:
            state.booted(HANDLE)
        state.give_up(other, pack(FAILURE))
        assert state.stage == when
        state.give_up(one, pack(FAILURE))
        assert state.stage == Stage.FAILED

    drive(scenario)
