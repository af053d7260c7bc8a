"""From what users type to values: the same for command line, environment, ini, markers and `pytest-kubernix`.
Each function raises ValueError with what is allowed; what a value means for a cluster, `ClusterConfig` alone says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path


def whole(text: str) -> object:
    """A whole number; anything else stays text, so that `ClusterConfig` alone says what is allowed."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else text


def seconds(text: str) -> object:
    """A number; anything else stays text, as for `whole`."""
    try:
        return float(text)
    except ValueError:
        return text


def version(text: str) -> str:
    """An exact version, from one, a minor, or a word."""
    from .binaries import pins as versions

    if "," in text:
        raise ValueError("one run takes one version so far: allowed is a single one, such as 1.36 or latest")
    try:
        return versions.resolve(text)
    except ValueError as error:
        # The value stands before this text already.
        raise ValueError(str(error).removeprefix(f"{text!r}: ")) from None


def names(text: str) -> tuple[str, ...]:
    """A comma list without repetitions; "none" is the empty one."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if found == ("none",):
        return ()
    if "none" in found:
        raise ValueError("none stands alone: allowed is a comma list of addons, or none")
    return found


def name(text: str) -> str:
    """The name of a cluster that stays, or ""."""
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise ValueError("allowed are up to 63 letters, digits, dots, dashes and underscores, a letter or digit first")
    return text


def writable(path: Path) -> None:
    """A directory that is there and can be written, or could be made as far as rights tell; nothing is touched."""
    # os.path: what may not be looked at is not there, rather than an error.
    there = next(each for each in (path, *path.parents) if os.path.exists(each))  # noqa: PTH110
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "is no directory" if not there.is_dir() else "can't be written by you"
        raise ValueError(f"allowed is a directory that can be written: {there} {what}")


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"allowed is {' or '.join(allowed)}")
        return text

    return parse


def between(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        number = whole(text)
        if not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"allowed is a whole number from {least} to {most}")
        return number

    return parse
