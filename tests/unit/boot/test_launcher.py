"""What a launcher knows of the ends of its components, with processes of this machine and no cluster."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pytest_kubernix.boot.controls import Controls
from pytest_kubernix.boot.launcher import Launcher
from pytest_kubernix.boot.processes import Spawner
from pytest_kubernix.errors import ComponentError
from pytest_kubernix.handle import Action
from pytest_kubernix.layout import Layout
from pytest_kubernix.plan.model import ComponentPlan, Phase, Plan, Probe

# Ready once it listens, unless a file says that it shall fail.
PROGRAM = """
import os, socket, sys, time
where, broken = sys.argv[1:]
if os.path.exists(broken):
    sys.exit("no room")
listener = socket.socket(socket.AF_UNIX)
if os.path.exists(where):
    os.unlink(where)
listener.bind(where)
listener.listen()
time.sleep(600)
"""


def drive(directory: Path, scenario: Callable[[Launcher, ComponentPlan], Awaitable[None]]) -> None:
    where = str(directory / "socket")
    argv = (sys.executable, "-c", PROGRAM, where, str(directory / "broken"))
    component = ComponentPlan("one", Phase.CONTROLLER, argv=argv, ready=(Probe("socket", where),))
    plan = Plan("id", str(directory), (), (), (component,), "https://127.0.0.1:1", "", (), (), stock=True)
    layout = Layout(directory)
    layout.logs.mkdir()

    async def main() -> None:
        spawner = Spawner()
        spawner.watch()
        launcher = Launcher(plan, layout, spawner, 30)
        try:
            await scenario(launcher, component)
        finally:
            await launcher.close()
            spawner.unwatch()

    asyncio.run(main())


def events(launcher: Launcher) -> list[str]:
    return [event.what for event in launcher.timeline]


def test_a_death_by_itself_is_told_once(tmp_path: Path) -> None:
    """What dies after it was ready, and was not asked to, is a death; what a test kills is none."""

    async def scenario(launcher: Launcher, component: ComponentPlan) -> None:
        await launcher.start(component)
        controls = Controls(launcher)
        await controls.apply("one", Action.RESTART)
        assert launcher.deaths == []
        process = launcher.processes["one"]
        process.signal(9)
        await process.exited
        await asyncio.sleep(0)
        assert [death.component for death in launcher.deaths] == ["one"]
        assert launcher.died.result().reason == "killed by SIGKILL on its own, after it had been ready"

    drive(tmp_path, scenario)


def test_a_restart_that_fails_is_no_death_by_itself(tmp_path: Path) -> None:
    """A component that was ready once and does not start again is told by the restart, and on the timeline."""

    async def scenario(launcher: Launcher, component: ComponentPlan) -> None:
        await launcher.start(component)
        (tmp_path / "broken").touch()
        with pytest.raises(ComponentError, match="exited with code 1 before it was ready") as raised:
            await Controls(launcher).apply("one", Action.RESTART)
        assert "no room" in raised.value.log_tail
        assert launcher.deaths == []
        assert events(launcher) == ["awaited", "spawned", "ready", "awaited", "spawned", "died"]

    drive(tmp_path, scenario)


def test_what_dies_before_it_is_awaited_is_on_the_timeline(tmp_path: Path) -> None:
    """A component that began early and died has its end there when it happened, and its error when it is awaited."""

    async def scenario(launcher: Launcher, component: ComponentPlan) -> None:
        (tmp_path / "broken").touch()
        launcher.begin(component)
        while "died" not in events(launcher):  # the test's own limit ends it
            await asyncio.sleep(0.01)
        with pytest.raises(ComponentError, match="exited with code 1"):
            await launcher.start(component)
        assert launcher.deaths == []

    drive(tmp_path, scenario)
