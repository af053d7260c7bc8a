"""What the native driver needs of this machine: rights, programs, room; and what it finds here, for a plan.
Looks only; claims are the guardian's."""

from __future__ import annotations

import base64
import datetime
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ...binaries import Executables, find_executables
from ...binaries.bundles import EVERYTHING
from ...binaries.cache import Cache
from ...boot.engine import NativeFacts
from ...config import ClusterConfig
from ...errors import DriverError, ExecutablesError, KubernixError
from ...layout import Layout, default_root
from ...linux import calls, cgroups, limits
from ...plan.context import SYSTEM_PATH, HostFacts
from ...store.prepared import PreparedData

# What nodes need of the system, and the Debian package that has it.
SYSTEM_PROGRAMS = {"ip": "iproute2", "mount": "mount", "nft": "nftables", "nsenter": "util-linux", "umount": "mount"}
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def missing(nodes: int) -> KubernixError | None:
    """Why no cluster with so many nodes can be made here, or None."""
    if not nodes:
        return None
    wanted = f"nodes={nodes}"
    if not calls.may_make_namespaces():
        return DriverError(
            f"{wanted}: this user may not make network and mount namespaces "
            "(CAP_SYS_ADMIN and CAP_NET_ADMIN are missing)",
            hint=f"{_how_to_have_rights()}, or ask for nodes=0: a control plane without nodes needs no rights.",
        )
    absent = {name: package for name, package in SYSTEM_PROGRAMS.items() if not system_program(name)}
    if absent:
        return DriverError(
            f"{wanted}: not on this machine: {', '.join(absent)}",
            hint=f"Install them: apt-get install {' '.join(sorted(set(absent.values())))}",
        )
    if problem := cgroups.unusable():
        return DriverError(
            f"{wanted}: this machine's cgroups can't hold nodes: {problem}",
            hint="In a container, run it privileged; on a machine, the kernel's command line may disable controllers.",
        )
    return None


def _how_to_have_rights() -> str:
    """What gives this user the rights that it lacks: to root in a container, "run as root" says nothing."""
    if os.geteuid() == 0:
        return "This is root without those capabilities, as in a container: run that privileged, or add them to it"
    return "Run as root"


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
    executables: Executables, layout: Layout, claimed: NativeFacts, *, etcd_data: str, shared: Iterable[Path] = ()
) -> HostFacts:
    """The machine's side of a plan: what a guardian claimed, and what is found here."""
    return HostFacts(
        cluster_id=layout.cluster_id,
        run_dir=str(layout.run_dir),
        ports=claimed.ports,
        cidr=claimed.cidr,
        can_lower_oom_score=claimed.can_lower_oom_score,
        programs={name: str(path) for name, path in executables.programs.items()},
        cni_dir=str(executables.cni_dir or ""),
        images=tuple(str(image) for image in executables.images),
        egress_program=egress_program(),
        can_hold=_can_hold(executables),
        etcd_data=etcd_data,
        encryption_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        proxy_env=proxy_environment(),
        now=datetime.datetime.now(datetime.UTC),
        shared=tuple(dict.fromkeys(str(path.resolve()) for path in (*shared, Path(tempfile.gettempdir())))),
    )


def _can_hold(executables: Executables) -> bool:
    """Whether these are this package's own: one executable by many names. Upstream's begin at once."""
    one, other = executables["kube-apiserver"], executables["kube-scheduler"]
    return not one.exists() or one.samefile(other)


def proxy_environment() -> dict[str, str]:
    """The proxies that pods' images come through, as this process has them."""
    return {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}


def planned_facts(config: ClusterConfig, *, etcd_data: str | None = None) -> HostFacts:
    """Facts for a dry run: nothing is claimed, so ids, ports and networks are examples.

    Args:
        config: What the cluster should be.
        etcd_data: Directory with prepared data, or "" for none; None is what would be found.
    """
    try:
        executables = find_executables(config.k8s_version, nodes=config.nodes > 0, build=False)
    except ExecutablesError:
        names = {name: Path("/not-built-yet", name) for name in EVERYTHING}
        executables = Executables(config.k8s_version, names, Path("/not-built-yet/cni"), ())
    claimed = NativeFacts(
        ports={"kube-apiserver": config.api_port or 6443, "kube-controller-manager": 10257, "kube-scheduler": 10259},
        cidr=config.cidr or "10.10.0.0/16",
        can_lower_oom_score=calls.has_capability(calls.CAP_SYS_RESOURCE),
    )
    layout = Layout((config.root or default_root()) / "000000")
    data = prepared_data(executables).find() if etcd_data is None else etcd_data
    return host_facts(executables, layout, claimed, etcd_data=data)


def egress_program() -> str:
    """Path of the program that lets pods out, or "" where that can't work."""
    return (system_program("slirp4netns") or "") if Path("/dev/net/tun").exists() else ""


def prepared_data(executables: Executables) -> PreparedData:
    """Where the prepared data of an etcd for these executables is, or will be."""
    return PreparedData(Cache().root, executables["kube-apiserver"], executables.kubernetes_version)


def system_program(name: str) -> str | None:
    """Path of a program of the system; a user's own PATH often lacks the sbin directories."""
    return shutil.which(name, path=SYSTEM_PATH)


def failed_boots() -> Path:
    """Where the logs of boots that failed are kept."""
    from platformdirs import user_log_path

    # A user without a home, such as a mere number in a container, has none for logs either.
    try:
        Path.home()
    except RuntimeError:
        return default_root().with_name(f"kubernix-failed-boots-{os.getuid()}")
    return user_log_path("pytest-kubernix") / "failed-boots"
