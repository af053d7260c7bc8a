"""The layout of a run directory: every path in it, by name, for every process that looks into one.
Pure: it names paths, and touches none."""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Linux's limit for the path of a socket (unix(7): sun_path), less the final zero.
MAX_SOCKET_PATH = 107
# A cluster's id names its directory, its link and its cgroups; a link's name has 15 characters at most.
ID_DIGITS = 8
LONGEST_SOCKET = "etcd-peer.sock"
# Beside letters and digits, what the path of a root may hold.
SAFE = "/._-+@~=,"


@dataclass(frozen=True)
class Layout:
    """The paths of one cluster's files.

    Attributes:
        run_dir: The cluster's directory; its name is the cluster's id.
    """

    run_dir: Path

    @property
    def cluster_id(self) -> str:
        """The cluster's id."""
        return self.run_dir.name

    @property
    def host_link(self) -> str:
        """Name of the one link that the host gets, from a cluster with nodes."""
        return f"kx-{self.cluster_id}"

    # What processes that share a cluster use to find each other.

    @property
    def holders_lock(self) -> Path:
        """Shared by all holders; free when none is left."""
        return self.run_dir / "holders.lock"

    @property
    def guardian_lock(self) -> Path:
        """Held by the guardian, and by its children where it is process 1 of their PID namespace."""
        return self.run_dir / "guardian.lock"

    @property
    def start_lock(self) -> Path:
        """Held by the process that looks for a guardian and starts one."""
        return self.run_dir / "start.lock"

    @property
    def starter(self) -> Path:
        """Names the process that has the start lock."""
        return self.run_dir / "starter"

    @property
    def name(self) -> Path:
        """The name under which the cluster is kept."""
        return self.run_dir / "name"

    @property
    def engine(self) -> Path:
        """Names the engine that runs the cluster, so that a sweep knows how to remove what is left."""
        return self.run_dir / "engine"

    @property
    def guardian_log(self) -> Path:
        """The guardian's own lines."""
        return self.run_dir / "guardian.log"

    @property
    def control_socket(self) -> Path:
        """Where the guardian answers."""
        return self.run_dir / "control.sock"

    @property
    def watch_socket(self) -> Path:
        """Where the guardian takes pidfds of processes that it shall watch."""
        return self.run_dir / "watch.sock"

    # What a cluster that runs leaves for its holders.

    @property
    def handle(self) -> Path:
        """How to reach the cluster; see `ClusterHandle`."""
        return self.run_dir / "handle.json"

    @property
    def ready_runs(self) -> Path:
        """The ids of the test runs whose plugins have prepared the cluster (`pytest_kubernix_cluster_ready`)."""
        return self.run_dir / "ready-runs"

    @property
    def ready_lock(self) -> Path:
        """Held by the process whose plugins prepare a cluster that was found."""
        return self.run_dir / "ready.lock"

    @property
    def spare(self) -> Path:
        """Offers the cluster as a spare; its text says what it is."""
        return self.run_dir / "spare"

    @property
    def spare_taken(self) -> Path:
        """The offer, once a process has taken it."""
        return self.run_dir / "spare.taken"

    @property
    def users(self) -> Path:
        """Kubeconfigs of users and service accounts."""
        return self.run_dir / "users"

    @property
    def images(self) -> Path:
        """Archives of images that were loaded, for nodes that come back empty."""
        return self.run_dir / "images"

    @property
    def kubectl_cache(self) -> Path:
        """What kubectl learnt about the API."""
        return self.run_dir / "kubectl-cache"

    # What the native engine makes.

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.run_dir / "logs"

    def log_of(self, component: str) -> Path:
        """The log of a component or a node's setup."""
        return self.logs / f"{component.replace('/', '-')}.log"

    @property
    def namespaces(self) -> Path:
        """Network namespaces by name, as seen in the guardian's mount namespace."""
        return self.run_dir / "ns"

    @property
    def pki(self) -> Path:
        """Keys and certificates of the host's side."""
        return self.run_dir / "pki"

    @property
    def kubeconfigs(self) -> Path:
        """Kubeconfigs of components, and the administrator's."""
        return self.run_dir / "kubeconfigs"

    @property
    def etcd_data(self) -> Path:
        """etcd's data."""
        return self.run_dir / "etcd"

    @property
    def etcd_socket(self) -> Path:
        """Where etcd serves its clients."""
        return self.run_dir / "etcd.sock"

    @property
    def etcd_peer_socket(self) -> Path:
        """Where etcd would serve other members."""
        return self.run_dir / LONGEST_SOCKET


def problem_with(root: Path) -> str:
    """Why run directories can't be below such a path, and what is allowed; "" when they can.

    What a path may hold is limited by the least that reads it: etcd takes its sockets' paths as URLs, ip(8) and shells
    read scripts that name them, and an executable's own directory stands in search paths.

    Args:
        root: The directory, absolute.
    """
    text = os.fsdecode(os.fsencode(root))
    strange = sorted({letter for letter in text if not (letter.isascii() and (letter.isalnum() or letter in SAFE))})
    if strange:
        shown = " ".join(ascii(letter) for letter in strange)
        return f"has {shown} in it; allowed are letters and digits of ASCII, and {SAFE}"
    longest = len(os.fsencode(root)) + 1 + ID_DIGITS + 1 + len(LONGEST_SOCKET)
    if longest > MAX_SOCKET_PATH:
        excess = longest - MAX_SOCKET_PATH
        return (
            f"the paths of its sockets would be {longest} bytes long; allowed are {MAX_SOCKET_PATH}, "
            f"so it must be at least {excess} byte{'s' if excess > 1 else ''} shorter"
        )
    return ""


def default_root() -> Path:
    """Where run directories are unless told otherwise: short, since socket paths are limited, and private."""
    return Path(tempfile.gettempdir()) / f"kubernix-{os.getuid()}"


def how_to_remove(name: str, run_dir: Path | None) -> str:
    """The command that ends a cluster.

    Args:
        name: The name that it is kept under, or its id.
        run_dir: Its directory, or None for a driver that has none.
    """
    where = f" --root {shlex.quote(str(run_dir.parent))}" if run_dir and run_dir.parent != default_root() else ""
    return f"pytest-kubernix down {name}{where}"
