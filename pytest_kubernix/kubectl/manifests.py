"""What `kubectl apply` and `kubectl delete` take: files, URLs, objects, or YAML text, as arguments and input.
A text may be any of these, so the rules that tell them apart are here, in one place."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

# A file, a directory, a URL, one object, several, or YAML text. Objects are mappings, or models of the official client.
Manifest: TypeAlias = "Path | str | Mapping[str, Any] | Iterable[Any] | Any"

# Lines of YAML without content: comments, and marks of documents.
_NOTHING = re.compile(r"(?m)^(?:---|\.\.\.)?[ \t]*(?:#.*)?$")

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
ALLOWED = "allowed are a path, a URL, YAML text, an object as a dict or a model of kubernetes.client, or a list of such"


def is_manifest(text: str) -> bool:
    """Whether a text is a manifest, or the path or URL of one; otherwise it names a resource.

    A directory's path is known by its slash: its name alone may be that of a kind.
    """
    return (
        _is_content(text)
        or _is_url(text)
        or text.endswith((".yaml", ".yml", ".json", "/"))
        or text.startswith(("/", "./", "../"))
    )


def arguments(what: Manifest) -> tuple[list[str | Path], str | None]:
    """The arguments that name a manifest, and what goes to standard input.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: It is none of what is allowed, or holds something that JSON can't.
        ValueError: There is no object in it.
    """
    if not isinstance(what, (str, Path)):
        return ["--filename=-"], _objects(what)
    if isinstance(what, str):
        if not _NOTHING.sub("", what).strip():
            # As a path, it would be the current directory, and all that lies there; and kubectl deletes nothing
            # without a word.
            raise ValueError(f"{what!r}: no objects passed: the text has none; {ALLOWED}")
        if _is_url(what):
            return [f"--filename={what}"], None
        if _is_content(what):
            return ["--filename=-"], what
    path = Path(what)
    if not path.exists():
        raise FileNotFoundError(f"no manifest at {path} (relative paths start from {Path.cwd()})")
    kustomized = any((path / name).exists() for name in KUSTOMIZATIONS)
    return [f"--kustomize={path}" if kustomized else f"--filename={path}"], None


def _is_content(text: str) -> bool:
    return not text.strip() or "\n" in text or ": " in text or text.lstrip().startswith(("{", "#", "---"))


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _objects(what: object) -> str:
    """Objects as JSON."""
    if isinstance(what, Mapping) or _is_model(what):
        return _json(what)
    if not isinstance(what, Iterable):
        raise TypeError(f"{what!r}: {ALLOWED}")
    # What yaml.safe_load_all makes of an empty document.
    items = [_model(item) for item in what if item is not None]
    if not items:
        raise ValueError(f"{what!r}: no objects passed; {ALLOWED}")
    for item in items:
        if not isinstance(item, Mapping):
            raise TypeError(f"{item!r} in a list: {ALLOWED}")
    return _json({"apiVersion": "v1", "kind": "List", "items": items})


def _is_model(what: object) -> bool:
    """Whether it is a model of the official client, such as V1Pod."""
    return hasattr(what, "openapi_types") and hasattr(what, "attribute_map")


def _model(what: Any) -> Any:
    if _is_model(what):
        from kubernetes.client import ApiClient

        return ApiClient().sanitize_for_serialization(what)
    return what


def _json(what: object) -> str:
    # The API server takes neither NaN nor Infinity, and says so in words of its own parser.
    return json.dumps(_plain(what), allow_nan=False)


def _plain(what: object) -> object:
    """What JSON holds: YAML makes dates of texts that look like one, and the API wants texts."""
    if isinstance(what, Mapping):
        return {_plain(key): _plain(value) for key, value in what.items()}
    if isinstance(what, (list, tuple, set, frozenset)):
        return [_plain(item) for item in what]
    if isinstance(what, datetime.datetime):
        # A time without a zone is UTC, as YAML has it (https://yaml.org/type/timestamp.html).
        return what.replace(tzinfo=what.tzinfo or datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(what, datetime.date):
        return what.isoformat()
    if _is_model(what):
        return _plain(_model(what))
    if what is None or isinstance(what, (str, int, float)):
        return what
    raise TypeError(f"{what!r} ({type(what).__name__}) in an object: allowed is what JSON holds, and dates")
