"""ClusterContext: what a component may ask while it builds its plan.
HostFacts: what was found on the machine or claimed on it, handed in so that planning stays pure."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..config import ClusterConfig
from ..errors import ExecutablesError
from .network import Network

if TYPE_CHECKING:
    from ..access.authority import KeyPair
    from .identities import Pki

CLUSTER_DOMAIN = "cluster.local"

# Only the system's own directories: what a developer's shell adds must not change a cluster.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


# Processes that live for minutes spend their first second allocating: collect less often than Go does by default.
GOGC = "400"


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What this machine gave to one cluster.

    Attributes:
        cluster_id: Short name, unique on the machine.
        run_dir: Private directory of the cluster.
        cidr: Network claimed for it.
        ports: Component → port on 127.0.0.1 reserved for it.
        programs: Name → path of every executable.
        cni_dir: Directory of CNI plugins, or "".
        images: Archives that every node preloads.
        can_hold: Whether the Kubernetes executables know how to wait, loaded, until they are let go.
        can_lower_oom_score: Whether processes here may lower their OOM score (CAP_SYS_RESOURCE).
        egress_program: Path of slirp4netns, or "" where pods get no way out.
        etcd_data: Directory with prepared data for etcd, or "".
        encryption_key: 32 random bytes, base64; Secrets are encrypted with it.
        proxy_env: HTTP proxy settings of the host, for pulling images.
        shared: Directories of the host that pods' hostPath volumes shall reach, wherever they are.
        now: The time, with a time zone.
    """

    cluster_id: str
    run_dir: str
    cidr: str
    ports: Mapping[str, int]
    programs: Mapping[str, str]
    cni_dir: str
    images: tuple[str, ...]
    can_hold: bool
    can_lower_oom_score: bool
    egress_program: str
    etcd_data: str
    encryption_key: str
    proxy_env: Mapping[str, str]
    now: datetime.datetime
    shared: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterContext:
    """Everything a component may know.

    Attributes:
        config: What was asked for.
        facts: What the machine gave.
        network: Addresses.
        pki: Keys and certificates.
        kubeconfigs: Identity → kubeconfig text; "admin", "kube-controller-manager", …, "kubelet/node-1".
            Those of nodes and node agents name the API server by an address that nodes reach.
        encryption_config: EncryptionConfiguration for Secrets, as text.
        kubectl: Path of kubectl.
        stock: Whether no plugin has changed etcd or the API server: what they write is then what prepared data has.
    """

    config: ClusterConfig
    facts: HostFacts
    network: Network
    pki: Pki
    kubeconfigs: Mapping[str, str]
    encryption_config: str
    kubectl: str
    stock: bool = True

    def program(self, name: str) -> str:
        """Path of an executable.

        Raises:
            ExecutablesError: There is none of that name.
        """
        try:
            return self.facts.programs[name]
        except KeyError:
            known = ", ".join(sorted(self.facts.programs)) or "none"
            raise ExecutablesError(f"no executable named {name!r}; there are {known}") from None

    def path(self, *parts: str) -> str:
        """A path inside the cluster's run directory."""
        return str(PurePosixPath(self.facts.run_dir, *parts))

    def port(self, component: str) -> int:
        """The port on 127.0.0.1 reserved for a component."""
        return self.facts.ports[component]

    @property
    def verbosity(self) -> int:
        """klog's -v for the configured log level."""
        return {"debug": 4, "info": 2, "warning": 1, "error": 0}[self.config.log_level]

    @property
    def server(self) -> str:
        """URL of the API server for this host."""
        return f"https://127.0.0.1:{self.port('kube-apiserver')}"

    def pair(self, identity: str) -> KeyPair:
        """Certificate and key of an identity."""
        return self.pki.pairs[identity]

    def pki_path(self, name: str) -> str:
        """Path of a file of the host-side PKI directory, such as "ca.crt"."""
        return self.path("pki", name)

    def kubeconfig_path(self, identity: str) -> str:
        """Path of a host-side kubeconfig."""
        return self.path("kubeconfigs", f"{identity}.conf")

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a process: nothing is inherited from the process that runs the tests."""
        return {"PATH": SYSTEM_PATH, "HOME": self.facts.run_dir, "GOGC": GOGC, **extra}


def flags(values: Mapping[str, str | int | bool]) -> tuple[str, ...]:
    """Command-line flags in sorted order, so that plans compare: {"v": 2} → ("--v=2",)."""
    return tuple(
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in sorted(values.items())
    )
