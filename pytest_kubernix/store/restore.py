"""What has to be written so that etcd holds again what it held: pure, from the old state and the present one.
What is left alone, and in which order the rest is put back, is in `rules.py`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from .etcd import Delete, Entry, Put
from .objects import (
    DELETION_TIMESTAMP,
    METADATA,
    NODE_NAME,
    PHASE,
    SPEC,
    STATUS,
    StoredObject,
    parse,
    uid,
    without_status,
)
from .rules import (
    API_SERVICES,
    AUTOMANAGED,
    CRDS,
    DELETE_RANKS,
    DERIVED,
    EVENTS,
    NAMESPACES,
    NODES,
    OTHER_PUT_RANK,
    POD_GRACE,
    PODS,
    PREFIX,
    PUT_RANKS,
    RANKS,
    TERMINAL,
    WITH_STATUS,
    Rules,
    rank_of,
)


@dataclass
class Rank:
    """What is written together, in this order.

    Attributes:
        marks: Pods that are about to be deleted, with the time that they have for it.
        deletes: Keys that go.
        puts: Keys that are written.
    """

    marks: list[Put] = field(default_factory=list)
    deletes: list[Delete] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.marks or self.deletes or self.puts)


@dataclass
class Plan:
    """What is to be done.

    Attributes:
        ranks: In order.
        waiting: Keys that the API server itself is about to make or remove.
        pods: Node → UIDs of pods there that come or go.
        reborn: UID of a pod whose containers are gone → that of the pod that takes its place.
    """

    ranks: list[Rank] = field(default_factory=lambda: [Rank() for _ in range(RANKS)])
    waiting: list[bytes] = field(default_factory=list)
    pods: dict[str, set[str]] = field(default_factory=dict)
    reborn: dict[str, str] = field(default_factory=dict)

    def written(self) -> list[bytes]:
        """What it writes."""
        return sorted({write.key for rank in self.ranks for some in (rank.deletes, rank.puts) for write in some})


def plan(old: Mapping[bytes, Entry], now: Mapping[bytes, Entry], rules: Rules) -> Plan:
    """What leads from `now` to `old`.

    Args:
        old: Every key below /registry/ as it was.
        now: The same as it is.
        rules: What is left alone.
    """
    made = Plan()
    gone_namespaces = set()
    changed = [key for key, entry in now.items() if old.get(key) is not entry]
    for key in changed:
        if key in old or rules.left_alone(key):
            continue
        if _waits(now[key], made, rules):
            continue
        _remove(now[key], made, rules)
        if key.startswith(PREFIX + NAMESPACES):
            gone_namespaces.add(key.rpartition(b"/")[2])
    for key in changed:
        if key in old and not rules.left_alone(key) and old[key].value != now[key].value:
            _restore(old[key], now[key], made, rules)
    for key, entry in old.items():
        if key not in now and not rules.left_alone(key) and not _waits(entry, made, rules):
            _bring_back(entry, made, rules)
    if gone_namespaces and not rules.events:
        # Those would be listed although nothing could ever remove them but their age.
        rank = made.ranks[rank_of(PREFIX + EVENTS, DELETE_RANKS, 0)]
        rank.deletes += [Delete(key) for key in changed if _event_of(key) in gone_namespaces]
    return made


def _waits(entry: Entry, made: Plan, rules: Rules) -> bool:
    """Whether the API server sees to this one itself, as soon as it has seen what a CRD has become."""
    if rules.impatient or not entry.key.startswith(PREFIX + API_SERVICES) or AUTOMANAGED not in entry.value:
        return False
    made.waiting.append(entry.key)
    return True


def _remove(entry: Entry, made: Plan, rules: Rules, ranks: Mapping[bytes, int] = DELETE_RANKS) -> None:
    rank = made.ranks[rank_of(entry.key, ranks, 0)]
    rank.deletes.append(Delete(entry.key))
    if found := _pod_on(entry, rules):
        # The kubelet takes from this how long a container may take to end.
        rank.marks.append(Put(entry.key, found.dying(POD_GRACE).encode(), if_revision=entry.mod_revision))
        made.pods.setdefault(_node(found), set()).add(uid(entry.value))


def _bring_back(old: Entry, made: Plan, rules: Rules) -> None:
    # A lease of etcd may be over by now, so what had one (an event) comes back without.
    value = old.value
    found = _pod_on(old, rules)
    if found and found.inside(STATUS, PHASE) not in TERMINAL:
        # The kubelet has ended its containers, or will, and starts none for the same UID as long as it knows it.
        new_uid = str(uuid.uuid4())
        made.reborn[uid(old.value)] = new_uid
        made.pods.setdefault(_node(found), set()).add(new_uid)
        value = found.reborn(new_uid).encode()
    made.ranks[rank_of(old.key, PUT_RANKS, OTHER_PUT_RANK)].puts.append(Put(old.key, value))


def _restore(old: Entry, now: Entry, made: Plan, rules: Rules) -> None:
    rank = made.ranks[rank_of(old.key, PUT_RANKS, OTHER_PUT_RANK)]
    before, after = uid(old.value), uid(now.value)
    if before and after and after not in (before, rules.reborn.get(before)):
        # Another object of that name.
        _remove(now, made, rules, PUT_RANKS)
        _bring_back(old, made, rules)
        return
    if _owned_status(now, rules):
        was, has = parse(old.value), parse(now.value)
        assert was
        assert has
        if was.kind == "Pod" and _is_dying(has) and not _is_dying(was):
            # A kubelet can't be called back from ending a pod.
            _remove(now, made, rules, PUT_RANKS)
            _bring_back(old, made, rules)
        elif was.metadata() != has.metadata() or _spec(was) != _spec(has):
            value = was.replacing(STATUS, has)
            if before != after:
                value = value.reborn(after).replacing(STATUS, has)
            # The kubelet may be writing at this moment.
            rank.puts.append(Put(old.key, value.encode(), if_revision=now.mod_revision))
        return
    if rules.lenient:
        if old.key.removeprefix(PREFIX).startswith(DERIVED):
            return
        if without_status(old.value, WITH_STATUS) == without_status(now.value, WITH_STATUS):
            return
    rank.puts.append(Put(old.key, old.value))


def _owned_status(now: Entry, rules: Rules) -> bool:
    if now.key.startswith(PREFIX + NODES):
        return now.key.rpartition(b"/")[2].decode() in rules.nodes
    return _pod_on(now, rules) is not None


def _pod_on(entry: Entry, rules: Rules) -> StoredObject | None:
    """The pod, if it is one on a node that really runs."""
    if not entry.key.startswith(PREFIX + PODS):
        return None
    found = parse(entry.value)
    return found if found and _node(found) in rules.nodes else None


def _node(pod: StoredObject) -> str:
    return pod.inside(SPEC, NODE_NAME).decode()


def _is_dying(found: StoredObject) -> bool:
    return bool(found.inside(METADATA, DELETION_TIMESTAMP))


def _spec(found: StoredObject) -> bytes:
    """The spec without what the scheduler adds: a pod that waited for a node then need not be taken from it."""
    if found.kind != "Pod":
        return found.section(SPEC)
    return found.without(SPEC, NODE_NAME)


def _event_of(key: bytes) -> bytes | None:
    """The namespace of an event, or None."""
    return key.split(b"/")[3] if key.startswith(PREFIX + EVENTS) else None


def pods_there(state: Mapping[bytes, Entry]) -> set[str]:
    """The UIDs of all pods."""
    return {uid(entry.value) for key, entry in state.items() if key.startswith(PREFIX + PODS)}


def is_crd(key: bytes) -> bool:
    """Whether a key is a CustomResourceDefinition's."""
    return key.startswith(PREFIX + CRDS)


def crd_resource(value: bytes) -> tuple[str, str]:
    """Group and plural of a CustomResourceDefinition."""
    spec = json.loads(value)["spec"]
    return str(spec["group"]), str(spec["names"]["plural"])


def custom_path(name: str, *states: Mapping[bytes, Entry]) -> str:
    """The API path of a custom resource, or "" when none of the states has its definition.

    Args:
        name: Its name below /registry/, such as "example.com/widgets".
        states: Where to look for the definition.
    """
    group, _, plural = name.partition("/")
    key = PREFIX + CRDS + f"{plural}.{group}".encode()
    for state in states:
        if key in state:
            versions = json.loads(state[key].value)["spec"]["versions"]
            served = next((str(one["name"]) for one in versions if one["served"]), "")
            return f"/apis/{group}/{served}/{plural}" if served else ""
    return ""
