"""Clusters that begin with prepared data: what they have, and what their API server does when it is started again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kubernix import Cluster, ClusterFactory
from pytest_kubernix.binaries import Executables
from pytest_kubernix.components.apiserver import ApiServer
from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.drivers.base import BootOptions
from pytest_kubernix.drivers.native import machine
from pytest_kubernix.drivers.native.driver import NativeDriver
from pytest_kubernix.layout import Layout
from pytest_kubernix.plan import ClusterContext, ComponentRegistry
from pytest_kubernix.plan.model import ComponentPlan
from pytest_kubernix.store.etcd import Delete, EtcdClient
from pytest_kubernix.store.prepared import PreparedData

from .pods import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240), pytest.mark.kubernix(nodes=0)]

KINDS = (
    "apiservices,clusterroles,clusterrolebindings,roles,rolebindings,priorityclasses,flowschemas,"
    "prioritylevelconfigurations"
)
HOOKS = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")


def starts(cluster: Cluster) -> list[bool]:
    """Of each start of the API server, whether it left out the two hooks."""
    assert cluster.handle.run_dir
    log = (cluster.handle.run_dir / "logs" / "kube-apiserver.log").read_text()
    return [all(f'prepared data" hook="{hook}"' in part for hook in HOOKS) for part in log.split("Golang settings")[1:]]


def provided(cluster: Cluster) -> dict[str, object]:
    """What the API server itself provides, without what is each object's own: times, UIDs and the like."""
    found: dict[str, object] = {}
    text = cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json").stdout
    for item in json.loads(text)["items"]:
        metadata = item.pop("metadata")
        item.pop("status", None)
        # Put together by a controller, in its time.
        if item.get("aggregationRule"):
            item.pop("rules")
        name = f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        found[name] = (item, metadata.get("labels"), metadata.get("annotations"))
    return found


def lines(cluster: Cluster, path: str, prefix: str = "") -> list[str]:
    """What the API server answers, sorted."""
    answer = cluster.kubectl("get", "--raw", path).stdout
    return sorted(line for line in answer.splitlines() if line.startswith(prefix))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, kubernix_cluster_factory: ClusterFactory) -> Cluster:
    """A cluster whose API server wrote everything itself."""
    with monkeypatch.context() as patch:
        patch.setattr(PreparedData, "find", lambda self: "")
        patch.setattr(PreparedData, "make", lambda self, source, etcd, sockets: None)
        return kubernix_cluster_factory(nodes=0)


@pytest.fixture
def prepared(kubernix: Cluster, kubernix_cluster_factory: ClusterFactory) -> Cluster:
    """A cluster that began with prepared data: the first one of a version, which `kubernix` may be, has left it."""
    return kubernix_cluster_factory(nodes=0)


def test_it_has_what_a_fresh_cluster_has(prepared: Cluster, fresh: Cluster) -> None:
    """Roles, bindings, priority classes and levels and APIServices are those of a cluster that made them itself."""
    assert (starts(fresh), starts(prepared)) == ([False], [True])
    wanted = provided(fresh)
    assert len(wanted) > 150
    assert provided(prepared) == wanted
    for cluster in (fresh, prepared):
        # Allowed by a role of the API server's own alone.
        assert cluster.kubectl("auth", "can-i", "list", "nodes", "--as=system:kube-scheduler").stdout == "yes\n"
        assert {f"[+]poststarthook/{hook} ok" for hook in HOOKS} <= set(lines(cluster, "/readyz?verbose"))


def test_its_api_server_tells_what_every_other_tells(prepared: Cluster, fresh: Cluster) -> None:
    """Health checks and metrics have the same names, and the log begins with the same lines."""
    for path in ("/readyz?verbose", "/livez?verbose", "/healthz?verbose"):
        assert lines(prepared, path) == lines(fresh, path)
    for name in ("kubernetes_feature_enabled", "kubernetes_build_info", "version_info"):
        assert lines(prepared, "/metrics", name) == lines(fresh, "/metrics", name)
    flags = []
    for cluster in (prepared, fresh):
        assert cluster.handle.run_dir
        log = (cluster.handle.run_dir / "logs" / "kube-apiserver.log").read_text()
        flags.append({line.split("FLAG: ")[1].split("=")[0] for line in log.splitlines() if "FLAG: " in line})
        assert "Version: " in log
    # Upstream's command also has the flag that makes it tell its version and end.
    assert flags[1] - flags[0] <= {"--version"}
    assert len(flags[0]) > 100


