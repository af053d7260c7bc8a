"""A client of etcd's JSON gateway on its Unix socket: ranges and transactions, and no more.
Source of the calls: etcd's API reference, v3, `kv` service; numbers are strings there, bytes are base64."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import KubernixError
from ..http_requests import UnixConnection

# etcd refuses larger transactions by default (--max-txn-ops), and requests of more than 1.5 MiB.
MAX_OPERATIONS = 128
MAX_BYTES = 1_000_000
TIMEOUT = 10.0


@dataclass(frozen=True)
class Entry:
    """A key of etcd at some revision.

    Attributes:
        key: The key.
        value: Its value, or b"" when only keys were asked for.
        mod_revision: Revision of its last change.
        lease: The lease that it ends with, or 0.
    """

    key: bytes
    value: bytes
    mod_revision: int
    lease: int


@dataclass(frozen=True)
class Put:
    """Write a key; with `lease`, one that ends with it; with `if_revision`, only if it is unchanged since."""

    key: bytes
    value: bytes
    lease: int = 0
    if_revision: int = 0


@dataclass(frozen=True)
class Changes:
    """What changed since some revision.

    Attributes:
        revision: The revision that was looked at.
        entries: Keys that were made or changed, as they are.
        count: How many keys there are in all; deletions are found by it.
    """

    revision: int
    entries: list[Entry]
    count: int


@dataclass(frozen=True)
class Delete:
    """Delete a key."""

    key: bytes


class EtcdClient:
    """Talks to one etcd.

    Args:
        path: Its Unix socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def range(self, prefix: bytes, *, revision: int = 0, keys_only: bool = False) -> tuple[int, list[Entry]]:
        """All keys with a prefix.

        Args:
            prefix: What they begin with.
            revision: The revision to look at; 0 is the current one.
            keys_only: Leave out the values.

        Returns:
            The store's current revision, and the entries.
        """
        request: dict[str, Any] = {"key": _b64(prefix), "range_end": _b64(_end_of(prefix))}
        if revision:
            request["revision"] = str(revision)
        if keys_only:
            request["keys_only"] = True
        answer = self._call("range", request)
        return int(answer["header"]["revision"]), [_entry(item) for item in answer.get("kvs", [])]

    def changes(self, prefix: bytes, since: int) -> Changes:
        """What was made or changed below a prefix after a revision; nothing of it need be there any more."""
        request = {
            "key": _b64(prefix),
            "range_end": _b64(_end_of(prefix)),
            "min_mod_revision": str(since + 1),
        }
        answer = self._call("range", request)
        entries = [_entry(item) for item in answer.get("kvs", [])]
        return Changes(int(answer["header"]["revision"]), entries, int(answer.get("count", "0")))

    def apply(self, operations: Sequence[Put | Delete]) -> dict[bytes, int]:
        """Carry out writes, as few transactions as fit. One with a condition that does not hold is left out.

        Returns:
            Key → the revision that changed it. What was left out, or deleted although it was not there, is not in it.
        """
        revisions: dict[bytes, int] = {}
        plain = [operation for operation in operations if not _condition(operation)]
        requests: list[dict[str, Any]] = [
            {"success": some} for some in _chunks([_operation(operation) for operation in plain])
        ]
        # One each: a transaction is carried out as a whole or not at all.
        requests += [
            {"compare": condition, "success": [_operation(operation)]}
            for operation in operations
            if (condition := _condition(operation))
        ]
        for request in requests:
            answer = self._call("txn", request)
            if not answer.get("succeeded"):
                continue
            for asked, response in zip(request["success"], answer["responses"], strict=True):
                if "request_put" in asked:
                    key = asked["request_put"]["key"]
                elif response["response_delete_range"].get("deleted", "0") != "0":
                    key = asked["request_delete_range"]["key"]
                else:
                    continue
                revisions[base64.b64decode(key)] = int(answer["header"]["revision"])
        return revisions

    def _call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(body)
        for attempt in (1, 2):
            connection = self._connection = self._connection or UnixConnection(self._path, TIMEOUT)
            try:
                connection.request("POST", f"/v3/kv/{method}", body=data)
                response = connection.getresponse()
                text = response.read()
                break
            except (OSError, http.client.HTTPException) as error:
                # A connection kept from before may have been closed meanwhile; a fresh one must work.
                connection.close()
                self._connection = None
                if attempt == 2:
                    raise KubernixError(f"etcd did not answer: {error}") from error
        answer: dict[str, Any] = json.loads(text)
        if response.status != 200:
            raise KubernixError(f"etcd refused {method}: {answer.get('message', text.decode(errors='replace'))}")
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.close()
            self._connection = None


def _condition(operation: Put | Delete) -> list[dict[str, str]]:
    if isinstance(operation, Delete) or not operation.if_revision:
        return []
    revision = str(operation.if_revision)
    return [{"key": _b64(operation.key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}]


def _operation(operation: Put | Delete) -> dict[str, Any]:
    if isinstance(operation, Delete):
        return {"request_delete_range": {"key": _b64(operation.key)}}
    put: dict[str, Any] = {"key": _b64(operation.key), "value": _b64(operation.value)}
    if operation.lease:
        put["lease"] = str(operation.lease)
    return {"request_put": put}


def _chunks(operations: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for operation in operations:
        length = len(json.dumps(operation))
        if chunk and (len(chunk) == MAX_OPERATIONS or size + length > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(operation)
        size += length
    if chunk:
        yield chunk


def _end_of(prefix: bytes) -> bytes:
    """The first key after all that begin with the prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _entry(item: dict[str, str]) -> Entry:
    return Entry(
        key=base64.b64decode(item["key"]),
        value=base64.b64decode(item.get("value", "")),
        mod_revision=int(item["mod_revision"]),
        lease=int(item.get("lease", "0")),
    )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
