"""What etcd's values hold, as far as a rollback must know: kind, metadata, spec and status as bytes.
Source: Kubernetes' protobuf encoding (four bytes of magic and a runtime.Unknown), and protobuf's wire format."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAGIC = b"k8s\0"

# Fields of runtime.Unknown and of its TypeMeta.
TYPE_META, RAW = 1, 2
KIND = 2
# Every kind of Kubernetes has its metadata first; those with a status have the spec second and the status third.
METADATA, SPEC, STATUS = 1, 2, 3
# Fields of ObjectMeta.
UID, DELETION_TIMESTAMP, DELETION_GRACE, MANAGED_FIELDS = 5, 9, 10, 17
# Field of PodSpec.
NODE_NAME = 10
# Fields of PodStatus.
PHASE, QOS_CLASS = 1, 9

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Fields = list[tuple[int, bytes, bytes]]


@dataclass(frozen=True)
class StoredObject:
    """One value of etcd that is an object in Kubernetes' protobuf encoding.

    Attributes:
        kind: Such as "Pod".
        fields: Its fields: (number, the whole field as it was, what it holds).
        envelope: The fields of the envelope, with the object as it was.
    """

    kind: str
    fields: Fields
    envelope: Fields

    def section(self, number: int) -> bytes:
        """What one field holds, or b"" without it."""
        return next((content for has, _, content in self.fields if has == number), b"")

    def inside(self, section: int, number: int) -> bytes:
        """What a field of a section holds, or b"" without it; the last one wins, as protobuf has it."""
        found = b""
        for has, _, content in _fields(self.section(section)):
            if has == number:
                found = content
        return found

    def without(self, section: int, *numbers: int) -> bytes:
        """A section without some of its fields."""
        return b"".join(whole for has, whole, _ in _fields(self.section(section)) if has not in numbers)

    def metadata(self) -> bytes:
        """The metadata without the UID, and without the record of who set what, which changes with every touch."""
        return self.without(METADATA, MANAGED_FIELDS, UID)

    def encode(self) -> bytes:
        """The value; the inverse of `parse`."""
        raw = _field(RAW, b"".join(whole for _, whole, _ in self.fields))
        return MAGIC + b"".join(raw if number == RAW else whole for number, whole, _ in self.envelope)

    def replacing(self, number: int, other: StoredObject) -> StoredObject:
        """This object with one section of another one."""
        return self.having(number, other.section(number))

    def dying(self, grace: int) -> StoredObject:
        """This object as one whose deletion has begun.

        Args:
            grace: Seconds that it may still take.
        """
        # Appended: of a field that comes twice, the last counts. The time is a message of seconds since the epoch.
        mark = _field(DELETION_TIMESTAMP, b"\x08" + _varint(int(time.time())))
        mark += _varint(DELETION_GRACE << 3 | VARINT) + _varint(grace)
        return self.having(METADATA, self.without(METADATA, DELETION_TIMESTAMP) + mark)

    def reborn(self, new_uid: str) -> StoredObject:
        """This pod as one that has just been made: of another UID, and nothing known of its containers."""
        # Each field in its place, as the API server will write it: then nothing looks changed.
        metadata = b"".join(
            _field(UID, new_uid.encode()) if has == UID else whole for has, whole, _ in _fields(self.section(METADATA))
        )
        # As at its creation: the phase, and the class, which the API server lets no client change or add later.
        status = _field(PHASE, b"Pending") + _field(QOS_CLASS, self.inside(STATUS, QOS_CLASS))
        return self.having(METADATA, metadata).having(STATUS, status)

    def having(self, number: int, content: bytes) -> StoredObject:
        """This object with another content of one section."""
        fields = [field for field in self.fields if field[0] != number]
        fields.append((number, _field(number, content), content))
        return StoredObject(self.kind, sorted(fields, key=lambda field: field[0]), self.envelope)


def parse(value: bytes) -> StoredObject | None:
    """The object that a value holds; None when it is JSON, encrypted, or something else."""
    if not value.startswith(MAGIC):
        return None
    envelope = list(_fields(value[len(MAGIC) :]))
    types = next((content for number, _, content in envelope if number == TYPE_META), b"")
    raw = next((content for number, _, content in envelope if number == RAW), b"")
    kind = next((content.decode() for number, _, content in _fields(types) if number == KIND), "")
    return StoredObject(kind, list(_fields(raw)), envelope)


def uid(value: bytes) -> str:
    """The UID of a stored object, or "" when it can't be told."""
    if found := parse(value):
        return found.inside(METADATA, UID).decode(errors="replace")
    if value.startswith(b"{"):
        return str(json.loads(value).get("metadata", {}).get("uid", ""))
    return ""


def without_status(value: bytes, kinds: Iterable[str]) -> bytes:
    """What of an object is asked for by its owner, and not merely reported by a controller.

    Args:
        value: As etcd has it.
        kinds: The kinds of Kubernetes' own whose third field is a status.
    """
    if value.startswith(b"{"):
        data = json.loads(value)
        data.pop("status", None)
        data.get("metadata", {}).pop("managedFields", None)
        return json.dumps(data, sort_keys=True).encode()
    found = parse(value)
    if found is None or found.kind not in kinds:
        return value
    return found.metadata() + found.section(SPEC)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The fields of a message: number, the whole field, what it holds (a number's bytes as they are)."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        wire = tag & 7
        content = at
        if wire == BYTES:
            length, content = _read_varint(message, at)
            at = content + length
        elif wire == VARINT:
            _, at = _read_varint(message, at)
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"not a protobuf message: wire type {wire}")
        yield tag >> 3, message[begin:at], message[content:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content