def test_a_second_start_restores_what_is_missing(prepared: Cluster) -> None:
    """An API server that is started again runs every hook, and brings back what was deleted, as everywhere."""
    before = provided(prepared)
    assert prepared.handle.run_dir
    prepared.kubectl("delete", "clusterrole", "system:node-proxier")
    with contextlib.closing(EtcdClient(Layout(prepared.handle.run_dir).etcd_socket)) as store:
        # By the API it can't be deleted.
        store.apply([Delete(b"/registry/priorityclasses/system-node-critical")])
    eventually(lambda: len(before) - len(provided(prepared)) == 2, what="both to be gone")
    prepared.components["kube-apiserver"].restart()
    eventually(lambda: provided(prepared) == before, what="what was deleted")
    assert starts(prepared) == [True, False]


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda wal: os.truncate(next(wal.iterdir()), 100), None])
def test_what_is_damaged_is_made_anew(
    kubernix: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object] | None
) -> None:
    """Data that is not what was made does neither spoil a cluster nor slow every later one down."""
    config = ClusterConfig.from_json(kubernix.handle.config)

    def boot() -> list[bool]:
        running = NativeDriver().start(config, BootOptions())
        try:
            assert len(provided(Cluster(running))) > 150
            return starts(Cluster(running))
        finally:
            running.destroy()

    def mine(executables: Executables) -> PreparedData:
        return PreparedData(tmp_path, executables["kube-apiserver"], executables.kubernetes_version)

    monkeypatch.setattr(machine, "prepared_data", mine)
    assert boot() == [False]
    (made,) = (path for path in (tmp_path / "etcd").iterdir() if path.is_dir())
    if damage:
        damage(made / "member" / "wal")
    else:
        shutil.rmtree(made)
        made.touch()
    assert boot() == [False]
    assert boot() == [True]


class Wordy(ApiServer):
    """An API server with a setting that a suite gave it."""

    def build(self, ctx: ClusterContext) -> ComponentPlan:
        plan = super().build(ctx)
        return dataclasses.replace(plan, argv=(*plan.argv, "--max-requests-inflight=401"))


def in_its_place(registry: ComponentRegistry) -> None:
    """As the guide says."""
    registry.replace(Wordy())


def in_place(registry: ComponentRegistry) -> None:
    """As it comes to mind."""
    registry["kube-apiserver"].build = Wordy().build  # type: ignore[method-assign]


@pytest.mark.parametrize("change", [in_its_place, in_place])
def test_another_api_server_runs_every_hook(
    prepared: Cluster, change: Callable[[ComponentRegistry], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data of an API server with other settings serves no other cluster, nor does it trust another's."""
    made: list[object] = []
    config = ClusterConfig.from_json(prepared.handle.config)

    def plugins(registry: object, config: ClusterConfig) -> None:
        assert isinstance(registry, ComponentRegistry)
        change(registry)

    running = NativeDriver().start(config, BootOptions(component_plugins=plugins))
    try:
        assert starts(Cluster(running)) == [False]
    finally:
        running.destroy()
    with monkeypatch.context() as patch:
        patch.setattr(PreparedData, "find", lambda self: "")
        patch.setattr(PreparedData, "make", lambda self, source, etcd, sockets: made.append(source))
        NativeDriver().start(config, BootOptions(component_plugins=plugins)).destroy()
        assert not made
        NativeDriver().start(config, BootOptions()).destroy()
        assert made


@pytest.mark.kubernix(nodes=1)
def test_what_is_loaded_early_begins_late(kubernix: Cluster) -> None:
    """What needs the API server is loaded while that starts, and begins once it is ready."""
    events = {(name, what): at for name, what, at in kubernix.diagnostics().timeline}
    ready = events["kube-apiserver", "ready"]
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet/node-1", "kube-proxy/node-1"):
        assert events[name, "spawned"] < ready <= events[name, "let go"] < events[name, "ready"]
