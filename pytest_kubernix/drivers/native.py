"""The native driver: a real cluster out of this project's own executables, under a guardian of its own.
Puts the rooms together: executables, claims, plan, boot, handle."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..binaries import Executables, find_executables
from ..binaries.bundles import EVERYTHING
from ..boot import limits, linux
from ..boot.claims import default_root
from ..boot.client import GuardianClient
from ..boot.guardian import CONTROL_SOCKET
from ..config import ClusterConfig
from ..errors import DriverError, ExecutablesError, KubernixError
from ..handle import ClusterHandle
from ..plan import HostFacts, Plan
from .base import BootOptions, Driver, RunningCluster, State, Status

# What nodes need of the system, and the Debian package that has it.
SYSTEM_PROGRAMS = {"ip": "iproute2", "mount": "mount", "nft": "nftables", "nsenter": "util-linux", "umount": "mount"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class NativeDriver(Driver):
    """Clusters of real processes on this machine."""

    name = "native"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        wanted = f"nodes={config.nodes}"
        needed, limit = limits.inotify_needed(config.nodes), limits.inotify_limit()
        if needed > limit - (used := limits.inotify_used()):
            return DriverError(
                f"{wanted}: needs about {needed} inotify instances; this user has {limit}, {used} of them in use",
                hint="Ask for fewer nodes, or raise the limit as root: sysctl fs.inotify.max_user_instances=1024",
            )
        if not config.nodes:
            return None
        if not linux.may_make_namespaces():
            return DriverError(
                f"{wanted}: this user may not make network and mount namespaces "
                "(CAP_SYS_ADMIN and CAP_NET_ADMIN are missing)",
                hint="Run as root, or ask for nodes=0: a control plane without nodes needs no rights.",
            )
        missing = {name: package for name, package in SYSTEM_PROGRAMS.items() if not system_program(name)}
        if missing:
            return DriverError(
                f"{wanted}: not on this machine: {', '.join(missing)}",
                hint=f"Install them: apt-get install {' '.join(sorted(set(missing.values())))}",
            )
        return None

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        if problem := self.check(config):
            raise problem
        executables = find_executables(config.k8s_version, nodes=config.nodes > 0, progress=options.progress)
        guardian = GuardianClient(config.root)
        try:
            return self._boot(config, options, executables, guardian)
        except BaseException:
            guardian.stop()
            raise

    def _boot(
        self, config: ClusterConfig, options: BootOptions, executables: Executables, guardian: GuardianClient
    ) -> NativeCluster:
        # Imported while the guardian starts: this brings in the cryptography library.
        from ..plan import make_plan

        claimed = guardian.request(
            {"op": "claim", "api_port": config.api_port, "cidr": config.cidr, "nodes": config.nodes}
        )
        facts = host_facts(executables, guardian.cluster_id, str(guardian.run_dir), claimed)
        plan = make_plan(config, facts, plugins=options.component_plugins)
        handle = _handle(config, plan, executables, guardian)

        def on_event(event: dict[str, object]) -> None:
            if event.get("event") == "phase":
                options.progress(_phase_line(event))

        answer = guardian.request(
            {
                "op": "boot",
                "plan": plan.to_json(),
                "timeout": config.boot_timeout,
                "handle": json.loads(handle.to_json()),
                "keep_logs": str(failed_boots()),
            },
            on_event,
        )
        return NativeCluster(guardian, ClusterHandle.from_json(json.dumps(answer["handle"])))


class NativeCluster(RunningCluster):
    """A cluster that a guardian keeps for this process."""

    def __init__(self, guardian: GuardianClient, handle: ClusterHandle) -> None:
        self._guardian = guardian
        self.handle = handle

    def status(self) -> Status:
        components = self._guardian.request({"op": "status"})["components"]
        dead = sorted(name for name, component in components.items() if not component["alive"])
        if dead:
            return Status(State.NOT_READY, f"not running: {', '.join(dead)}")
        return Status(State.READY)

    def load_image(self, archive: str) -> Sequence[str]:
        from ..components.containerd import import_argv

        loaded: list[str] = []
        for node in self.handle.nodes:
            argv = import_argv(self.handle.programs["ctr"], str(Path(archive).resolve()))
            result = self._guardian.request(
                {"op": "run", "name": f"image import ({node})", "argv": argv, "env": {"PATH": SYSTEM_PATH},
                 "within": node}
            )  # fmt: skip
            if result["returncode"] != 0:
                raise KubernixError(f"{node} could not load {archive}: {result['stderr'].strip()}")
            # ctr's line for each image: "unpacking docker.io/library/app:1 (sha256:…)...done".
            loaded = list(dict.fromkeys(re.findall(r"(?m)^unpacking (\S+) \(", result["stdout"])))
        return loaded

    def stop(self) -> None:
        self._guardian.stop()


def host_facts(executables: Executables, cluster_id: str, run_dir: str, claimed: Mapping[str, object]) -> HostFacts:
    """The machine's side of a plan: what a guardian claimed, and what is found here."""
    return HostFacts(
        cluster_id=cluster_id,
        run_dir=run_dir,
        programs={name: str(path) for name, path in executables.programs.items()},
        cni_dir=str(executables.cni_dir or ""),
        images=tuple(str(image) for image in executables.images),
        egress_program=egress_program(),
        encryption_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        proxy_env={name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ},
        now=datetime.datetime.now(datetime.UTC),
        **claimed,  # type: ignore[arg-type]
    )


