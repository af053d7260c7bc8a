"""Leaves the values of Secrets out of everything that is written to a bundle.
In the Secrets themselves, and wherever else the same value turns up: annotations, other objects, logs, events."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from typing import Any

LEFT_OUT = "(left out)"

SHORTEST = 8
"""Characters of the shortest value that is looked for outside of Secrets: "true" and "admin" are anywhere."""

LONG_LINE = 16
"""Characters from which a single line of a value gives it away, as of a key that a log prints line by line."""

TOKEN_TYPE = "kubernetes.io/service-account-token"  # noqa: S105 - the name of a type
PUBLIC_IN_TOKENS = {"namespace", "ca.crt"}


class Redactor:
    """Takes values of Secrets out of objects and texts.

    Args:
        objects: Objects of any kind; the values of the Secrets among them are those to leave out.
    """

    def __init__(self, objects: Iterable[dict[str, Any]] = ()) -> None:
        found: set[str] = set()
        for item in objects:
            if item.get("kind") == "Secret":
                found.update(_forms(item))
        # The longest first: a value may be a part of another.
        self._values = sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """A text without the values."""
        for value in self._values:
            # Far quicker than one pattern of all: most texts have none of them.
            text = text.replace(value, LEFT_OUT)
        return text

    def object(self, item: dict[str, Any]) -> dict[str, Any]:
        """An object without the values, and without `managedFields`, which only say who set what."""
        metadata = {key: value for key, value in item.get("metadata", {}).items() if key != "managedFields"}
        item = {**item, "metadata": metadata}
        if item.get("kind") == "Secret":
            for field in ("data", "stringData"):
                if item.get(field):
                    item[field] = dict.fromkeys(item[field], LEFT_OUT)
            # kubectl, Helm, operators: each keeps a copy of what it last applied, which may be an older value.
            if metadata.get("annotations"):
                metadata["annotations"] = {
                    key: value if key.startswith("kubernetes.io/") else LEFT_OUT
                    for key, value in metadata["annotations"].items()
                }
        clean: dict[str, Any] = self._clean(item)
        return clean

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._clean(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._clean(part) for part in value]
        return value


def _forms(secret: dict[str, Any]) -> Iterator[str]:
    """Every way in which a value of a Secret may be written somewhere."""
    for key, encoded in (secret.get("data") or {}).items():
        if secret.get("type") == TOKEN_TYPE and key in PUBLIC_IN_TOKENS:
            continue
        yield encoded
        yield encoded.rstrip("=")
        try:
            value = base64.b64decode(encoded).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        # A trailing newline is often there, and often lost on the way.
        for text in {value, value.strip()}:
            yield text
            yield base64.b64encode(text.encode()).decode()
            # As JSON has it, and as JSON within JSON has it: that is what annotations hold.
            for ascii_only in (True, False):
                once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
                yield once
                yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]
        yield from (line for line in value.splitlines() if len(line) >= LONG_LINE and not line.startswith("-----"))
