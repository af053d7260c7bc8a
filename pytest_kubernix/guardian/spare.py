"""Spares: clusters that were booted ahead, for the next process that wants such a one. Offered, found and taken here.
Taking one is a rename, which the kernel lets one process do."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..config import ClusterConfig
from ..layout import Layout, default_root
from .rundir import run_dirs

LIFETIME = 600.0
"""Seconds that a spare waits for a holder."""

# Settings that say where a cluster is and how its boot is watched, not what it is.
NOT_COMPARED = ("driver", "root", "boot_timeout")


def identity(
    config: ClusterConfig, programs: Iterable[str], components: Mapping[str, str], environment: Mapping[str, str]
) -> str:
    """What a spare is: a process that wants the same may take it.

    Args:
        config: What the cluster should be.
        programs: The paths of its executables, which name their versions and sources.
        components: Those that plugins add or change, each with a digest of what it would run.
        environment: Variables that its processes are given.
    """
    asked = {name: value for name, value in config.to_json().items() if name not in NOT_COMPARED}
    parts = [asked, sorted(programs), sorted(components.items()), dict(environment), _ours()]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _ours() -> str:
    """What this package is: a spare of before an upgrade is another cluster."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def ready(root: Path | None, wanted: str) -> list[Layout]:
    """The spares of one identity that were not taken so far."""
    found = []
    for run_dir in run_dirs(root or default_root()):
        layout = Layout(run_dir)
        with contextlib.suppress(OSError):
            if layout.spare.read_text(encoding="utf-8") == wanted:
                found.append(layout)
    return found


def take(root: Path | None, wanted: str) -> Layout | None:
    """Take a spare; no other process gets it from then on.

    Returns:
        Its directory, or None when there is no such spare.
    """
    for layout in ready(root, wanted):
        with contextlib.suppress(OSError):
            layout.spare.rename(layout.spare_taken)
            return layout
    return None


def give_back(layout: Layout) -> None:
    """Let another process take it after all."""
    with contextlib.suppress(OSError):
        layout.spare_taken.rename(layout.spare)
