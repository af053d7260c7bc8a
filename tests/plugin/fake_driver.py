"""A conftest for tests of the plugin's plumbing: a driver that starts nothing and writes down what it is asked.
Real clusters are tested in tests/integration; here it only matters who is asked what, and when.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_kubernix import (
    BootError,
    BootOptions,
    Cluster,
    ClusterConfig,
    ClusterHandle,
    ComponentError,
    ConfigError,
    Driver,
    DriverError,
    DriverRegistry,
    KubernixError,
    RunningCluster,
    State,
    Status,
)

EVENTS = Path(__file__).with_name("events.txt")


def tell(event: str) -> None:
    """Write down what happened; a file, because it may happen in another process."""
    with EVENTS.open("a", encoding="utf-8") as file:
        file.write(f"{event}\n")


def fails(what: str) -> bool:
    """Whether the test wants this step to fail."""
    return os.environ.get("FAKE_FAILS") == what


class FakeCluster(RunningCluster):
    """Looks like a cluster from outside."""

    def __init__(self, config: ClusterConfig) -> None:
        self.handle = ClusterHandle(
            cluster_id=config.digest(),
            driver="fake",
            k8s_version=config.k8s_version,
            server="https://127.0.0.1:1",
            kubeconfig=Path("/nowhere/kubeconfig"),
            kubectl=Path("/nowhere/kubectl"),
            nodes=tuple(f"node-{number + 1}" for number in range(config.nodes)),
            config=config.to_json(),
            capabilities=("nodes",) if config.nodes else (),
        )
        self.name = f"{config.k8s_version}/{config.nodes}"

    def status(self) -> Status:
        return Status(State.READY)

    def load_image(self, archive: str) -> Sequence[str]:
        return (archive,)

    def keep(self) -> None:
        tell(f"keep {self.name}")

    def destroy(self) -> None:
        tell(f"stop {self.name}")
        if fails("stop"):
            raise KubernixError(f"{self.name} would not stop")


class FakeDriver(Driver):
    """Starts nothing."""

    name = "fake"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        if fails("check"):
            return DriverError("no fake clusters on this machine")
        if fails("root"):
            return ConfigError("root", config.root, "allowed is a shorter path")
        return None

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        tell(f"start {config.k8s_version}/{config.nodes}")
        (options.component_plugins or (lambda *_: None))(None, config)
        options.progress("the fake phase is ready")
        if fails("boot"):
            problem = ComponentError("fake-apiserver", "exited with code 1", log_tail="the last line", log="/l")
            raise BootError("ControlPlane", [problem], logs="/nowhere/logs")
        cluster = FakeCluster(config)
        try:
            options.on_ready(cluster)
        except BaseException:
            cluster.destroy()
            raise
        return cluster


def pytest_kubernix_drivers(registry: DriverRegistry) -> None:
    registry.register("fake", FakeDriver)


def pytest_kubernix_components(config: ClusterConfig) -> None:
    tell(f"components {config.k8s_version}/{config.nodes}")


def pytest_kubernix_cluster_ready(cluster: Cluster) -> None:
    tell(f"ready {cluster.version}/{len(cluster.nodes)}")
    if fails("ready"):
        raise RuntimeError("the ready hook failed")


def pytest_kubernix_cluster_stopping(cluster: Cluster) -> None:
    tell(f"stopping {cluster.version}/{len(cluster.nodes)}")


@pytest.fixture
def made_for(kubernix: Cluster) -> str:
    """Which cluster the test got."""
    return f"{kubernix.version}/{len(kubernix.nodes)}"
