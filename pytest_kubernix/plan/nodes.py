"""Where nodes live: each a set of namespaces on a bridge that has a network namespace of its own.
Nothing but one link and its routes is seen on the host, and the kernel removes both with the namespace."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import PurePosixPath

from .context import ClusterContext
from .model import FABRIC, File, NamespacePlan

BRIDGE = "kb0"
UPLINK = "uplink"
TAP = "tap0"

# A kubelet insists on these and would write them for the whole machine.
# It finds them as it wants them, bound over the real ones in its own mount namespace.
KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}

# kube-proxy in its nftables mode first looks for rules of its other modes, eight times, with whatever iptables it finds
# on its PATH. A node has none, so this directory has nothing but nft.
NFT_ONLY = "/run/kubernix/nft"

# Directories of the host that nodes may write to; what they write stays in the node's own memory.
COPIED_ON_WRITE = ("etc", "opt", "srv", "usr", "var")

# Heavy writers go to the node's memory directly: a snapshotter cannot stack on another overlay.
OWN_DIRECTORIES = ("var/lib/containerd", "var/lib/kubelet", "var/log/pods", "var/log/containers")


WHOLE_PROC = "/run/kubernix/proc"
SHARED = "/run/kubernix/shared"


def shared_directories(asked: Iterable[str]) -> list[str]:
    """Which of these directories of the host must be bound into nodes, so that what pods write there is the host's.

    Those elsewhere are the host's own in any case, and the node needs some for itself.

    Args:
        asked: Absolute paths of directories that are there.
    """
    found: list[str] = []
    for path in sorted({str(PurePosixPath(path)) for path in asked}):
        covered = PurePosixPath(path).parts[1:2] and PurePosixPath(path).parts[1] in COPIED_ON_WRITE
        own = [PurePosixPath("/", each) for each in (*OWN_DIRECTORIES, *COPIED_ON_WRITE, "etc/kubernetes", "etc/cni")]
        is_or_holds_own = any(each.is_relative_to(path) for each in own)
        within_own = any(PurePosixPath(path).is_relative_to(f"/{each}") for each in OWN_DIRECTORIES)
        within_found = any(PurePosixPath(path).is_relative_to(each) for each in found)
        if covered and not (is_or_holds_own or within_own or within_found):
            found.append(path)
    return found


def host_link(ctx: ClusterContext) -> str:
    """Name of the one link that the host gets."""
    return f"kx-{ctx.facts.cluster_id}"


def namespace_path(ctx: ClusterContext, name: str) -> str:
    """Where the guardian's mount namespace has a network namespace by name; "host" is the host's."""
    return ctx.path("ns", name)


def _hardware_address(ip: str) -> str:
    """A locally administered address that belongs to an IP address for good.

    A bridge without one takes the lowest of its ports, and changes it when a node dies: a
    neighbour that remembers the old one gets no answer for a minute. So it is with a node that came back with another.
    """
    return ":".join(f"{byte:02x}" for byte in (0x0A, 0x58, *IPv4Address(ip).packed))


def fabric(ctx: ClusterContext) -> NamespacePlan:
    """The bridge that nodes hang on, DNS's place, and the nodes' way out."""
    network = ctx.network
    length = network.node_block.prefixlen
    link = host_link(ctx)
    pod_routes = [f"route add {network.pod_block(node)} via {network.node_ip(node)}" for node in network.numbers]
    setup = [
        "set -e",
        *_ip(
            "link set lo up",
            f"link add {BRIDGE} address {_hardware_address(network.fabric_ip)} type bridge forward_delay 0",
            f"link set {BRIDGE} addrgenmode none up",
            f"addr add {network.fabric_ip}/{length} dev {BRIDGE}",
            *pod_routes,
            (
                f"link add {UPLINK} type veth peer name {link} address {_hardware_address(network.host_ip)} "
                f"netns {namespace_path(ctx, 'host')}"
            ),
            f"link set {UPLINK} addrgenmode none master {BRIDGE} up",
        ),
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        # Bridged frames must not be lost to firewall rules meant for routed packets.
        "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f || true; done",
    ]
    if ctx.facts.egress_program:
        setup.append(
            f"nft 'add table ip kubernix; add chain ip kubernix out "
            f"{{ type nat hook postrouting priority 100; }}; "
            f'add rule ip kubernix out oifname "{TAP}" masquerade\''
        )
    host_setup = [
        "set -e",
        *_ip(
            f"link set {link} addrgenmode none up",
            f"addr add {network.host_ip}/{length} dev {link}",
            *(f"{route} dev {link}" for route in pod_routes),
        ),
    ]
    return NamespacePlan(FABRIC, ("net",), _script(setup), _script(host_setup))


def node(ctx: ClusterContext, number: int) -> NamespacePlan:
    """One node: a network, mount, PID, UTS and IPC namespace, and files where a real node has them."""
    network = ctx.network
    name = network.node_name(number)
    length = network.node_block.prefixlen
    others = [other for other in network.numbers if other != number]
    shared = shared_directories(ctx.facts.shared)
    setup = [
        "set -e",
        # Network first: the paths of namespaces may lie below a directory that is replaced further down.
        *_ip(
            (
                f"link add eth0 address {_hardware_address(network.node_ip(number))} "
                f"type veth peer name {name} netns {namespace_path(ctx, FABRIC)}"
            ),
            "link set lo up",
            "link set eth0 addrgenmode none up",
            f"addr add {network.node_ip(number)}/{length} dev eth0",
            f"route add default via {network.fabric_ip}",
            *(f"route add {network.pod_block(other)} via {network.node_ip(other)}" for other in others),
        ),
        f"nsenter --net={namespace_path(ctx, FABRIC)} ip link set {name} addrgenmode none master {BRIDGE} up",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        f"echo {name} > /proc/sys/kernel/hostname",
        "mount --make-rprivate /",
        "mount -t proc proc /proc",
        # A fresh sysfs shows this network's links; the cgroup hierarchies below it stay the machine's.
        "mount -t tmpfs -o mode=0755 kubernix /run",
        _make_directories(
            "/run/kubernix/cgroup",
            "/run/kubernix/sysctl",
            NFT_ONLY,
            WHOLE_PROC,
            *(f"{SHARED}/{number}" for number in range(len(shared))),
            *(f"/run/kubernix/{kind}/{path}" for path in COPIED_ON_WRITE for kind in ("upper", "work")),
            *(f"/run/kubernix/{path}" for path in OWN_DIRECTORIES),
        ),
        f'ln -s "$(command -v nft)" {NFT_ONLY}',
        # A second one, with nothing bound over any of it: the kernel lets a container with users of its own
        # (hostUsers: false) have a /proc only if its node has a whole one.
        f"mount -t proc proc {WHOLE_PROC}",
        "mount --rbind /sys/fs/cgroup /run/kubernix/cgroup",
        "mount -t sysfs sysfs /sys",
        "mount --rbind /run/kubernix/cgroup /sys/fs/cgroup",
        "umount -R -l /run/kubernix/cgroup",
        *(f"mount --rbind {shlex.quote(path)} {SHARED}/{number}" for number, path in enumerate(shared)),
        *(_copied_on_write(path) for path in COPIED_ON_WRITE),
        *(f"mount --rbind {SHARED}/{number} {shlex.quote(path)}" for number, path in enumerate(shared)),
        *(f"umount -R -l {SHARED}/{number}" for number in range(len(shared))),
        _make_directories(*(f"/{path}" for path in OWN_DIRECTORIES)),
        *(f"mount --bind /run/kubernix/{path} /{path}" for path in OWN_DIRECTORIES),
        *(_sysctl(path, value) for path, value in KUBELET_SYSCTLS.items()),
        "rm -f /etc/resolv.conf",
        # Bidirectional volumes need shared mounts; private to the node since the line above.
        "mount --make-rshared /",
    ]
    return NamespacePlan(
        name,
        ("net", "mnt", "pid", "uts", "ipc"),
        _script(setup),
        init=(ctx.program("pause"),),
        files=_node_files(ctx, number),
        cgroup=node_cgroup(ctx, number),
    )


def node_cgroup(ctx: ClusterContext, number: int) -> str:
    """The cgroup that all pods of a node are in, relative to every hierarchy's root."""
    return f"kubernix/{ctx.facts.cluster_id}/{ctx.network.node_name(number)}"


