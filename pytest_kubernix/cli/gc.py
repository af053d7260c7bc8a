"""`gc`: remove what clusters left that were killed, and what was left half-made in the cache."""

from __future__ import annotations

import argparse

from .terminal import add_options, root_of, say, tell_trouble

HELP = "remove what clusters left that were killed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    add_options(parser, "root")


def run(arguments: argparse.Namespace) -> int:
    """Remove it, and say what can't be removed."""
    from ..binaries.cache import Cache
    from ..guardian.listing import running
    from ..guardian.sweep import sweep
    from ..layout import default_root
    from ..store import prepared

    root = root_of(arguments)
    left: list[str] = []
    removed = [f"what was left of cluster {cluster_id}" for cluster_id in sweep(root or default_root(), left.append)]
    removed += [f"what was left half-made: {path}" for path in prepared.sweep(Cache().root)]
    for what in removed:
        print(f"removed {what}")
    for line in left:
        say(f"still there: {line}")
    if not removed and not left:
        print("nothing was left behind")
    tell_trouble(running(root))
    return 1 if left else 0
