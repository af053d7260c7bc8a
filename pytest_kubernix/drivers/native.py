"""The native driver: a real cluster out of this project's own executables, under a guardian of its own.
Puts the rooms together: executables, claims, plan, boot, handle."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..binaries import Executables, find_executables
from ..binaries.bundles import EVERYTHING
from ..binaries.cache import Cache
from ..boot import limits, linux, wire
from ..boot.client import GuardianClient
from ..boot.connection import Connection
from ..boot.rundir import CONTROL_SOCKET, ETCD_SOCKET, GUARDIAN_LOG, default_root
from ..config import ClusterConfig
from ..errors import ClusterGone, ConfigError, DriverError, ExecutablesError, KubernixError
from ..handle import ClusterHandle
from ..plan import HostFacts, Plan
from ..sharing.running import difference
from ..store.client import EtcdClient
from ..store.prepared import PreparedData
from .base import BootOptions, Death, Diagnostics, Driver, RunningCluster, State, Status

# What nodes need of the system, and the Debian package that has it.
SYSTEM_PROGRAMS = {"ip": "iproute2", "mount": "mount", "nft": "nftables", "nsenter": "util-linux", "umount": "mount"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# After the boot's own limit, for its report to arrive.
GRACE = 5.0
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class NativeDriver(Driver):
    """Clusters of real processes on this machine."""

    name = "native"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        wanted = f"nodes={config.nodes}"
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
        while True:
            cluster = self._meet(config, options, executables)
            if cluster:
                return cluster

    @staticmethod
    def _meet(config: ClusterConfig, options: BootOptions, executables: Executables) -> NativeCluster | None:
        """One try; None when the cluster that was to be reused had to be ended."""
        guardian = GuardianClient.meet(config.root, options.share.meeting(), config.boot_timeout)
        try:
            boot = _Boot(config, options, executables, guardian)
            cluster = boot.until_ready()
            if options.share.name:
                if sick := boot.check_reused(cluster):
                    options.progress(f"replacing cluster {options.share.name}: {sick}")
                    guardian.stop()
                    return None
                guardian.connection.request({"op": "keep"})
            return cluster
        except BaseException:
            if options.share.key:
                # Others wait for the same cluster, or want to learn why there is none.
                guardian.leave()
            else:
                guardian.stop()
            raise


class _Boot:
    """One process's part in getting a cluster ready, which others may share."""

    def __init__(
        self, config: ClusterConfig, options: BootOptions, executables: Executables, guardian: GuardianClient
    ) -> None:
        self._config = config
        self._options = options
        self._executables = executables
        self._guardian = guardian
        self._deadline = time.monotonic() + config.boot_timeout + GRACE
        self._waits_for = ""

    def until_ready(self) -> NativeCluster:
        """Boot the cluster or wait for whoever does; take over from who died of it."""
        answer = self._request({"op": "attach", "who": self._options.share.who})
        while True:
            if answer["state"] == "vacant":
                answer = self._plan_and_boot()
            elif answer["state"] == "booted":
                cluster = NativeCluster(self._guardian, answer["handle"], shared=bool(self._options.share.key))
                self._prepare_next_boots()
                with self._telling_everybody():
                    self._options.prepare(cluster)
                self._request({"op": "publish"})
                return cluster
            else:
                return NativeCluster(self._guardian, answer["handle"], shared=bool(self._options.share.key))

    def _prepare_next_boots(self) -> None:
        """The first cluster of a version leaves what makes all later ones boot faster."""
        data = _prepared_data(self._executables)
        if data.find():
            return
        try:
            with contextlib.closing(EtcdClient(self._guardian.run_dir / ETCD_SOCKET)) as etcd:
                data.make(etcd, self._executables["etcd"])
        except (KubernixError, OSError) as error:
            self._options.progress(f"later boots will be no faster: {error}")

    def check_reused(self, cluster: NativeCluster) -> str:
        """Why a cluster that was running already will not do any more, or "".

        Raises:
            ConfigError: It is not what is asked for.
        """
        lines = difference(self._config, cluster.handle.config)
        if lines:
            name = self._options.share.name
            raise ConfigError(
                "reuse",
                name,
                "the running cluster of that name is another one:\n  "
                + "\n  ".join(lines)
                + f"\nallowed is the same configuration; or end that cluster: pytest-kubernix down {name}",
            )
        status = cluster.status()
        return "" if status.state is State.READY else status.detail

    def _plan_and_boot(self) -> dict[str, Any]:
        # Imported while the guardian starts: this brings in the cryptography library.
        from ..plan import make_plan

        config = self._config
        with self._telling_everybody():
            if problem := too_many(config):
                raise problem
            claimed = self._request(
                {"op": "claim", "api_port": config.api_port, "cidr": config.cidr, "nodes": config.nodes}
            )
            if claimed.get("taken"):
                return self._request({"op": "attach", "who": self._options.share.who})
            guardian = self._guardian
            facts = host_facts(
                self._executables,
                guardian.cluster_id,
                str(guardian.run_dir),
                claimed,
                etcd_data=_prepared_data(self._executables).find(),
            )
            plan = make_plan(config, facts, plugins=self._options.component_plugins)
        handle = _handle(config, plan, self._executables, guardian, ports=claimed["ports"])
        return self._request(
            {
                "op": "boot",
                "plan": plan.to_json(),
                "timeout": config.boot_timeout,
                "handle": json.loads(handle.to_json()),
                "keep_logs": str(failed_boots()),
            }
        )

    @contextlib.contextmanager
    def _telling_everybody(self) -> Iterator[None]:
        """What goes wrong here goes wrong for all who wait: they get the same error, and nobody tries again."""
        try:
            yield
        except Exception as error:
            told = error if isinstance(error, KubernixError) else KubernixError(f"{type(error).__name__}: {error}")
            with contextlib.suppress(KubernixError, TimeoutError):
                self._request({"op": "give_up", "error": wire.pack(told)})
            raise

    def _request(self, message: dict[str, Any]) -> dict[str, Any]:
        connection = self._guardian.connection
        try:
            return connection.request(
                message, on_event=self._on_event, timeout=max(0.1, self._deadline - time.monotonic())
            )
        except TimeoutError:
            state = connection.last_state.get("state", "silent")
            charge = connection.last_state.get("charge") or "nobody"
            raise KubernixError(
                f"the cluster was not ready within {self._config.boot_timeout:g} s: it is {state}, "
                f"and {charge} is in charge of it",
                hint="If that process is stopped or stuck, end it: another one takes over.",
            ) from None

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "phase":
            self._options.progress(_phase_line(event))
        elif event["event"] == "state":
            charge = event["charge"]
            if charge and charge not in (self._options.share.who, self._waits_for):
                self._waits_for = charge
                self._options.progress(f"{self._options.share.who} waits for {charge}, which boots the cluster")


