from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.guardian.listing import difference
from pytest_kubernix.handle import ClusterHandle
from pytest_kubernix.share import Share, named, share_of


def worker(number: int, run: str = "abc", **more: Any) -> dict[str, Any]:
    return {"workerid": f"gw{number}", "testrunuid": run, "kubernix_controller": os.getppid(), **more}


def handle(config: ClusterConfig, **components: str) -> ClusterHandle:
    return ClusterHandle(
        cluster_id="a1b2c3d4",
        driver="native",
        k8s_version=config.k8s_version,
        server="https://127.0.0.1:1",
        kubeconfig=Path("/nowhere"),
        kubectl=Path("/nowhere"),
        nodes=(),
        config=config.to_json(),
        components=components,
    )


def test_workers_of_one_run_meet() -> None:
    """All workers of a run arrive at one cluster, workers of another run at another."""
    first, second = (share_of(worker(number), scope="session") for number in (0, 1))
    assert first.cluster_id(None) == second.cluster_id(None) != ""
    assert first.who != second.who
    assert share_of(worker(0, run="xyz"), scope="session").cluster_id(None) != first.cluster_id(None)


def test_configurations_are_apart() -> None:
    """Two configurations of one run are two clusters; asking for one twice is one."""
    share = share_of(worker(0), scope="session")
    one, other = share.of("digest1", changed=False), share.of("digest2", changed=True)
    assert one.cluster_id(None) != other.cluster_id(None)
    assert one == share.of("digest1", changed=False)


@pytest.mark.parametrize("share", [share_of(None, scope="session"), share_of(worker(0), scope="worker")])
def test_who_is_alone_meets_nobody(share: Share) -> None:
    """Without workers, and with scope=worker, a cluster is one process's own."""
    assert share.of("digest", changed=False).cluster_id(None) == ""


def test_a_private_cluster_is_nobody_elses() -> None:
    """What the factory makes for one caller is not met by others, named run or not."""
    assert share_of(worker(0), scope="session").alone().cluster_id(None) == ""
    assert named("dev", "me").alone().cluster_id(None) == ""


def test_only_a_controller_of_this_machine_is_watched() -> None:
    """A worker whose controller is not its parent (a remote one) has none that a guardian could watch."""
    assert share_of(worker(0), scope="session").controller == os.getppid()
    assert share_of(worker(0, kubernix_controller=1_000_000), scope="session").controller == 0
    assert share_of(worker(0, kubernix_controller=0), scope="session").controller == 0


def test_a_name_leads_to_one_cluster_from_everywhere() -> None:
    """Every run, and the command line, find a named cluster; other configurations have names of their own."""
    from_run = share_of(worker(0), scope="session", reuse="dev").of("digest", changed=False)
    assert from_run.cluster_id(None) == named("dev", "the command line").cluster_id(None)
    assert from_run.name == "dev"
    changed = share_of(worker(0), scope="session", reuse="dev").of("digest", changed=True)
    assert changed.name == "dev-digest"
    alone = [share_of(worker(number), scope="worker", reuse="dev") for number in (0, 1)]
    assert [share.name for share in alone] == ["dev-gw0", "dev-gw1"]


def test_differences_are_told_with_both_values() -> None:
    """A setting that differs is told; one that leaves the choice open, or only says how to boot, is not."""
    there = handle(ClusterConfig(k8s_version="1.36.3", nodes=1, cidr="10.10.0.0/16", boot_timeout=30))
    assert difference(ClusterConfig(k8s_version="1.36.3", nodes=1), {}, there) == []
    assert difference(ClusterConfig(k8s_version="1.35.4", nodes=2), {}, there) == [
        "k8s_version: 1.36.3 there, 1.35.4 asked for",
        "nodes: 1 there, 2 asked for",
    ]
    assert difference(ClusterConfig(k8s_version="1.36.3", cidr="10.20.0.0/16"), {}, there) == [
        "cidr: 10.10.0.0/16 there, 10.20.0.0/16 asked for"
    ]


def test_components_that_plugins_make_are_compared() -> None:
    """A suite does not get a cluster that lacks its components, has others, or runs them otherwise."""
    config = ClusterConfig(k8s_version="1.36.3")
    there = handle(config, metrics="aa", proxy="bb")
    assert difference(config, {"metrics": "aa", "proxy": "bb"}, there) == []
    assert difference(config, {"metrics": "cc", "mine": "dd"}, there) == [
        "component metrics: would run otherwise than it does there",
        "component mine: not as a plugin of this suite makes it (pytest_kubernix_components)",
        "component proxy: added or changed there by a plugin that this suite does not have",
    ]


def test_names_of_one_root_mean_nothing_in_another(tmp_path: Path) -> None:
    """A name in one root is another cluster in another: what they have on the machine is called by their ids."""
    ids = {named("dev", "me").cluster_id(root) for root in (None, tmp_path / "one", tmp_path / "two")}
    assert len(ids) == 3
    (tmp_path / "same").symlink_to(tmp_path / "one")
    one, same = (named("dev", "me").cluster_id(tmp_path / name) for name in ("one", "same"))
    assert one == same
