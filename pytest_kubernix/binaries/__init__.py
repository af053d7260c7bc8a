"""Where the executables of a cluster come from: `find_executables` finds or builds them.
Names resolve on first use, so that options can ask for versions without loading the builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_kubernix.binaries.pins import DEFAULT_VERSION, SUPPORTED, resolve

if TYPE_CHECKING:
    from pytest_kubernix.binaries.finder import Executables, build_all, find_executables

__all__ = ["DEFAULT_VERSION", "SUPPORTED", "Executables", "build_all", "find_executables", "resolve"]


def __getattr__(name: str) -> Any:
    if name in ("Executables", "build_all", "find_executables"):
        from pytest_kubernix.binaries import finder

        return getattr(finder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
