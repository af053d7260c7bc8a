"""The way in: one parser, one command, one exit code; errors are printed, not traced.
Exit codes: 0, 1 for a failure, 2 for a wrong call, 130 for an interrupt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from ..errors import ConfigError, KubernixError
from . import build, doctor, down, gc, listing, up, versions
from .terminal import tell_missing_root

# In the order of the help.
COMMANDS: dict[str, ModuleType] = {
    "up": up,
    "down": down,
    "list": listing,
    "gc": gc,
    "build": build,
    "doctor": doctor,
    "versions": versions,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        if run is not up.run:
            tell_missing_root(arguments)
        return run(arguments)
    except ConfigError as error:
        # What `--kubernix-reuse` names is an argument without a flag here.
        flag = "NAME" if error.field in {"name", "reuse"} else f"--{error.field.replace('_', '-')}"
        print(f"pytest-kubernix: {flag}={error.value}: {error.allowed}", file=sys.stderr)
        return 2
    except KubernixError as error:
        print(f"pytest-kubernix: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Takes no half of an option, which may come to mean another one; its commands' parsers are such too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pytest-kubernix", description="Real Kubernetes clusters for tests.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.HELP)
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser
