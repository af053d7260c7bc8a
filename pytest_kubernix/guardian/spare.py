"""Spares: clusters that were booted for whoever asks next. Found and taken here; a guardian keeps them meanwhile.
Taking one is a rename, which the kernel lets one process do."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..config import ClusterConfig
from ..layout import default_root
from .rundir import SPARE, TAKEN, run_dirs

LIFETIME = 600.0
"""Seconds that a spare waits for somebody."""

# Settings that say where a cluster is and how its boot is watched, not what it is.
NOT_COMPARED = ("driver", "root", "boot_timeout")


def identity(
    config: ClusterConfig, programs: Iterable[str], components: Iterable[object], environment: Mapping[str, str]
) -> str:
    """What a spare is: whoever wants the same may take it.

    Args:
        config: What the cluster should be.
        programs: The paths of its executables, which name their versions and sources.
        components: The components, also those that plugins added.
        environment: Variables that its processes are given.
    """
    asked = {name: value for name, value in config.to_json().items() if name not in NOT_COMPARED}
    parts = [asked, sorted(programs), [_source(component) for component in components], dict(environment), _ours()]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _source(component: object) -> str:
    kind = type(component)
    name = f"{kind.__module__}.{kind.__qualname__}"
    with contextlib.suppress(OSError, TypeError):
        # A suite's own component may have changed since the spare was booted.
        name += hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    # And two of one kind may have been made with different settings.
    return name + repr(sorted(getattr(component, "__dict__", {}).items()))


def _ours() -> str:
    """What this package is: a spare of before an upgrade is another cluster."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def ready(root: Path | None, wanted: str) -> list[Path]:
    """The run directories of spares of one identity that nobody has taken."""
    found = []
    for run_dir in run_dirs(root or default_root()):
        with contextlib.suppress(OSError):
            if (run_dir / SPARE).read_text() == wanted:
                found.append(run_dir)
    return found


def take(root: Path | None, wanted: str) -> Path | None:
    """Take a spare; nobody else gets it from then on.

    Returns:
        Its run directory, or None when there is no such spare.
    """
    for run_dir in ready(root, wanted):
        with contextlib.suppress(OSError):
            (run_dir / SPARE).rename(run_dir / TAKEN)
            return run_dir
    return None


def give_back(run_dir: Path) -> None:
    """Let somebody else take it after all."""
    with contextlib.suppress(OSError):
        (run_dir / TAKEN).rename(run_dir / SPARE)
