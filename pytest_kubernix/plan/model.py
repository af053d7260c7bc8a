"""The data a plan is made of: files, namespaces, processes, probes, API objects.
All of it is frozen and goes through `plain`, because the process that boots is not the one that plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

HOST = "host"
FABRIC = "fabric"


class Phase(IntEnum):
    """When a component starts. Members of a phase start in parallel, phases in sequence.

    What depends on nothing belongs in the first phase, whatever its kind. A component that names what it
    waits for starts as soon as that is ready; its phase is over, as any, when all of its members are.
    """

    INFRASTRUCTURE = 1
    """Needs no other component: etcd, container runtimes, the relay, the way out."""
    CONTROL_PLANE = 2
    """Needs etcd: the API server."""
    CONTROLLER = 3
    """Needs the API server: controller manager, scheduler, DNS."""
    NODE_AGENT = 4
    """Needs the API server, and the runtime of its own node: kubelets and proxies."""

    @property
    def title(self) -> str:
        """The name that users read, such as "ControlPlane"."""
        return "".join(word.capitalize() for word in self.name.split("_"))


@dataclass(frozen=True)
class File:
    """A file to write before the process that needs it starts.

    Attributes:
        path: Absolute path, as seen from the namespace it belongs to.
        content: Its text.
        mode: Permission bits; private unless there is a reason.
    """

    path: str
    content: str
    mode: int = 0o600


@dataclass(frozen=True)
class Copy:
    """A directory to copy before the process that needs it starts.

    Attributes:
        source: Absolute path on the host.
        path: Where the copy goes; it must not exist.
    """

    source: str
    path: str


@dataclass(frozen=True)
class Command:
    """A command that ends by itself, run after its component is ready. Failing, it fails the component."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """How a component is known to be ready: one question, asked again until the answer is yes.

    Attributes:
        kind: "http" (a GET answers 2xx), "object" (a GET of an API object answers 2xx, and `expect` holds),
            "dns" (a name has an A record at a server), "socket" (a Unix or TCP socket accepts),
            "link" (a link carries the default route).
        target: URL, API path, "server:port/name", socket path or "address:port", or link.
        expect: For "object": a condition type that must be True, such as "Ready"; or "".
        private: For "http": present the administrator's certificate and verify by our CA.
        within: Namespace that the question is asked from.
    """

    kind: str
    target: str
    expect: str = ""
    private: bool = False
    within: str = HOST

    def __str__(self) -> str:
        return f"{self.kind} {self.target}" + (f" {self.expect}" if self.expect else "")


@dataclass(frozen=True)
class ApiObject:
    """An object to create in the API before a component starts; one that is there already is left alone.

    Attributes:
        path: Collection to POST to, such as "/api/v1/nodes".
        body: The object.
    """

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class ComponentPlan:
    """One process of the cluster, as data.

    Attributes:
        name: Unique name, such as "kube-apiserver" or "kubelet/node-1".
        phase: When it starts.
        argv: Executable (absolute path) and arguments.
        env: Its whole environment; nothing is inherited.
        first_env: Variables beside those that its first start has, and no later one.
        within: Name of the namespace it runs in.
        files: What is written before it starts.
        copies: What is copied before it begins.
        objects: What is created in the API before it begins, one after another; only from phase Controller on.
        ready: All of these must say yes.
        after: Commands run, one after another, once it is ready.
        requires: Namespaces that must be set up before it starts, beside its own.
        waits_for: Components that must be ready before it begins; None is all of the phases before its own.
        held: Whether it is loaded at once, and waits for those others when it is; for the programs of the
            Kubernetes executable, which know how to wait.
    """

    name: str
    phase: Phase
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    first_env: Mapping[str, str] = field(default_factory=dict)
    within: str = HOST
    files: tuple[File, ...] = ()
    copies: tuple[Copy, ...] = ()
    objects: tuple[ApiObject, ...] = ()
    ready: tuple[Probe, ...] = ()
    after: tuple[Command, ...] = ()
    requires: tuple[str, ...] = ()
    waits_for: tuple[str, ...] | None = None
    held: bool = False


@dataclass(frozen=True)
class NamespacePlan:
    """A set of kernel namespaces that processes of the cluster live in.

    Attributes:
        name: "fabric", or the name of a node.
        kinds: Which namespaces are its own: "net", "mnt", "pid", "uts", "ipc".
        setup: Shell script run inside it once; the only words of its environment are the paths
            `$HOST_NET` and `$FABRIC_NET` of two network namespaces.
        host_setup: Shell script run on the host side after that, or "".
        init: argv of its process 1; needed when "pid" is among the kinds.
        files: Written inside it after the setup.
        cgroup: Its cgroup below every hierarchy's root, such as "kubernix/ab12/node-1", or "".
    """

    name: str
    kinds: tuple[str, ...]
    setup: str
    host_setup: str = ""
    init: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    cgroup: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything about a cluster before it exists.

    Attributes:
        cluster_id: Its short name.
        run_dir: Directory of its files.
        files: Written first, on the host side.
        namespaces: Made next, in order; "fabric" before the nodes.
        components: In the order they were registered.
        server: URL of the API server.
        admin_kubeconfig: Path of the administrator's kubeconfig.
        final: What must hold for the whole to be ready, after all phases.
        nodes: Names of the nodes.
        stock: Whether etcd and the API server are this package's own, so that their data may serve other clusters.
    """

    cluster_id: str
    run_dir: str
    files: tuple[File, ...]
    namespaces: tuple[NamespacePlan, ...]
    components: tuple[ComponentPlan, ...]
    server: str
    admin_kubeconfig: str
    final: tuple[Probe, ...]
    nodes: tuple[str, ...]
    stock: bool

    def by_phase(self) -> list[tuple[Phase, list[ComponentPlan]]]:
        """The components grouped by phase, phases in order; empty phases are left out."""
        groups: dict[Phase, list[ComponentPlan]] = {}
        for component in self.components:
            groups.setdefault(component.phase, []).append(component)
        return sorted(groups.items())
