"""What commands share: lines for people on standard error, and options of pytest's table without their prefix.
Command line > environment > default, as in pytest; an ini file is a test suite's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..options import BY_FIELD

if TYPE_CHECKING:
    from ..guardian.listing import RunningInfo

DEFAULT_NAME = "default"


def say(line: str) -> None:
    """Tell a person something; standard output is for what scripts read."""
    print(f"pytest-kubernix: {line}", file=sys.stderr, flush=True)


def add_options(parser: argparse.ArgumentParser, *fields: str) -> None:
    """Add options of the table, as texts that `values` reads."""
    for field in fields:
        option = BY_FIELD[field]
        default = "" if "default:" in option.help or not option.default else f" (default: {option.default})"
        parser.add_argument(f"--{option.word}", metavar=option.metavar, help=f"{option.help}{default}; ${option.env}")


def values(arguments: argparse.Namespace, fields: Iterable[str]) -> dict[str, Any]:
    """Field → parsed value of the options that were given, or have a default.

    Raises:
        ConfigError: A text is wrong; it says what is allowed.
    """
    found = {}
    for field in fields:
        option = BY_FIELD[field]
        given = getattr(arguments, field)
        # An empty variable is how CI systems spell one that is not set.
        text = given if given is not None else os.environ.get(option.env) or option.default
        if text is None:
            continue
        try:
            value = option.parse(text)
        except ValueError as error:
            raise ConfigError(field, text, str(error)) from None
        found[field] = value.expanduser() if isinstance(value, Path) else value
    return found


def root_of(arguments: argparse.Namespace) -> Path | None:
    """Where clusters are looked for; None is the default."""
    root: Path | None = values(arguments, ["root"]).get("root")
    return root


def version_of(arguments: argparse.Namespace) -> str:
    """The exact version that was asked for."""
    version: str = values(arguments, ["k8s_version"])["k8s_version"]
    return version


def tell_missing_root(arguments: argparse.Namespace) -> None:
    """A directory that is not there may be a slip of the pen, or its clusters are all gone."""
    root = root_of(arguments) if hasattr(arguments, "root") else None
    if root and not root.is_dir():
        say(f"there is no directory {root}: one that clusters made goes with the last of them")


def tell_trouble(there: Sequence[RunningInfo]) -> None:
    """What is wrong with the clusters that are there."""
    for info in there:
        if info.trouble:
            say(f"{info.name or info.cluster_id}: {info.trouble}")
