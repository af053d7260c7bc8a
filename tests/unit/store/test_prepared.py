"""What prepared data keeps of a cluster's etcd: what every API server of a version writes, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from pytest_kubernix.store.etcd import Entry
from pytest_kubernix.store.prepared import DIGESTS, KEPT, UNFINISHED, PreparedData, _digests, _entries, sweep

OWN = {
    "apiregistration.k8s.io/apiservices/v1.apps": b"kube-aggregator.kubernetes.io/automanaged onstart",
    "clusterroles/cluster-admin": b"kubernetes.io/bootstrapping rbac-defaults",
    "flowschemas/exempt": b"apf.kubernetes.io/autoupdate-spec true",
    "priorityclasses/system-node-critical": b"",
}
FOREIGN = {
    "apiregistration.k8s.io/apiservices/v1.metrics.example": b"",
    "apiregistration.k8s.io/apiservices/v1.example.com": b"kube-aggregator.kubernetes.io/automanaged true",
    "clusterroles/operator": b"",
    "flowschemas/mine": b"",
    "priorityclasses/mine": b"",
}


class Store:
    """An etcd with what a cluster has whose plugins added components."""

    def range(self, prefix: bytes) -> tuple[int, list[Entry]]:
        both = {f"/registry/{name}".encode(): value for name, value in {**OWN, **FOREIGN}.items()}
        entries = [Entry(key, value, 1, 0) for key, value in both.items() if key.startswith(prefix)]
        return 1, entries


def test_what_a_component_made_is_not_kept() -> None:
    """Prepared data, which other suites' clusters start from, has no object of this suite's components."""
    kept = {entry.key.decode().removeprefix("/registry/") for entry in _entries(Store())}  # type: ignore[arg-type]
    assert kept == set(OWN)
    assert all(prefix.startswith(b"/registry/") for prefix in KEPT)


def data(cache: Path) -> tuple[PreparedData, Path]:
    """Prepared data, and where it is."""
    executable = cache / "kubernetes-1" / "kube-apiserver"
    executable.parent.mkdir()
    executable.touch()
    prepared = PreparedData(cache, executable, "1.36.3")
    directory = prepared._directory
    for name in ("member/wal/0.wal", "member/snap/db"):
        path = directory / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode() * 100)
    (directory / DIGESTS).write_text(json.dumps(_digests(directory)))
    return prepared, directory


@pytest.mark.parametrize(
    "damage",
    [
        lambda member: (member / "wal/0.wal").write_bytes(b""),
        lambda member: (member / "snap/db").unlink(),
        lambda member: (member / "snap/db").write_bytes(b"x" + (member / "snap/db").read_bytes()[1:]),
        lambda member: (member / "wal/1.wal").touch(),
        shutil.rmtree,
        lambda member: (member.parent / DIGESTS).unlink(),
        lambda member: (member.parent / DIGESTS).write_text("{"),
        lambda member: member.parent.rename(member.parent.with_suffix(".gone")),
    ],
)
def test_what_is_damaged_is_not_used(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """etcd takes some damage for an empty store, and does not start on other; neither is given to it."""
    prepared, directory = data(tmp_path)
    assert prepared.find() == str(directory)
    damage(directory / "member")
    assert prepared.find() == ""


def test_a_cache_that_was_restored_is_used(tmp_path: Path) -> None:
    """Copied to another place with other times and inodes, prepared data is still its server's."""
    cache, copy = tmp_path / "cache", tmp_path / "copy"
    cache.mkdir()
    data(cache)
    shutil.copytree(cache, copy, copy_function=shutil.copyfile)
    restored = PreparedData(copy, copy / "kubernetes-1" / "kube-apiserver", "1.36.3")
    assert restored.find().startswith(str(copy))
    other = copy / "kubernetes-1" / "kube-apiserver"
    other.write_bytes(b"another build")
    assert PreparedData(copy, other, "1.36.3").find() == ""


def test_what_was_left_half_made_is_swept(tmp_path: Path) -> None:
    """Remains of a process that was killed go; what is being made, and what was made, stays."""
    _, directory = data(tmp_path)
    left, current = (directory.with_name(f"{name}{UNFINISHED}1") for name in (directory.name, "1.33.13-abc"))
    for path in (left, current):
        (path / "data").mkdir(parents=True)
    with FileLock(directory.with_name("1.33.13-abc.lock")):
        assert sweep(tmp_path) == [left]
    assert directory.is_dir()
    assert sweep(tmp_path) == [current]
