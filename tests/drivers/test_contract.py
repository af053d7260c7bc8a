"""What every driver keeps: the native one, and one of others that has nothing but what the contract demands."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pytest_kubernix import (
    Action,
    BootOptions,
    Cluster,
    ClusterConfig,
    ClusterHandle,
    Driver,
    DriverError,
    KubernixError,
    RunningCluster,
    State,
    Status,
)
from pytest_kubernix.drivers.native.driver import NativeDriver

VERSION = "1.36.3"


class Least(RunningCluster):
    """A cluster somewhere else: no access to its parts."""

    def __init__(self) -> None:
        self.handle = ClusterHandle(
            cluster_id="least",
            driver="least",
            k8s_version=VERSION,
            server="https://127.0.0.1:1",
            kubeconfig=Path("/nowhere/kubeconfig"),
            kubectl=Path("/nowhere/kubectl"),
            nodes=(),
            config=ClusterConfig(k8s_version=VERSION, nodes=0).to_json(),
        )
        self._state = State.READY

    def status(self) -> Status:
        return Status(self._state)

    def load_image(self, archive: str) -> Sequence[str]:
        raise KubernixError(f"driver least can't load {archive}")

    def destroy(self) -> None:
        self._state = State.STOPPED


class LeastDriver(Driver):
    """Makes them."""

    name = "least"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        return DriverError(f"nodes={config.nodes}: least has none") if config.nodes else None

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        if problem := self.check(config):
            raise problem
        cluster = Least()
        options.on_ready(cluster)
        return cluster


@pytest.fixture(scope="module", params=["least", pytest.param("native", marks=pytest.mark.cluster)])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver in turn."""
    return {"least": LeastDriver, "native": NativeDriver}[request.param]()


@pytest.fixture(scope="module")
def config() -> Iterator[ClusterConfig]:
    """A control plane, in a root of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        yield ClusterConfig(k8s_version=VERSION, nodes=0, root=Path(scratch) / "r")


@pytest.fixture(scope="module")
def prepared() -> list[RunningCluster]:
    """What `BootOptions.on_ready` was called with."""
    return []


@pytest.fixture(scope="module")
def running(driver: Driver, config: ClusterConfig, prepared: list[RunningCluster]) -> Iterator[RunningCluster]:
    """A cluster of that driver."""
    prepared.clear()
    cluster = driver.start(config, BootOptions(on_ready=prepared.append))
    yield cluster
    cluster.destroy()


def test_it_says_what_it_can_not_make_and_starts_nothing(driver: Driver, config: ClusterConfig) -> None:
    """`check` of what can be made is None, and looking at it leaves nothing behind."""
    assert driver.check(config) is None
    assert config.root
    assert not config.root.exists()


def test_a_cluster_is_ready_and_was_prepared_once(
    driver: Driver, config: ClusterConfig, running: RunningCluster, prepared: list[RunningCluster]
) -> None:
    """What `start` returns is ready, and its plugins saw it before, once."""
    assert running.status().state is State.READY
    assert [cluster.handle.cluster_id for cluster in prepared] == [running.handle.cluster_id]
    assert running.handle.driver == driver.name
    assert ClusterConfig.from_json(running.handle.config).nodes == config.nodes


def test_its_handle_crosses_a_process_boundary(running: RunningCluster) -> None:
    """A handle is plain data: written and read, it is the same."""
    text = json.dumps(running.handle.to_json())
    assert ClusterHandle.from_json(json.loads(text)) == running.handle


CALLS: dict[str, Callable[[RunningCluster], object]] = {
    "components": lambda running: Cluster(running).components["no-such"],
    "control": lambda running: running.control("no-such", Action.KILL),
    "load_image": lambda running: Cluster(running).load_image("no-such.tar"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_what_it_can_not_do_is_an_error_of_ours(
    running: RunningCluster, call: Callable[[RunningCluster], object]
) -> None:
    """A part that is not there, or a thing that this driver can't do, is a KubernixError, never a crash."""
    with pytest.raises(KubernixError):
        call(running)


def test_capabilities_are_kept(running: RunningCluster) -> None:
    """Who claims the capability "etcd" has a socket there; who does not, says so."""
    if "etcd" in running.handle.capabilities:
        assert running.etcd().is_socket()
    else:
        with pytest.raises(KubernixError, match="no access to the etcd"):
            running.etcd()


def test_stopping_twice_is_no_error(driver: Driver, config: ClusterConfig) -> None:
    """A cluster may be stopped by a test and once more by the session, and leaves nothing."""
    cluster = driver.start(config, BootOptions())
    cluster.destroy()
    cluster.destroy()
    run_dir = cluster.handle.run_dir
    assert run_dir is None or not run_dir.exists()
