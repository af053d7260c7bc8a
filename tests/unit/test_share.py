from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix.config import ClusterConfig
from pytest_kubernix.guardian.listing import difference
from pytest_kubernix.share import Share, named, share_of


def worker(number: int, run: str = "abc", **more: Any) -> dict[str, Any]:
    return {"workerid": f"gw{number}", "testrunuid": run, "kubernix_controller": os.getppid(), **more}


def test_workers_of_one_run_meet() -> None:
    """All workers of a run arrive at one cluster, workers of another run at another."""
    first, second = (share_of(worker(number), scope="session").meeting(None) for number in (0, 1))
    assert first.cluster_id == second.cluster_id != ""
    assert first.who != second.who
    assert share_of(worker(0, run="xyz"), scope="session").meeting(None).cluster_id != first.cluster_id


def test_configurations_are_apart() -> None:
    """Two configurations of one run are two clusters; asking for one twice is one."""
    share = share_of(worker(0), scope="session")
    one, other = share.of("digest1", changed=False), share.of("digest2", changed=True)
    assert one.meeting(None).cluster_id != other.meeting(None).cluster_id
    assert one.meeting(None) == share.of("digest1", changed=False).meeting(None)


@pytest.mark.parametrize("share", [share_of(None, scope="session"), share_of(worker(0), scope="worker")])
def test_who_is_alone_meets_nobody(share: Share) -> None:
    """Without workers, and with scope=worker, a cluster is one process's own."""
    assert share.of("digest", changed=False).meeting(None).cluster_id == ""


def test_a_private_cluster_is_nobody_elses() -> None:
    """What the factory makes for one caller is not met by others, named run or not."""
    assert share_of(worker(0), scope="session").alone().meeting(None).cluster_id == ""
    assert named("dev", "me").alone().meeting(None).cluster_id == ""


def test_only_a_controller_of_this_machine_is_watched() -> None:
    """A worker whose controller is not its parent (a remote one) has none that a guardian could watch."""
    assert share_of(worker(0), scope="session").controller == os.getppid()
    assert share_of(worker(0, kubernix_controller=1_000_000), scope="session").controller == 0
    assert share_of(worker(0, kubernix_controller=0), scope="session").controller == 0


def test_a_name_leads_to_one_cluster_from_everywhere() -> None:
    """Every run, and the command line, find a named cluster; other configurations have names of their own."""
    from_run = share_of(worker(0), scope="session", reuse="dev").of("digest", changed=False)
    assert from_run.meeting(None).cluster_id == named("dev", "the command line").meeting(None).cluster_id
    assert from_run.meeting(None).name == "dev"
    changed = share_of(worker(0), scope="session", reuse="dev").of("digest", changed=True)
    assert changed.meeting(None).name == "dev-digest"
    alone = [share_of(worker(number), scope="worker", reuse="dev").meeting(None) for number in (0, 1)]
    assert [meeting.name for meeting in alone] == ["dev-gw0", "dev-gw1"]


def test_differences_are_told_with_both_values() -> None:
    """A setting that differs is told; one that leaves the choice open, or only says how to boot, is not."""
    there = ClusterConfig(k8s_version="1.36.3", nodes=1, cidr="10.10.0.0/16", boot_timeout=30).to_json()
    assert difference(ClusterConfig(k8s_version="1.36.3", nodes=1), there) == []
    assert difference(ClusterConfig(k8s_version="1.35.4", nodes=2), there) == [
        "k8s_version: 1.36.3 there, 1.35.4 asked for",
        "nodes: 1 there, 2 asked for",
    ]
    assert difference(ClusterConfig(k8s_version="1.36.3", cidr="10.20.0.0/16"), there) == [
        "cidr: 10.10.0.0/16 there, 10.20.0.0/16 asked for"
    ]


def test_names_of_one_root_mean_nothing_in_another(tmp_path: Path) -> None:
    """A name in one root is another cluster in another: what they have on the machine is called by their ids."""
    ids = {named("dev", "me").meeting(root).cluster_id for root in (None, tmp_path / "one", tmp_path / "two")}
    assert len(ids) == 3
    (tmp_path / "same").symlink_to(tmp_path / "one")
    one, same = (named("dev", "me").meeting(tmp_path / name) for name in ("one", "same"))
    assert one == same
