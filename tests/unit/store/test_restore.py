from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from pytest_kubernix.store.etcd import Entry
from pytest_kubernix.store.objects import DELETION_GRACE, METADATA, SPEC, STATUS, UID, parse, uid
from pytest_kubernix.store.restore import Plan, plan
from pytest_kubernix.store.rules import Rules

RULES = Rules(nodes=("node-1",))


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def protobuf(kind: str, ident: str = "u1", *, spec: bytes = b"", status: bytes = b"", dying: bool = False) -> bytes:
    metadata = field(1, b"name") + field(5, ident.encode()) + (field(9, b"\x08\x01") if dying else b"")
    raw = field(METADATA, metadata) + field(SPEC, spec) + field(STATUS, status)
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, raw) + field(3, b"")


def pod(ident: str = "u1", *, node: str = "node-1", phase: str = "Running", dying: bool = False) -> bytes:
    spec = field(1, b"volume") + field(10, node.encode())
    return protobuf("Pod", ident, spec=spec, status=field(1, phase.encode()) + field(9, b"Burstable"), dying=dying)


def state(**values: bytes) -> dict[bytes, Entry]:
    return {
        f"/registry/{key}".encode(): Entry(f"/registry/{key}".encode(), value, 7, 0) for key, value in values.items()
    }


def at(values: Mapping[str, bytes]) -> dict[bytes, Entry]:
    return state(**values)


def written(made: Plan) -> list[str]:
    return [key.decode().removeprefix("/registry/") for key in made.written()]


def test_nothing_changed_means_nothing_to_do() -> None:
    """The same state twice needs no write, whether its values are the same objects or only equal."""
    old, now = at({"configmaps/a/b": b"1"}), at({"configmaps/a/b": b"1"})
    assert not any(plan(old, old, RULES).ranks)
    assert not any(plan(old, now, RULES).ranks)


def test_what_came_goes_and_what_went_or_changed_comes_back() -> None:
    """Created keys are deleted, deleted and changed ones get their old values."""
    old = at({"configmaps/a/went": b"1", "configmaps/a/changed": b"1", "configmaps/a/same": b"1"})
    now = at({"configmaps/a/came": b"1", "configmaps/a/changed": b"2", "configmaps/a/same": b"1"})
    made = plan(old, now, RULES)
    assert [write.key for rank in made.ranks for write in rank.deletes] == [b"/registry/configmaps/a/came"]
    puts = {write.key: write.value for rank in made.ranks for write in rank.puts}
    assert puts == {b"/registry/configmaps/a/went": b"1", b"/registry/configmaps/a/changed": b"1"}


@pytest.mark.parametrize(
    "key",
    [
        "events/default/e",
        "leases/kube-node-lease/node-1",
        "leases/kube-system/apiserver-abc",
        "masterleases/10.0.0.1",
        "peerserverleases/apiserver-abc",
        "csinodes/node-1",
    ],
)
def test_the_clusters_own_is_left_alone(key: str) -> None:
    """Heartbeats and the like are neither restored, nor deleted, nor brought back."""
    for old, now in (({}, {key: b"1"}), ({key: b"1"}, {key: b"2"}), ({key: b"1"}, {})):
        assert written(plan(at(old), at(now), RULES)) == []


@pytest.mark.parametrize(
    "key",
    [
        "leases/kube-node-lease/fake",
        "leases/kube-system/operator",
        "csinodes/fake",
        "ranges/servicenodeports",
        "ipaddresses/10.0.0.5",
        "masterleases-of-somebody/x",
    ],
)
def test_what_only_looks_alike_is_rolled_back(key: str) -> None:
    """A test's own leases and nodes are its work, and what is allocated goes with what it was allocated for."""
    assert written(plan({}, at({key: b"1"}), RULES)) == [key]


def test_events_go_when_asked_for_or_with_their_namespace() -> None:
    """Events of a namespace that goes can't stay, since nothing would ever remove them."""
    now = at({"events/gone/e": b"1", "events/default/e": b"1", "namespaces/gone": b"1"})
    assert written(plan({}, now, RULES)) == ["events/gone/e", "namespaces/gone"]
    assert "events/default/e" in written(plan({}, now, Rules(events=True)))


def test_owners_go_before_what_they_would_replace() -> None:
    """A namespace and a Deployment go before a ReplicaSet, that before its pods, an instance before its CRD."""
    crd = "apiextensions.k8s.io/customresourcedefinitions/w.example.com"
    keys = ["pods/a/p", "replicasets/a/r", "deployments/a/d", "namespaces/a", crd, "example.com/w/a/i"]
    made = plan({}, at(dict.fromkeys(keys, b"1")), RULES)
    ranks = {
        write.key.decode().removeprefix("/registry/"): n for n, rank in enumerate(made.ranks) for write in rank.deletes
    }
    assert ranks["namespaces/a"] == ranks["deployments/a/d"] < ranks["replicasets/a/r"] < ranks["pods/a/p"]
    assert ranks["example.com/w/a/i"] < ranks[crd]


def test_a_pod_and_its_owner_come_back_together() -> None:
    """A ReplicaSet without its pods would make others; pods without their ReplicaSet would be collected."""
    made = plan(at({"pods/a/p": pod(), "replicasets/a/r": b"1", "namespaces/a": b"1"}), {}, RULES)
    ranks = {
        write.key.decode().removeprefix("/registry/"): n for n, rank in enumerate(made.ranks) for write in rank.puts
    }
    assert ranks["namespaces/a"] < ranks["pods/a/p"] == ranks["replicasets/a/r"]


