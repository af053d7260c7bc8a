"""`doctor`: what works on this machine, and what is missing; `doctor.py` of the package looks."""

from __future__ import annotations

import argparse

from .terminal import add_options, version_of

HELP = "say what works on this machine, and what is missing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    add_options(parser, "k8s_version")


def run(arguments: argparse.Namespace) -> int:
    """Print each finding; returns 1 if clusters can't do without one that is missing."""
    from ..doctor import diagnose

    findings = diagnose(version_of(arguments))
    for finding in findings:
        print(finding)
    return 0 if all(finding.good for finding in findings if finding.needed) else 1
