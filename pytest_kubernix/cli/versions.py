"""`versions`: the versions of Kubernetes that can be had, and which of them are ready."""

from __future__ import annotations

import argparse

from ..errors import KubernixError

HELP = "list the versions of Kubernetes that can be had"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing can be asked for."""


def run(_: argparse.Namespace) -> int:
    """Print them, newest first."""
    from ..binaries import SUPPORTED, find_executables
    from ..binaries.pins import DEFAULT_VERSION

    for version in SUPPORTED:
        try:
            find_executables(version, build=False)
            state = "ready"
        except KubernixError:
            state = f"not built (pytest-kubernix build --k8s-version {version})"
        print(f"{version}{' (default)' if version == DEFAULT_VERSION else ''}: {state}")
    return 0