def test_a_pod_that_goes_is_told_to_hurry() -> None:
    """The kubelet learns a short grace before the pod is gone; a pod without a kubelet just goes."""
    made = plan({}, at({"pods/a/real": pod("r"), "pods/a/fake": pod("f", node="elsewhere")}), RULES)
    (mark,) = [write for rank in made.ranks for write in rank.marks]
    marked = parse(mark.value)
    assert marked
    assert mark.key == b"/registry/pods/a/real"
    assert mark.if_revision == 7
    assert marked.inside(METADATA, DELETION_GRACE) == b"\x01"
    assert made.pods == {"node-1": {"r"}}


def test_a_pod_that_ran_comes_back_as_a_new_one() -> None:
    """Its containers are gone, so it has another UID and no status, but all else; one that was over stays over."""
    old = at({"pods/a/ran": pod("u1"), "pods/a/over": pod("u2", phase="Succeeded"), "pods/a/fake": pod(node="x")})
    made = plan(old, {}, RULES)
    values = {write.key: write.value for rank in made.ranks for write in rank.puts}
    assert values[b"/registry/pods/a/over"] == old[b"/registry/pods/a/over"].value
    assert values[b"/registry/pods/a/fake"] == old[b"/registry/pods/a/fake"].value
    ran, was = parse(values[b"/registry/pods/a/ran"]), parse(old[b"/registry/pods/a/ran"].value)
    assert ran
    assert was
    assert ran.inside(METADATA, UID).decode() == made.reborn["u1"] != "u1"
    assert ran.metadata() == was.metadata()
    assert ran.section(SPEC) == was.section(SPEC)
    assert ran.section(STATUS) == field(1, b"Pending") + field(9, b"Burstable")
    again = plan(old, at({"pods/a/ran": values[b"/registry/pods/a/ran"]}), Rules(nodes=("node-1",), reborn=made.reborn))
    assert "pods/a/ran" not in written(again)


def test_a_pod_that_is_ending_is_replaced() -> None:
    """A kubelet can't be called back."""
    made = plan(at({"pods/a/p": pod()}), at({"pods/a/p": pod(dying=True)}), RULES)
    (rank,) = filter(None, made.ranks)
    assert [len(rank.marks), len(rank.deletes), len(rank.puts)] == [1, 1, 1]
    assert uid(rank.puts[0].value) != "u1"


@pytest.mark.parametrize(("key", "kind"), [("minions/node-1", "Node"), ("pods/a/p", "Pod")])
def test_what_kubelets_report_is_theirs(key: str, kind: str) -> None:
    """A status alone is left alone; with another spec, the old spec is put under the present status."""
    node = field(10, b"node-1")
    was = protobuf(kind, spec=node + field(3, b"old"), status=b"")
    reported = protobuf(kind, spec=node + field(3, b"old"), status=field(1, b"Running"))
    assert written(plan(at({key: was}), at({key: reported}), RULES)) == []
    changed = protobuf(kind, spec=node + field(3, b"new"), status=field(1, b"Running"))
    (put,) = [write for rank in plan(at({key: was}), at({key: changed}), RULES).ranks for write in rank.puts]
    assert put.value == reported
    assert put.if_revision == 7


def test_a_status_is_given_up_in_the_end() -> None:
    """What a controller reports again and again stays when nothing else differs."""
    old, now = protobuf("Deployment", status=b"\x08\x01"), protobuf("Deployment", status=b"\x08\x02")
    states = at({"deployments/a/d": old}), at({"deployments/a/d": now})
    assert written(plan(*states, RULES)) == ["deployments/a/d"]
    assert written(plan(*states, Rules(lenient=True))) == []
    custom = [json.dumps({"spec": spec, "status": status}).encode() for spec, status in ((1, 1), (1, 2), (2, 2))]
    one, two, three = (at({"example.com/w/a/i": value}) for value in custom)
    assert written(plan(one, two, Rules(lenient=True))) == []
    assert written(plan(one, three, Rules(lenient=True))) == ["example.com/w/a/i"]


def test_another_object_of_the_same_name_goes_first() -> None:
    """Watchers are told of a deletion and a creation, not of an object that changed its identity."""
    made = plan(
        at({"configmaps/a/b": protobuf("ConfigMap", "u1")}), at({"configmaps/a/b": protobuf("ConfigMap", "u2")}), RULES
    )
    (rank,) = filter(None, made.ranks)
    assert len(rank.deletes) == len(rank.puts) == 1


def test_apiservices_of_crds_are_waited_for() -> None:
    """The API server makes and removes them by itself; only when it does not, they are written."""
    key = "apiregistration.k8s.io/apiservices/v1.example.com"
    value = b'{"metadata":{"labels":{"kube-aggregator.kubernetes.io/automanaged":"true"}}}'
    for old, now in (({}, {key: value}), ({key: value}, {})):
        made = plan(at(old), at(now), RULES)
        assert made.waiting
        assert not any(made.ranks)
        assert written(plan(at(old), at(now), Rules(impatient=True))) == [key]
