"""What `kubectl apply` and `kubectl delete` take: files, objects, or YAML text, as arguments and input.
A text may be any of these, so the rules that tell them apart are here, in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

# A file, a directory, one object, several, or YAML text.
Manifest: TypeAlias = "Path | str | Mapping[str, Any] | Sequence[Mapping[str, Any]]"

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def is_manifest(text: str) -> bool:
    """Whether a text is a manifest, or the path of one; otherwise it names a resource.

    A directory's path is known by its slash: its name alone may be that of a kind.
    """
    return _is_content(text) or text.endswith((".yaml", ".yml", ".json", "/")) or text.startswith(("/", "./", "../"))


def arguments(what: Manifest) -> tuple[list[str | Path], str | None]:
    """The arguments that name a manifest, and what goes to standard input.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if isinstance(what, Mapping):
        return ["--filename=-"], json.dumps(what)
    if not isinstance(what, (str, Path)):
        return ["--filename=-"], json.dumps({"apiVersion": "v1", "kind": "List", "items": list(what)})
    if isinstance(what, str) and _is_content(what):
        return ["--filename=-"], what
    path = Path(what)
    if not path.exists():
        raise FileNotFoundError(f"no manifest at {path} (relative paths start from {Path.cwd()})")
    kustomized = any((path / name).exists() for name in KUSTOMIZATIONS)
    return [f"--kustomize={path}" if kustomized else f"--filename={path}"], None


def _is_content(text: str) -> bool:
    return "\n" in text or ": " in text or text.lstrip().startswith("{")
