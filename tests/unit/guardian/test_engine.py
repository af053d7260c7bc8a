"""A guardian in a process of its own keeps what another engine than the native one runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix import BootError, ClusterConfig, ClusterHandle, ComponentError, KubernixError
from pytest_kubernix.engine import Command, load, record
from pytest_kubernix.guardian.client import GuardianClient
from pytest_kubernix.guardian.joining import Joining
from pytest_kubernix.guardian.listing import running
from pytest_kubernix.guardian.protocol import Control, GetStatus, Keep, Run
from pytest_kubernix.guardian.sweep import sweep
from pytest_kubernix.handle import Action, ComponentState
from pytest_kubernix.layout import Layout
from pytest_kubernix.share import Share

from .remembering import Remembering


class Recipe:
    """How a cluster of that engine is made."""

    engine = Remembering

    def __init__(self, **spec: Any) -> None:
        self.spec = spec
        self.prepared: list[str] = []

    def wants(self) -> Mapping[str, Any]:
        return {}

    def plan(self, layout: Layout, claimed: Mapping[str, Any]) -> tuple[Mapping[str, Any], ClusterHandle]:
        handle = ClusterHandle(
            cluster_id=layout.cluster_id,
            driver="remembering",
            k8s_version="1.36.3",
            server="https://127.0.0.1:1",
            kubeconfig=Path("/nowhere"),
            kubectl=Path("/nowhere"),
            nodes=(),
            run_dir=layout.run_dir,
        )
        return self.spec, handle

    def components(self) -> Mapping[str, str]:
        return {}

    def booted(self, layout: Layout) -> None:
        pass

    def on_ready(self, guardian: GuardianClient, handle: ClusterHandle) -> None:
        self.prepared.append(handle.cluster_id)

    def meanwhile(self) -> None:
        pass


def join(root: Path, recipe: Recipe, *, key: str = "") -> tuple[GuardianClient, ClusterHandle]:
    config = ClusterConfig(k8s_version="1.36.3", nodes=0, root=root)
    return Joining(config, Share(key=key, who=f"me (pid {os.getpid()})"), lambda line: None, recipe).join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the run directories are."""
    return tmp_path / "r"


@pytest.fixture
def guardian(root: Path) -> Iterator[GuardianClient]:
    """A guardian that keeps a cluster of that engine."""
    found, _ = join(root, Recipe())
    yield found
    found.stop()


def test_a_guardian_keeps_what_another_engine_runs(root: Path) -> None:
    """Booted, prepared once, shared, listed, told what to do, and ended: nothing of it is about native clusters."""
    recipe, other = Recipe(), Recipe()
    first, handle = join(root, recipe, key="shared")
    second, again = join(root, other, key="shared")
    assert handle == again
    assert handle.timings == {"Only": 0.5}
    assert (recipe.prepared, other.prepared) == ([handle.cluster_id], [])
    (info,) = running(root)
    assert (info.state, len(info.holders)) == ("ready", 2)
    before = time.monotonic()
    at = second.ask(Control("thing", Action.KILL)).at
    assert before <= at <= time.monotonic()
    assert first.ask(GetStatus()).components == {"thing": ComponentState.DEAD}
    assert first.ask(Run(Command("echo", ("a", "b"), {}, "host", 5))).stdout == "a b"
    first.ask(Keep())
    first.leave()
    second.leave()
    (info,) = running(root)
    assert info.kept
    info.end()
    assert not root.exists()


def test_a_slow_request_holds_up_no_other(guardian: GuardianClient) -> None:
    """While one thread's request takes its time, another's on the same connection are answered at once."""
    slow = guardian.layout.run_dir / "slow"
    slow.touch()
    begun = threading.Event()

    def kill() -> float:
        begun.set()
        return guardian.ask(Control("thing", Action.KILL), timeout=30).at

    with ThreadPoolExecutor() as pool:
        killing = pool.submit(kill)
        assert begun.wait(5)
        try:
            for _ in range(50):
                asked = time.monotonic()
                assert guardian.ask(GetStatus()).components == {"thing": ComponentState.RUNNING}
                assert time.monotonic() - asked < 1
            assert not killing.done()
        finally:
            slow.unlink()
        assert killing.result(10) > asked
    assert guardian.ask(GetStatus()).components == {"thing": ComponentState.DEAD}


def test_errors_keep_their_type_from_the_engine_to_every_holder(root: Path) -> None:
    """The booter and a process that waits get the same BootError, with the component, its reason and its log's end."""
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(join, root, Recipe(fails="it broke"), key="shared") for _ in range(2)]
        for one in both:
            with pytest.raises(BootError) as failure:
                one.result(20)
            assert failure.value.phase == "Only"
            (component,) = failure.value.failures
            assert isinstance(component, ComponentError)
            assert (component.component, component.reason) == ("thing", "it broke")
            assert (component.log_tail, component.log) == ("last words", "/l")


def test_an_error_keeps_its_hint(guardian: GuardianClient) -> None:
    """What the engine says of a way out reaches the test."""
    with pytest.raises(KubernixError) as failure:
        guardian.ask(Control("no-such", Action.KILL))
    assert (failure.value.message, failure.value.hint) == ("no no-such", "there is thing")


def test_what_a_killed_guardian_left_is_removed_by_its_engine(root: Path) -> None:
    """A sweep asks the engine that is named in the run directory, which other processes need not know."""
    guardian, handle = join(root, Recipe())
    os.kill(guardian.connection.guardian, signal.SIGKILL)
    guardian.stop()
    assert (root / "removed").read_text() == handle.cluster_id
    (root / "removed").unlink()
    assert sweep(root) == []


def test_an_engine_that_can_not_be_loaded_is_named(root: Path) -> None:
    """A sweep that can't remove what an unknown engine has left says so, and leaves the directory to find it by."""
    layout = Layout(root / "0123abcd")
    layout.run_dir.mkdir(parents=True)
    layout.engine.write_text("/nowhere\nno_such_module:Engine")
    told: list[str] = []
    assert sweep(root, told.append) == []
    assert "no_such_module:Engine can't be loaded" in told[0]
    assert load(record(Remembering)) is Remembering
