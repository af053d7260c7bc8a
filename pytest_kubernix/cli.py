"""`pytest-kubernix up | down | list | gc | build | doctor | versions`: what fixtures do, without a test.
Each command goes through the same code as the fixtures; errors are printed, not traced."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parsing
from .config import ClusterConfig
from .errors import ConfigError, KubernixError

if TYPE_CHECKING:
    from .guardian.listing import RunningInfo

DEFAULT_NAME = "default"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 for a failure, 2 for a wrong call."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        _mention_root(arguments)
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

    up = commands.add_parser("up", help="boot a cluster and leave it running under a name")
    up.add_argument("name", nargs="?", default=DEFAULT_NAME, help=f"its name (default: {DEFAULT_NAME})")
    up.add_argument("--nodes", type=parsing.whole, default=1, help="number of nodes (default: 1); 0 is none")
    up.add_argument("--cidr", help="network of the cluster; default: a free one")
    up.add_argument("--addons", type=parsing.names, default=("coredns",), help="separated by commas: coredns, or none")
    up.add_argument("--api-port", type=parsing.whole, default=0, help="port of the API server; 0 is any free one")
    up.add_argument("--boot-timeout", type=float, default=120.0, help="limit for the boot, in seconds (default: 120)")
    up.add_argument("--log-level", default="warning", help="debug, info, warning (the default) or error")
    up.add_argument("--dry-run", action="store_true", help="print the whole plan and start nothing")
    _add_version(up)
    _add_root(up)
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="end a cluster that was left running")
    down.add_argument("name", nargs="*", help=f"names or ids, as `list` shows them (default: {DEFAULT_NAME})")
    down.add_argument(
        "--all",
        action="store_true",
        help="end every cluster that is left running, every spare, and what is silent and unheld",
    )
    _add_root(down)
    down.set_defaults(run=_down)

    listing = commands.add_parser("list", help="list the running clusters of this user")
    listing.add_argument("--json", action="store_true", help="for scripts")
    _add_root(listing)
    listing.set_defaults(run=_list)

    gc = commands.add_parser("gc", help="remove what clusters left that were killed")
    _add_root(gc)
    gc.set_defaults(run=_gc)

    build = commands.add_parser("build", help="build the executables, unless they are there")
    _add_version(build, several=True)
    build.set_defaults(run=_build)

    doctor = commands.add_parser("doctor", help="say what works on this machine, and what is missing")
    _add_version(doctor)
    doctor.set_defaults(run=_doctor)

    versions = commands.add_parser("versions", help="list the versions of Kubernetes that can be had")
    versions.set_defaults(run=_versions)
    return parser


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=os.environ.get("KUBERNIX_ROOT") or None,
        help="directory for the files of running clusters (default: $KUBERNIX_ROOT, or a private one)",
    )


def _mention_root(arguments: argparse.Namespace) -> None:
    """Whoever looks for clusters where there is no directory may have mistyped it, or they are all gone."""
    root = getattr(arguments, "root", None)
    if root and arguments.run is not _up and not Path(root).is_dir():
        _say(f"there is no directory {root}: one that clusters made goes with the last of them")


def _add_version(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    many = "; several, separated by commas; or all" if several else ""
    parser.add_argument(
        "--k8s-version",
        default="",
        metavar="VERSION",
        help=f"exact (1.36.3), a minor (1.36), or latest{many} (default: the one pinned, see `versions`)",
    )


def _version(spec: str) -> str:
    from .binaries.pins import DEFAULT_VERSION, resolve

    try:
        return resolve(spec) if spec else DEFAULT_VERSION
    except ValueError as error:
        raise ConfigError("k8s_version", spec, str(error).removeprefix(f"{spec!r}: ")) from None


def _up(arguments: argparse.Namespace) -> int:
    config = ClusterConfig(
        k8s_version=_version(arguments.k8s_version),
        nodes=arguments.nodes,
        cidr=arguments.cidr,
        addons=arguments.addons,
        root=arguments.root,
        api_port=arguments.api_port,
        boot_timeout=arguments.boot_timeout,
        log_level=arguments.log_level,
    )
    from .drivers.base import BootOptions
    from .drivers.native.driver import NativeDriver
    from .drivers.native.machine import planned_facts
    from .share import named

    if arguments.dry_run:
        from .components import register_all
        from .plan import make_plan
        from .plan.render import render

        print(render(make_plan(config, planned_facts(config), register_all)), end="")
        return 0
    share = named(arguments.name, f"pytest-kubernix up (pid {os.getpid()})")
    # The name is checked as `--kubernix-reuse` checks it, which is what will look for it.
    try:
        parsing.name(arguments.name)
    except ValueError as error:
        raise ConfigError("name", arguments.name, str(error)) from None
    cluster = NativeDriver().start(config, BootOptions(progress=_say, share=share))
    cluster.keep()
    _say(f"cluster {arguments.name} runs until `pytest-kubernix down {arguments.name}`; tests find it with")
    _say(f"  pytest --kubernix-reuse={arguments.name}")
    print(f"export KUBECONFIG={cluster.handle.kubeconfig}")
    print(f"export PATH={cluster.handle.kubectl.parent}:$PATH")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from .guardian.listing import find, running

    if arguments.all:
        # A silent guardian can't say whether it keeps its cluster; if nobody holds it, nobody uses it.
        there = running(arguments.root)
        wanted = [info for info in there if info.kept or info.spare or (info.state == "silent" and not info.holders)]
    else:
        wanted = [find(word, arguments.root) for word in arguments.name or [DEFAULT_NAME]]
    for info in wanted:
        name = info.name or info.cluster_id
        if info.holders:
            _say(f"{name} was held by {', '.join(info.holders)}")
        info.end()
        _say(f"{name} is gone")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from .guardian.listing import running

    there = running(arguments.root)
    if arguments.json:
        print(json.dumps([info.to_json() for info in there], indent=1))
        return 0
    rows = [("NAME", "ID", "STATE", "VERSION", "NODES", "KEPT", "HELD BY")]
    rows += [
        (
            info.name or "-",
            info.cluster_id,
            info.state,
            info.handle.k8s_version if info.handle else "-",
            str(len(info.handle.nodes)) if info.handle else "-",
            "?" if info.state == "silent" else "spare" if info.spare else "yes" if info.kept else "no",
            ", ".join(info.holders) or "-",
        )
        for info in there
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    _tell_trouble(there)
    return 0


def _tell_trouble(there: Sequence[RunningInfo]) -> None:
    for info in there:
        if info.trouble:
            _say(f"{info.name or info.cluster_id}: {info.trouble}")


def _gc(arguments: argparse.Namespace) -> int:
    from .binaries.cache import Cache
    from .guardian.listing import running
    from .guardian.sweep import sweep
    from .layout import default_root
    from .store import prepared

    left: list[str] = []
    removed = sweep(arguments.root or default_root(), left.append)
    for path in prepared.sweep(Cache().root):
        print(f"removed what was left half-made: {path}")
    for cluster_id in removed:
        print(f"removed what was left of cluster {cluster_id}")
    for line in left:
        _say(f"still there: {line}")
    if not removed and not left:
        print("nothing was left behind")
    _tell_trouble(running(arguments.root))
    return 1 if left else 0


def _build(arguments: argparse.Namespace) -> int:
    from .binaries import SUPPORTED, build_all

    wanted = [word for word in arguments.k8s_version.split(",") if word] or [""]
    versions = list(SUPPORTED) if wanted == ["all"] else [_version(word) for word in wanted]
    for version in versions:
        build_all(version, _say)
        _say(f"the executables of Kubernetes {version} are there")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import diagnose

    findings = diagnose(_version(arguments.k8s_version))
    for finding in findings:
        print(finding)
    return 0 if all(finding.good for finding in findings if finding.needed) else 1


def _versions(_: argparse.Namespace) -> int:
    from .binaries import SUPPORTED, find_executables
    from .binaries.pins import DEFAULT_VERSION

    for version in SUPPORTED:
        try:
            find_executables(version, build=False)
            state = "ready"
        except KubernixError:
            state = f"not built (pytest-kubernix build --k8s-version {version})"
        print(f"{version}{' (default)' if version == DEFAULT_VERSION else ''}: {state}")
    return 0


def _say(line: str) -> None:
    print(f"pytest-kubernix: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