class NativeCluster(RunningCluster):
    """A cluster that a guardian keeps for this process."""

    def __init__(self, guardian: GuardianClient, handle: dict[str, Any], *, shared: bool) -> None:
        self._guardian = guardian
        self._shared = shared
        self.handle = ClusterHandle.from_json(json.dumps(handle))

    def status(self) -> Status:
        components = self._guardian.connection.request({"op": "status"})["components"]
        wrong = sorted(f"{name} is {state}" for name, state in components.items() if state != "running")
        return Status(State.NOT_READY, ", ".join(wrong)) if wrong else Status(State.READY)

    def components(self) -> Mapping[str, str]:
        states: dict[str, str] = self._guardian.connection.request({"op": "status"})["components"]
        return states

    def diagnostics(self, *, timeout: float) -> Diagnostics:
        run_dir = self._guardian.run_dir
        logs = [*sorted((run_dir / "logs").glob("*.log")), run_dir / GUARDIAN_LOG]
        try:
            # A conversation of its own: after a time-out there is no other, and tests go on with theirs.
            with contextlib.closing(Connection(run_dir / CONTROL_SOCKET, run_dir.name)) as connection:
                status = connection.request({"op": "status"}, timeout=timeout)
        except ClusterGone:
            if not logs[0].exists():
                raise
            # The guardian was killed, so nobody removed what it left.
            return Diagnostics({"guardian": "dead"}, logs={path.stem: path for path in logs})
        return Diagnostics(
            components=status["components"],
            deaths=[Death(**death) for death in status["deaths"]],
            timeline=[(name, what, at) for name, what, at in status["timeline"]],
            logs={path.stem: path for path in logs},
        )

    def fault(self, name: str, action: str) -> None:
        self._guardian.connection.request({"op": "fault", "name": name, "action": action})

    def others(self) -> Sequence[str]:
        others: list[str] = self._guardian.connection.request({"op": "status"})["others"]
        return others

    def etcd(self) -> Path:
        return self._guardian.run_dir / ETCD_SOCKET

    def load_image(self, archive: str) -> Sequence[str]:
        from ..components.containerd import import_argv

        loaded: list[str] = []
        for node in self.handle.nodes:
            argv = import_argv(self.handle.programs["ctr"], str(Path(archive).resolve()))
            result = self._guardian.connection.request(
                {"op": "run", "name": f"image import ({node})", "argv": argv, "env": {"PATH": SYSTEM_PATH},
                 "within": node}
            )  # fmt: skip
            if result["returncode"] != 0:
                raise KubernixError(f"{node} could not load {archive}: {result['stderr'].strip()}")
            # ctr's line for each image: "unpacking docker.io/library/app:1 (sha256:…)...done".
            loaded = list(dict.fromkeys(re.findall(r"(?m)^unpacking (\S+) \(", result["stdout"])))
        return loaded

    def keep(self) -> None:
        self._guardian.connection.request({"op": "keep"})
        self._guardian.leave()

    def stop(self) -> None:
        if self._shared:
            self._guardian.leave()
        else:
            self._guardian.stop()