def planned_facts(config: ClusterConfig) -> HostFacts:
    """Facts for a dry run: nothing is claimed, so ids, ports and networks are examples."""
    try:
        executables = find_executables(config.k8s_version, nodes=config.nodes > 0, build=False)
    except ExecutablesError:
        names = {name: Path("/not-built-yet", name) for name in EVERYTHING}
        executables = Executables(config.k8s_version, names, Path("/not-built-yet/cni"), ())
    claimed = {
        "ports": {
            "kube-apiserver": config.api_port or 6443,
            "kube-controller-manager": 10257,
            "kube-scheduler": 10259,
        },
        "cidr": config.cidr or "10.10.0.0/16",
        "can_lower_oom_score": linux.has_capability(linux.CAP_SYS_RESOURCE),
    }
    run_dir = (config.root or default_root()) / "000000"
    return host_facts(executables, "000000", str(run_dir), claimed)


def egress_program() -> str:
    """Path of the program that lets pods out, or "" where that can't work."""
    return (system_program("slirp4netns") or "") if Path("/dev/net/tun").exists() else ""


def failed_boots() -> Path:
    """Where the logs of boots that failed are kept."""
    from platformdirs import user_log_path

    return user_log_path("pytest-kubernix") / "failed-boots"


def system_program(name: str) -> str | None:
    """Path of a program of the system; a user's PATH often lacks the sbin directories."""
    return shutil.which(name, path=SYSTEM_PATH)


def _handle(config: ClusterConfig, plan: Plan, executables: Executables, guardian: GuardianClient) -> ClusterHandle:
    return ClusterHandle(
        cluster_id=plan.cluster_id,
        driver=NativeDriver.name,
        k8s_version=config.k8s_version,
        server=plan.server,
        kubeconfig=Path(plan.admin_kubeconfig),
        kubectl=executables["kubectl"],
        nodes=plan.nodes,
        run_dir=guardian.run_dir,
        control_socket=guardian.run_dir / CONTROL_SOCKET,
        config=config.to_json(),
        capabilities=("etcd", "users", *(("images", "nodes") if plan.nodes else ())),
        programs={name: str(path) for name, path in executables.programs.items()},
    )


def _phase_line(event: dict[str, object]) -> str:
    if event["seconds"] is None:
        return f"{event['phase']}: starting {event['count']} component{'s' if event['count'] != 1 else ''}"
    return f"{event['phase']}: ready after {event['seconds']:.1f} s"
