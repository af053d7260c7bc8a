"""Checkpoints and rollbacks: a cluster's objects as they were, put back in etcd, and the reactions settled.
`restore.py` says what is written, `reactions.py` who must have taken notice; here is the loop that joins them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import KubernixError
from .etcd import Entry, EtcdClient
from .mirror import Mirror
from .reactions import Reactions
from .restore import Plan, crd_resource, custom_path, is_crd, plan, pods_there
from .rules import PREFIX, Rules

# Controllers that go on writing for so long are not reacting, they are at work.
SETTLE_TIMEOUT = 15.0
# A checkpoint is worth more when nothing is under way, but no test waits for long.
CALM_TIMEOUT = 2.0
# APIServices of CRDs come and go by themselves within milliseconds, as a rule.
PATIENCE = 1.0
# After so many rounds, a status that is written again and again is left to its writer.
STRICT_ROUNDS = 2
SHOWN = 8


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What `Cluster.checkpoint` gives, for `Cluster.rollback`.

    Attributes:
        cluster_id: The cluster that it is of.
        number: Its place among the checkpoints of that cluster.
        revision: The revision of etcd that it stands for.
        entries: Key → entry, of everything there was. Shared with other checkpoints where nothing changed.
    """

    cluster_id: str
    number: int
    revision: int
    entries: Mapping[bytes, Entry]

    def __repr__(self) -> str:
        return f"<Checkpoint {self.number} of {self.cluster_id}: {len(self.entries)} objects>"


class History:
    """The checkpoints of one cluster, and the way back to them.

    Args:
        cluster_id: The cluster.
        etcd: Its etcd.
        reactions: The rest of it.
        nodes: Names of its nodes.
    """

    def __init__(self, cluster_id: str, etcd: EtcdClient, reactions: Reactions, nodes: Sequence[str]) -> None:
        self._cluster_id = cluster_id
        self._etcd = etcd
        self._mirror = Mirror(etcd)
        self._reactions = reactions
        self._nodes = nodes
        self._count = 0
        self._reborn: dict[str, str] = {}
        self._valid: weakref.WeakSet[Checkpoint] = weakref.WeakSet()
        self._lock = threading.Lock()

    def checkpoint(self) -> Checkpoint:
        """Remember everything as it is, once controllers have nothing to do (or two seconds later)."""
        with self._lock:
            self._reactions.learn()
            deadline = time.monotonic() + CALM_TIMEOUT
            calm = False
            while not calm and time.monotonic() < deadline:
                calm = self._reactions.controllers()[0]
            self._mirror.refresh()
            self._count += 1
            made = Checkpoint(self._cluster_id, self._count, self._mirror.revision, self._mirror.entries)
            self._valid.add(made)
            return made

    def rollback(self, checkpoint: Checkpoint, *, events: bool) -> None:
        """Put everything back, and return once nothing comes of it any more.

        Args:
            checkpoint: What to go back to.
            events: Whether events are rolled back too.

        Raises:
            KubernixError: It is not a checkpoint to go back to, or something keeps changing things back.
        """
        with self._lock:
            self._check(checkpoint)
            for later in [one for one in self._valid if one.number > checkpoint.number]:
                self._valid.discard(later)
            self._settle(checkpoint, Rules(nodes=self._nodes, events=events))

    def close(self) -> None:
        """Hang up; no checkpoint of this history is of use afterwards."""
        self._etcd.close()
        self._reactions.close()

    def _check(self, checkpoint: Checkpoint) -> None:
        if checkpoint.cluster_id != self._cluster_id:
            raise KubernixError(f"{checkpoint!r} is of another cluster than {self._cluster_id}")
        if checkpoint not in self._valid:
            raise KubernixError(
                f"{checkpoint!r} is not valid any more: the cluster was rolled back to an earlier one, "
                "and what was done between the two is undone"
            )

    def _settle(self, checkpoint: Checkpoint, rules: Rules) -> None:
        begin = time.monotonic()
        rounds = 0
        done_before = -1
        pods: dict[str, set[str]] = {}
        unsure: dict[str, str] = {}
        while True:
            seconds = time.monotonic() - begin
            rules = replace(rules, lenient=rounds >= STRICT_ROUNDS, impatient=seconds > PATIENCE, reborn=self._reborn)
            self._mirror.refresh()
            todo = plan(checkpoint.entries, self._mirror.entries, rules)
            if any(todo.ranks):
                if seconds > SETTLE_TIMEOUT:
                    raise _unsettled(todo)
                # What one round could not confirm, a later one may, if it writes to the same again.
                unsure |= self._carry_out(todo, checkpoint)
                for node, uids in todo.pods.items():
                    pods.setdefault(node, set()).update(uids)
                rounds += 1
                done_before = -1
                continue
            if pods and not todo.waiting and self._told(pods):
                pods = {}
            # Controllers have been told by now, since watch caches have. Twice in a row, with time for a whole
            # listing of their queues between, they have nothing to do, have done nothing, and nothing has changed.
            idle, done = self._reactions.controllers()
            quiet = idle and not todo.waiting and not pods
            if (quiet and done == done_before) or seconds > SETTLE_TIMEOUT:
                # At the limit: nothing has changed back, so whatever they are at is no business of ours.
                if problems := [problem for problem in unsure.values() if problem]:
                    raise KubernixError("every object is what it was, but the API server:\n  " + "\n  ".join(problems))
                return
            done_before = done if quiet else -1

    def _told(self, pods: Mapping[str, set[str]]) -> bool:
        """Whether kubelets have taken notice of what became of these pods."""
        there = pods_there(self._mirror.entries)
        return self._reactions.kubelets_know({node: {uid: uid in there for uid in uids} for node, uids in pods.items()})

    def _carry_out(self, todo: Plan, checkpoint: Checkpoint) -> dict[str, str]:
        """Write all that is to be written; returns resource → what the API server did not confirm of it, or ""."""
        now = self._mirror.entries
        self._reborn |= todo.reborn
        keys = [key for key in todo.written() if is_crd(key)]
        there = {crd_resource(checkpoint.entries[key].value): True for key in keys if key in checkpoint.entries}
        gone = {crd_resource(now[key].value): False for key in keys if key not in checkpoint.entries}
        changing = {f"{group}/{plural}" for group, plural in (*there, *gone)}

        def custom(name: str) -> str:
            # While a definition is on its way, its kind may be served in no version, or by a webhook that is gone.
            return "" if name in changing else custom_path(name, checkpoint.entries, now)

        unsure: dict[str, str] = {}
        for rank in filter(None, todo.ranks):
            written: dict[bytes, int] = {}
            for operations in (rank.marks, rank.deletes, rank.puts):
                written |= self._etcd.apply(operations)
            # Of two ranks with one resource, the later one's revision is the newer one, and says it for both.
            unsure |= self._reactions.await_caches(written, custom)
        return unsure | {line: line for line in self._reactions.await_crds({**gone, **there})}


def _unsettled(todo: Plan) -> KubernixError:
    keys = [key.removeprefix(PREFIX).decode(errors="replace") for key in todo.written()]
    more = [f"and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    return KubernixError(
        f"{SETTLE_TIMEOUT:g} s after the rollback, something still changes back: {', '.join(keys[:SHOWN] + more)}",
        hint="Is a controller of the test still running, or was the checkpoint taken while a change was under way?",
    )
