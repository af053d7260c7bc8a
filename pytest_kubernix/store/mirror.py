"""A copy of what etcd holds for Kubernetes, brought up to date by what changed: a checkpoint costs next to nothing.
It has the values too, so a checkpoint outlives etcd's own history, which the API server cuts every five minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .etcd import Entry, EtcdClient
from .rules import PREFIX


class Mirror:
    """What is below /registry/.

    Args:
        etcd: The cluster's etcd.

    Attributes:
        entries: Key → entry, of the last time it was refreshed. Never changed, only replaced.
        revision: The revision of etcd at that time.
    """

    def __init__(self, etcd: EtcdClient) -> None:
        self._etcd = etcd
        self.entries: Mapping[bytes, Entry] = {}
        self.revision = 0

    def refresh(self) -> None:
        """Take over what changed meanwhile. Entries that did not change stay the same objects."""
        changes = self._etcd.changes(PREFIX, self.revision)
        if changes.revision < self.revision:
            # Another etcd, or this one from an empty start.
            self.entries, self.revision = {}, 0
            changes = self._etcd.changes(PREFIX, 0)
        entries = {**self.entries, **{entry.key: entry for entry in changes.entries}}
        if changes.count != len(entries):
            _, there = self._etcd.range(PREFIX, revision=changes.revision, keys_only=True)
            entries = _only(entries, [entry.key for entry in there])
        self.entries, self.revision = entries, changes.revision


def _only(entries: Mapping[bytes, Entry], keys: Iterable[bytes]) -> dict[bytes, Entry]:
    return {key: entries[key] for key in keys}
