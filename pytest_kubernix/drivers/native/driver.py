"""The native driver: a real cluster out of this project's own executables, under a guardian of its own.
Puts the rooms together: machine, executables, claims, plan, boot, handle."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...binaries import Executables, find_executables
from ...config import ClusterConfig
from ...errors import ClusterGone, ConfigError, KubernixError
from ...guardian import protocol as wire
from ...guardian import unresponsive as silence
from ...guardian.client import GuardianClient
from ...guardian.listing import difference
from ...guardian.rundir import CONTROL_SOCKET, ETCD_SOCKET, PREPARED, PREPARING_LOCK
from ...handle import ClusterHandle
from ...layout import how_to_remove
from ...linux import calls as linux
from ...plan.model import Plan
from ...store.etcd import EtcdClient
from ..base import BootOptions, Driver, RunningCluster, State
from . import machine
from .boot_ahead import Spares
from .running import NativeCluster

# After the boot's own limit, for its report to arrive.
GRACE = 5.0


class NativeDriver(Driver):
    """Clusters of real processes on this machine."""

    name = "native"

    def check(self, config: ClusterConfig) -> KubernixError | None:
        return machine.missing(config.nodes)

    def start(self, config: ClusterConfig, options: BootOptions) -> RunningCluster:
        if problem := self.check(config):
            raise problem
        executables = find_executables(config.k8s_version, nodes=config.nodes > 0, progress=options.progress)
        spares = None
        if options.spares and not config.repeatable:
            options.progress("boots no spare: a fixed port or network is there once")
        elif options.spares:

            def boot_spare(guardian: GuardianClient, begun: Callable[[], None]) -> None:
                # The first that is heard of a boot is that it goes on by itself.
                quiet = BootOptions(
                    progress=lambda line: begun(),
                    share=options.share.alone(),
                    component_plugins=options.component_plugins,
                )
                _Boot(config, quiet, executables, guardian).until_booted()

            spares = Spares(config, options, executables, boot_spare)
        while True:
            cluster = self._meet(config, options, executables, spares)
            if cluster:
                break
        if spares:
            cluster.spares = spares
            spares.fill(options.spares)
        return cluster

    @staticmethod
    def _meet(
        config: ClusterConfig, options: BootOptions, executables: Executables, spares: Spares | None
    ) -> NativeCluster | None:
        """One try; None when the cluster that was to be reused had to be ended, or a spare was gone."""
        guardian = taken = spares.take() if spares else None
        if guardian:
            options.progress(f"takes spare {guardian.cluster_id}")
        else:
            guardian = GuardianClient.meet(
                config.root, options.share.meeting(config.root), config.boot_timeout, meanwhile=_load_planning
            )
        try:
            boot = _Boot(config, options, executables, guardian)
            cluster = boot.until_ready()
            if options.share.name:
                if sick := boot.check_reused(cluster):
                    options.progress(f"replacing cluster {options.share.name}: {sick}")
                    guardian.stop()
                    return None
                boot.keep()
                boot.prepare_found(cluster)
            return cluster
        except ClusterGone:
            guardian.leave()
            if not taken:
                raise
            options.progress(f"spare {guardian.cluster_id} ended before it could be held")
            return None
        except BaseException:
            if options.share.key:
                # Others wait for the same cluster, or want to learn why there is none.
                guardian.leave()
            else:
                guardian.stop()
            raise


def _load_planning() -> None:
    """Import what makes plans: its library for keys takes half as long to import as a guardian to start."""
    import_module("pytest_kubernix.plan.assemble")


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
        self._leaves_data = False

    def until_ready(self) -> NativeCluster:
        """Boot the cluster or wait for whoever does; take over from who died of it."""
        answer = self.until_booted()
        cluster = NativeCluster(self._guardian, answer["handle"], shared=bool(self._options.share.key))
        if answer["state"] == "booted":
            self._prepare_next_boots()
            with self._telling_everybody():
                self._prepare(cluster)
            self._request({"op": "publish"}, at_least=GRACE)
        return cluster

    def until_booted(self) -> dict[str, Any]:
        """The guardian's answer once all components are ready, whoever booted them; it has the handle."""
        answer = self._request({"op": "attach", "who": self._options.share.who})
        while answer["state"] == "vacant":
            answer = self._plan_and_boot()
        return answer

    def _prepare_next_boots(self) -> None:
        """The first cluster of a version leaves what makes all later ones boot faster.

        Not one that a plugin may have changed: of this process's own boot nobody has seen anything yet.
        """
        if not self._leaves_data:
            return
        data = machine.prepared_data(self._executables)
        try:
            with contextlib.closing(EtcdClient(self._guardian.run_dir / ETCD_SOCKET)) as etcd:
                data.make(etcd, self._executables["etcd"], self._guardian.run_dir)
        except (KubernixError, OSError) as error:
            self._options.progress(f"later boots will be no faster: {error}")

    def prepare_found(self, cluster: NativeCluster) -> None:
        """Prepare a cluster that was running already, once in each test run: its suite may be another one by now."""
        if not self._options.share.run:
            return
        lock = FileLock(self._guardian.run_dir / PREPARING_LOCK, timeout=self._config.boot_timeout)
        try:
            with lock:
                if self._options.share.run not in self._preparations():
                    self._prepare(cluster)
        except Timeout:
            raise KubernixError(
                f"cluster {self._options.share.name}: another process has been preparing it for "
                f"{self._config.boot_timeout:g} s (pytest_kubernix_cluster_ready)"
            ) from None

    def _preparations(self) -> list[str]:
        record = self._guardian.run_dir / PREPARED
        return record.read_text().splitlines() if record.exists() else []

    def _prepare(self, cluster: NativeCluster) -> None:
        self._options.prepare(cluster)
        with (self._guardian.run_dir / PREPARED).open("a") as record:
            record.write(f"{self._options.share.run}\n")

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
                "the running cluster of that name is another one than options, marker or kubernix_config ask for:\n  "
                + "\n  ".join(lines)
                + "\nallowed is the same configuration; or end that cluster: "
                + how_to_remove(name, self._guardian.run_dir),
            )
        status = cluster.status()
        return "" if status.state is State.READY else status.detail

    def _plan_and_boot(self) -> dict[str, Any]:
        from ...plan import make_plan

        config = self._config
        with self._telling_everybody():
            if problem := machine.too_many(config):
                raise problem
            claimed = self._request(
                {"op": "claim", "api_port": config.api_port, "cidr": config.cidr, "nodes": config.nodes}
            )
            if claimed.get("taken"):
                return self._request({"op": "attach", "who": self._options.share.who})
            guardian = self._guardian
            facts = machine.host_facts(
                self._executables,
                guardian.cluster_id,
                str(guardian.run_dir),
                claimed,
                etcd_data=machine.prepared_data(self._executables).find(),
            )
            plan = make_plan(config, facts, plugins=self._options.component_plugins)
        self._leaves_data = plan.stock and not facts.etcd_data
        handle = _handle(config, plan, self._executables, guardian, ports=claimed["ports"])
        return self._request(
            {
                "op": "boot",
                "plan": plan.to_json(),
                "timeout": config.boot_timeout,
                "handle": json.loads(handle.to_json()),
                "keep_logs": str(machine.failed_boots()),
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

    def keep(self) -> None:
        """Let the cluster stay when nobody holds it."""
        self._request({"op": "keep"}, at_least=GRACE)

    def _request(self, message: dict[str, Any], at_least: float = 0.1) -> dict[str, Any]:
        connection = self._guardian.connection
        try:
            return connection.request(
                message, on_event=self._on_event, timeout=max(at_least, self._deadline - time.monotonic())
            )
        except TimeoutError:
            late = f"the cluster was not ready within {self._config.boot_timeout:g} s: "
            state, charge = (connection.last_state.get(key, "") for key in ("state", "charge"))
            # Whoever boots hears of a boot that takes too long, from the guardian.
            if charge in (self._options.share.who, "") or linux.is_stopped(connection.guardian):
                why = silence.describe(connection)
                raise KubernixError(late + why, hint=silence.how_to_mend(self._guardian.run_dir)) from None
            raise KubernixError(
                f"{late}it is {state}, and {charge} is in charge of it",
                hint="If that process is stopped or stuck, end it: another one takes over.",
            ) from None

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "phase":
            # Who waits has been told for whom; that one tells how it gets on.
            if not self._waits_for:
                self._options.progress(_phase_line(event))
        elif event["event"] == "state":
            charge = event["charge"]
            if charge in (self._options.share.who, ""):
                self._waits_for = ""
            elif charge != self._waits_for:
                self._waits_for = charge
                self._options.progress(f"{self._options.share.who} waits for {charge}, which boots the cluster")


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