def too_many(config: ClusterConfig) -> KubernixError | None:
    """Why this machine has no room for one more such cluster, or None."""
    needed, limit = limits.inotify_needed(config.nodes), limits.inotify_limit()
    if needed <= limit - (used := limits.inotify_used()):
        return None
    return DriverError(
        f"nodes={config.nodes}: needs about {needed} inotify instances; this user has {limit}, {used} of them in use",
        hint="Ask for fewer nodes, or raise the limit as root: sysctl fs.inotify.max_user_instances=1024",
    )


def host_facts(
    executables: Executables, cluster_id: str, run_dir: str, claimed: Mapping[str, object], *, etcd_data: str
) -> HostFacts:
    """The machine's side of a plan: what a guardian claimed, and what is found here."""
    return HostFacts(
        cluster_id=cluster_id,
        run_dir=run_dir,
        programs={name: str(path) for name, path in executables.programs.items()},
        cni_dir=str(executables.cni_dir or ""),
        images=tuple(str(image) for image in executables.images),
        egress_program=egress_program(),
        etcd_data=etcd_data,
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
    return host_facts(executables, "000000", str(run_dir), claimed, etcd_data=_prepared_data(executables).find())


def egress_program() -> str:
    """Path of the program that lets pods out, or "" where that can't work."""
    return (system_program("slirp4netns") or "") if Path("/dev/net/tun").exists() else ""


def _prepared_data(executables: Executables) -> PreparedData:
    return PreparedData(Cache().root, executables["kube-apiserver"], executables.kubernetes_version)


def failed_boots() -> Path:
    """Where the logs of boots that failed are kept."""
    from platformdirs import user_log_path

    return user_log_path("pytest-kubernix") / "failed-boots"


def system_program(name: str) -> str | None:
    """Path of a program of the system; a user's PATH often lacks the sbin directories."""
    return shutil.which(name, path=SYSTEM_PATH)


def _handle(
    config: ClusterConfig,
    plan: Plan,
    executables: Executables,
    guardian: GuardianClient,
    *,
    ports: Mapping[str, int],
) -> ClusterHandle:
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
        metrics={name: f"https://127.0.0.1:{port}/metrics" for name, port in ports.items()},
    )


def _phase_line(event: dict[str, object]) -> str:
    if event["seconds"] is None:
        return f"{event['phase']}: starting {event['count']} component{'s' if event['count'] != 1 else ''}"
    return f"{event['phase']}: ready after {event['seconds']:.1f} s"
