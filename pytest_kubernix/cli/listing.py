"""`list`: the clusters of this user that run, as a table or as JSON."""

from __future__ import annotations

import argparse
import json

from .terminal import add_options, root_of, tell_trouble

HELP = "list the running clusters of this user"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--json", action="store_true", help="for scripts")
    add_options(parser, "root")


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from ..guardian.listing import SILENT, running

    there = running(root_of(arguments))
    if arguments.json:
        print(json.dumps([info.to_json() for info in there], indent=1))
        return 0
    rows = [("NAME", "ID", "STATE", "VERSION", "NODES", "KEPT", "HELD BY")]
    rows += [
        (
            info.name or "-",
            info.cluster_id,
            info.state,
            info.handle.k8s_version if info.handle else "-",
            str(len(info.handle.nodes)) if info.handle else "-",
            "?" if info.state == SILENT else "spare" if info.spare else "yes" if info.kept else "no",
            ", ".join(info.holders) or "-",
        )
        for info in there
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    tell_trouble(there)
    return 0
