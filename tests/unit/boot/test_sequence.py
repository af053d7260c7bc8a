from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pytest_kubernix.boot.sequence import run_phases
from pytest_kubernix.errors import BootError, ComponentError
from pytest_kubernix.plan.model import ComponentPlan, Phase

Phases = list[tuple[Phase, list[ComponentPlan]]]


def component(name: str, phase: Phase) -> ComponentPlan:
    return ComponentPlan(name, phase, argv=("/bin/true",))


PHASES: Phases = [
    (Phase.INFRASTRUCTURE, [component("a", Phase.INFRASTRUCTURE), component("b", Phase.INFRASTRUCTURE)]),
    (Phase.CONTROL_PLANE, [component("c", Phase.CONTROL_PLANE), component("d", Phase.CONTROL_PLANE)]),
    (Phase.CONTROLLER, [component("e", Phase.CONTROLLER)]),
]


class Recorder:
    """A launcher that writes down what it was asked, and fails or hangs where told."""

    def __init__(self, fails: Sequence[str] = (), hangs: Sequence[str] = (), stop_problems: Sequence[str] = ()) -> None:
        self.fails = fails
        self.hangs = hangs
        self.stop_problems = list(stop_problems)
        self.early: list[str] = []
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.stopped: list[str] = []
        self.together = 0
        self._running = 0

    def begin(self, component: ComponentPlan) -> None:
        self.early.append(component.name)

    async def start(self, component: ComponentPlan) -> None:
        self.begun.append(component.name)
        self._running += 1
        self.together = max(self.together, self._running)
        try:
            await asyncio.sleep(0)
            if component.name in self.hangs:
                await asyncio.Event().wait()
            if component.name in self.fails:
                raise ComponentError(component.name, "exited with code 1")
        except asyncio.CancelledError:
            self.cancelled.append(component.name)
            raise
        finally:
            self._running -= 1

    async def stop(self, names: Sequence[str]) -> list[str]:
        self.stopped += names
        return self.stop_problems


def boot(launcher: Recorder) -> None:
    asyncio.run(run_phases(PHASES, launcher))


def test_phases_run_in_order_and_members_together() -> None:
    """A phase begins when the one before is ready; its members start side by side."""
    launcher = Recorder()
    boot(launcher)
    assert launcher.begun == ["a", "b", "c", "d", "e"]
    assert launcher.together == 2


def test_who_names_what_it_waits_for_does_not_wait_for_its_phase() -> None:
    """Only components that say what they wait for are let go at once."""
    eager = ComponentPlan("e", Phase.CONTROLLER, argv=("/bin/true",), waits_for=("c",))
    launcher = Recorder()
    asyncio.run(run_phases([*PHASES[:2], (Phase.CONTROLLER, [eager])], launcher))
    assert launcher.early == ["e"]


def test_a_failing_phase_ends_the_boot() -> None:
    """After a failing phase nothing later begins, and what had started is stopped."""
    launcher = Recorder(fails=["c"])
    with pytest.raises(BootError, match="phase ControlPlane failed") as failure:
        boot(launcher)
    assert "e" not in launcher.begun
    assert launcher.stopped == ["a", "b", "d"]
    assert [str(error) for error in failure.value.failures] == ["c: exited with code 1"]


def test_every_failure_of_a_phase_is_told() -> None:
    """Two components that fail in one phase are both in the error."""
    with pytest.raises(BootError) as failure:
        boot(Recorder(fails=["a", "b"]))
    assert "a: exited with code 1" in str(failure.value)
    assert "b: exited with code 1" in str(failure.value)


def test_a_failure_is_not_held_back_by_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that would wait for long is given up soon after another one failed, and is named."""
    monkeypatch.setattr("pytest_kubernix.boot.sequence.GRACE_SECONDS", 0.01)
    launcher = Recorder(fails=["c"], hangs=["d"])
    with pytest.raises(BootError, match="not ready by then either: d") as failure:
        boot(launcher)
    assert launcher.cancelled == ["d"]
    assert "(1 error)" in str(failure.value)


def test_an_interrupted_boot_leaves_nothing_running() -> None:
    """A boot that is cancelled cancels every start that is under way."""

    async def interrupted() -> Recorder:
        launcher = Recorder(hangs=["a", "b"])
        task = asyncio.ensure_future(run_phases(PHASES, launcher))
        while len(launcher.begun) < 2:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return launcher

    assert sorted(asyncio.run(interrupted()).cancelled) == ["a", "b"]


def test_a_stop_that_fails_is_told_too() -> None:
    """What could not be stopped after a failed phase is in the error beside its cause."""
    with pytest.raises(BootError, match="b: still there"):
        boot(Recorder(fails=["c"], stop_problems=["b: still there"]))
