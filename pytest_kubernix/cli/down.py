"""`down`: end clusters that were left running, whatever processes hold them."""

from __future__ import annotations

import argparse

from .terminal import DEFAULT_NAME, add_options, root_of, say

HELP = "end a cluster that was left running"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("name", nargs="*", help=f"names or ids, as `list` shows them (default: {DEFAULT_NAME})")
    parser.add_argument(
        "--all",
        action="store_true",
        help="end every cluster that is left running, every spare, and what is silent and unheld",
    )
    add_options(parser, "root")


def run(arguments: argparse.Namespace) -> int:
    """End them, one after another."""
    from ..guardian.listing import SILENT, find, running

    root = root_of(arguments)
    if arguments.all:
        # A silent guardian can't say whether it keeps its cluster; one without holders is not in use.
        there = running(root)
        wanted = [info for info in there if info.kept or info.spare or (info.state == SILENT and not info.holders)]
    else:
        wanted = [find(word, root) for word in arguments.name or [DEFAULT_NAME]]
    for info in wanted:
        name = info.name or info.cluster_id
        if info.holders:
            say(f"{name} was held by {', '.join(info.holders)}")
        info.end()
        say(f"{name} is gone")
    return 0
