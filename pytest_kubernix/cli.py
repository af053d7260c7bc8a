"""`pytest-kubernix up | build | doctor | versions`: what fixtures do, without a test.
Each command goes through the same code as the fixtures; errors are printed, not traced."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .config import ClusterConfig
from .errors import ConfigError, KubernixError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 for a failure, 2 for a wrong call."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except ConfigError as error:
        print(f"pytest-kubernix: --{error.field.replace('_', '-')}={error.value}: {error.allowed}", file=sys.stderr)
        return 2
    except KubernixError as error:
        print(f"pytest-kubernix: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-kubernix", description="Real Kubernetes clusters for tests.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot a cluster and keep it until Ctrl-C")
    up.add_argument("--nodes", type=int, default=1, help="number of nodes; 0 is a control plane only")
    up.add_argument("--cidr", help="network of the cluster; default: a free one")
    up.add_argument("--root", type=Path, help="directory for the files of running clusters")
    up.add_argument("--api-port", type=int, default=0, help="port of the API server; 0 is any free one")
    up.add_argument("--log-level", default="warning", help="debug, info, warning or error")
    up.add_argument("--dry-run", action="store_true", help="print the whole plan and start nothing")
    _add_version(up)
    up.set_defaults(run=_up)

    build = commands.add_parser("build", help="build the executables, unless they are there")
    _add_version(build, several=True)
    build.set_defaults(run=_build)

    doctor = commands.add_parser("doctor", help="say what works on this machine, and what is missing")
    _add_version(doctor)
    doctor.set_defaults(run=_doctor)

    versions = commands.add_parser("versions", help="list the versions of Kubernetes that can be had")
    versions.set_defaults(run=_versions)
    return parser


def _add_version(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    many = "; several, separated by commas; or all" if several else ""
    parser.add_argument(
        "--k8s-version", default="", metavar="VERSION", help=f"exact (1.36.3), a minor (1.36), or latest{many}"
    )


def _version(spec: str) -> str:
    from .binaries.versions import DEFAULT_VERSION, resolve

    try:
        return resolve(spec) if spec else DEFAULT_VERSION
    except ValueError as error:
        raise ConfigError("k8s_version", spec, str(error).removeprefix(f"{spec}: ")) from None


def _up(arguments: argparse.Namespace) -> int:
    config = ClusterConfig(
        k8s_version=_version(arguments.k8s_version),
        nodes=arguments.nodes,
        cidr=arguments.cidr,
        root=arguments.root,
        api_port=arguments.api_port,
        log_level=arguments.log_level,
    )
    from .drivers.base import BootOptions
    from .drivers.native import NativeDriver, planned_facts

    if arguments.dry_run:
        from .plan import make_plan
        from .plan.render import render

        print(render(make_plan(config, planned_facts(config))), end="")
        return 0
    # SIGTERM ends the wait below as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = NativeDriver().start(config, BootOptions(progress=_say))
    try:
        _say(f"ready after {cluster.handle.timings['total']:.1f} s; Ctrl-C ends it")
        print(f"export KUBECONFIG={cluster.handle.kubeconfig}", flush=True)
        print(f"export PATH={cluster.handle.kubectl.parent}:$PATH", flush=True)
        while True:
            signal.pause()
    finally:
        cluster.stop()
        _say("gone")


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
    from .binaries.versions import DEFAULT_VERSION

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