def _ip(*commands: str) -> list[str]:
    """Commands of ip(8) in one process: nodes are many, and starting a program costs more than what it does here."""
    return ["ip -batch - << 'END'", *commands, "END"]


def _make_directories(*paths: str) -> str:
    return f"mkdir -p {' '.join(paths)}"


def _copied_on_write(path: str) -> str:
    options = f"lowerdir=/{path},upperdir=/run/kubernix/upper/{path},workdir=/run/kubernix/work/{path}"
    return f"[ ! -d /{path} ] || mount -t overlay -o {options} overlay /{path}"


def _sysctl(path: str, value: str) -> str:
    copy = f"/run/kubernix/sysctl/{path.replace('/', '.')}"
    return f"[ ! -e /proc/sys/{path} ] || {{ echo {value} > {copy}; mount --bind {copy} /proc/sys/{path}; }}"


def _node_files(ctx: ClusterContext, number: int) -> tuple[File, ...]:
    name = ctx.network.node_name(number)
    pair = ctx.pair(f"kubelet/{name}")
    return (
        File("/etc/resolv.conf", f"nameserver {ctx.network.fabric_ip}\n", 0o644),
        File("/etc/hosts", f"127.0.0.1 localhost\n{ctx.network.node_ip(number)} {name}\n", 0o644),
        File("/etc/kubernetes/pki/ca.crt", ctx.pki.ca.cert, 0o644),
        File("/etc/kubernetes/pki/kubelet.crt", pair.cert, 0o644),
        File("/etc/kubernetes/pki/kubelet.key", pair.key),
    )


def _script(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
