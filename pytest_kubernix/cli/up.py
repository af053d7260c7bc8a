"""`up`: boot a cluster and leave it running under a name, as `--kubernix-reuse` does; or print its plan.
It is this package's own cluster: what a suite's plugins add, only a test run knows."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import parsing
from ..config import ClusterConfig
from ..errors import ConfigError
from .terminal import DEFAULT_NAME, add_options, say, values

HELP = "boot a cluster and leave it running under a name"
FIELDS = (
    "driver", "nodes", "k8s_version", "cri_runtime", "cidr", "addons", "root", "api_port", "boot_timeout", "log_level",
)  # fmt: skip
HOOK = "pytest_kubernix_components"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("name", nargs="?", default=DEFAULT_NAME, help=f"its name (default: {DEFAULT_NAME})")
    add_options(parser, *FIELDS)
    parser.add_argument("--dry-run", action="store_true", help="print the whole plan and start nothing")


def run(arguments: argparse.Namespace) -> int:
    """Boot it, or print what would be booted."""
    config = ClusterConfig(**values(arguments, FIELDS))
    if arguments.dry_run:
        return _dry_run(config)
    # The name is checked as `--kubernix-reuse` checks it, which is what will look for it.
    try:
        parsing.name(arguments.name)
    except ValueError as error:
        raise ConfigError("name", arguments.name, str(error)) from None
    from ..drivers.base import BootOptions
    from ..drivers.registry import DriverRegistry
    from ..share import named

    _tell_of_hooks(Path.cwd() / "conftest.py")
    share = named(arguments.name, f"pytest-kubernix up (pid {os.getpid()})")
    cluster = DriverRegistry().choose(config).start(config, BootOptions(progress=say, share=share))
    cluster.keep()
    say(f"cluster {arguments.name} runs until `pytest-kubernix down {arguments.name}`; tests find it with")
    say(f"  pytest --kubernix-reuse={arguments.name}")
    print(f"export KUBECONFIG={cluster.handle.kubeconfig}")
    print(f"export PATH={cluster.handle.kubectl.parent}:$PATH")
    return 0


def _dry_run(config: ClusterConfig) -> int:
    from ..components import register_all
    from ..drivers.native.machine import planned_facts
    from ..plan import make_plan
    from ..plan.render import render

    print(render(make_plan(config, planned_facts(config), register_all)), end="")
    return 0


def _tell_of_hooks(conftest: Path) -> None:
    """A suite whose plugins add components would refuse the cluster, which has none of them."""
    try:
        there = HOOK in conftest.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if there:
        say(f"{conftest.name} has {HOOK}, which only a test run calls: that suite will not take this cluster.")
        say("  Let its first run boot one: pytest --kubernix-reuse=NAME")
