"""What prepared data keeps of a cluster's etcd: what every API server of a version writes, and nothing else."""

from __future__ import annotations

from pytest_kubernix.store.client import Entry
from pytest_kubernix.store.prepared import KEPT, _entries

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
