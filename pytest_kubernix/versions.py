"""Versions of Kubernetes, and of what is built for it, as releases speak of them: parts that compare by number.
`packaging` reads them; here is what it would read otherwise."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

__all__ = ["InvalidVersion", "Version", "matches", "minor", "parse"]


def parse(text: str) -> Version:
    """A version, such as "1.36.3" or "v1.36.3"; what vendors add after a dash ("1.29.4-gke.1") does not count.

    Raises:
        InvalidVersion: It is none.
    """
    return Version(text.strip().removeprefix("v").partition("-")[0])


def minor(version: Version | str) -> str:
    """The "1.36" of "1.36.3"."""
    found = parse(version) if isinstance(version, str) else version
    return f"{found.major}.{found.minor}"


def matches(version: Version | str, requirement: str) -> bool:
    """Whether a version meets every comparison of a requirement.

    A comparison looks only at the parts that it names, as one speaks of Kubernetes releases: 1.34.4 meets
    "==1.34" and "<=1.34", and does not meet ">1.34".

    Args:
        version: Such as "1.34.4".
        requirement: Such as ">=1.33, <1.36".

    Raises:
        ValueError: The requirement is not one; the text says what is allowed.
    """
    have = (parse(version) if isinstance(version, str) else version).release
    for operator, want in _comparisons(requirement):
        part = have[: len(want)]
        holds = {
            ">=": part >= want,
            "<=": part <= want,
            "==": part == want,
            "!=": part != want,
            ">": part > want,
            "<": part < want,
        }
        if not holds[operator]:
            return False
    return True


def _comparisons(requirement: str) -> list[tuple[str, tuple[int, ...]]]:
    wrong = ValueError('allowed are comparisons such as ">=1.34" or ">=1.33, <1.36"')
    pieces = [re.sub(r"(?<=[=<>])\s*v", "", piece.strip()) for piece in str(requirement).split(",")]
    # Wildcards, "~=" and "===" mean other things to packages than to releases of Kubernetes.
    if any(not piece or "*" in piece or piece.startswith(("~=", "===")) for piece in pieces):
        raise wrong
    try:
        found = SpecifierSet(",".join(pieces))
    except InvalidSpecifier:
        raise wrong from None
    comparisons = []
    for piece in found:
        release = Version(piece.version).release
        if len(release) > 3:
            raise wrong
        comparisons.append((piece.operator, release))
    return comparisons
