"""From dataclasses to plain data and back, the one way that everything here crosses a process boundary.
`msgspec` does the work: it reads the types of the fields; here is only what it does not know, which is paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """A dataclass, or anything made of such, as dicts, lists, texts and numbers."""
    # Not `to_builtins`, which leaves a tuple a tuple: what was sent must equal what arrives.
    return msgspec.json.decode(to_json(value))


def from_plain(kind: type[T], data: object) -> T:
    """What `to_plain` made plain.

    Raises:
        ValueError: The data is not that of such a value; the text has the path of the field.
    """
    return msgspec.convert(data, kind, dec_hook=_decode, strict=False)


def to_json(value: object) -> bytes:
    """As one line of JSON."""
    return msgspec.json.encode(value, enc_hook=_encode)


def from_json(kind: type[T], text: bytes | str) -> T:
    """What `to_json` wrote.

    Raises:
        ValueError: As for `from_plain`, or it is no JSON.
    """
    return msgspec.json.decode(text, type=kind, dec_hook=_decode, strict=False)


def indented(value: object) -> str:
    """As JSON that people read: one line for each field, in order of their names."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_encode, order="sorted"), indent=1).decode()


def _encode(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} does not cross processes")


def _decode(kind: type, value: Any) -> object:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(f"{kind.__name__} does not cross processes")
