"""`build`: make the executables of one or more versions of Kubernetes, unless they are there."""

from __future__ import annotations

import argparse

from .. import parsing
from ..errors import ConfigError
from .terminal import say

HELP = "build the executables, unless they are there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "--k8s-version",
        default="default",
        metavar="VERSION",
        help="exact (1.36.3), a minor, or latest; several, separated by commas; or all (default: the one pinned)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Build them, one after another."""
    from ..binaries import SUPPORTED, build_all

    wanted = [word for word in arguments.k8s_version.split(",") if word] or ["default"]
    for version in list(SUPPORTED) if wanted == ["all"] else [_version(word) for word in wanted]:
        build_all(version, say)
        say(f"the executables of Kubernetes {version} are there")
    return 0


def _version(word: str) -> str:
    try:
        return parsing.version(word)
    except ValueError as error:
        raise ConfigError("k8s_version", word, str(error)) from None
