"""The state of this machine as tests compare it: whatever a cluster could leave behind, read from the kernel.
Other people's clusters come and go meanwhile; a snapshot tells them from ours by the root of their run directories."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_kubernix.guardian.rundir import CLUSTER_ID
from pytest_kubernix.layout import default_root

GUARDIAN = "pytest_kubernix.guardian.server"
SHOWN = 12

# What a kubelet, a runtime or a proxy would change if it were let.
SYSCTLS = (
    "kernel/hostname",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv6/conf/all/forwarding",
    "net/netfilter/nf_conntrack_max",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
# Where the parts of a Kubernetes node keep their state when they are not separated from the machine.
PLACES = (
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/opt/cni",
    "/run/containerd",
    "/run/flannel",
    "/run/netns",
    "/run/xtables.lock",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/var/run/dockershim.sock",
)


@dataclass(frozen=True)
class Process:
    """One process; the time of its start tells it from a later one with the same PID."""

    pid: int
    parent: int
    start: int
    command: str
    net: int

    @property
    def guards(self) -> str:
        """The run directory that it is the guardian of, or ""."""
        if GUARDIAN not in self.command:
            return ""
        return next((word for word in self.command.split() if CLUSTER_ID.fullmatch(Path(word).name)), "")


@dataclass(frozen=True)
class Snapshot:
    """What was seen at one moment, each as lines that can be read and compared.

    Attributes:
        root: Where our run directories are; clusters elsewhere belong to others.
        processes: All processes of the machine, by PID.
        facts: Name of a kind → its lines.
    """

    root: Path
    processes: dict[int, Process]
    facts: dict[str, frozenset[str]] = field(default_factory=dict)

    def changes(self, after: Snapshot) -> list[str]:
        """What is there in addition (+) and what is missing (-) in `after`, a line each; not of others' clusters."""
        foreign = self._foreign_ids() | after._foreign_ids()
        lines = []
        for kind in sorted({*self.facts, *after.facts}):
            old, new = self.facts.get(kind, frozenset()), after.facts.get(kind, frozenset())
            lines += [f"- {kind}: {line}" for line in sorted(old - new) if not _mentions(line, foreign)]
            lines += [f"+ {kind}: {line}" for line in sorted(new - old) if not _mentions(line, foreign)]
        suspects = {pid: process for pid, process in after.processes.items() if self._is_ours(process, after)}
        lines += [f"+ process: {_line(process)}" for process in suspects.values()]
        known = {process.net for process in self.processes.values()}
        networks = {process.net: process for process in suspects.values() if process.net not in known}
        lines += [f"+ network namespace: {net} of {_line(process)}" for net, process in networks.items()]
        for port, pid in _listeners(after.processes, suspects):
            lines.append(f"+ listening: {port} by {_line(after.processes[pid])}")
        return lines

    def _foreign_ids(self) -> set[str]:
        places = (process.guards for process in self.processes.values())
        return {Path(place).name for place in places if place and not Path(place).is_relative_to(self.root)}

    def _is_ours(self, process: Process, after: Snapshot) -> bool:
        """Whether a process is new and may be ours: a child of this one, or an orphan."""
        if self._was_there(process):
            return False
        relatives = _ancestors(os.getpid(), after.processes)
        while True:
            if self._was_there(process):
                # Orphans are given to process 1, or to a subreaper that is above us as well.
                return process.pid in relatives
            if process.guards and not Path(process.guards).is_relative_to(self.root):
                return False
            if process.parent not in after.processes:
                return process.parent != 2
            process = after.processes[process.parent]

    def _was_there(self, process: Process) -> bool:
        before = self.processes.get(process.pid)
        return before is not None and before.start == process.start


def snapshot(root: Path) -> Snapshot:
    """Look at the machine.

    Args:
        root: Directory that our run directories are made in.
    """
    processes = dict(_processes())
    facts = {
        "file": _files(PLACES),
        "network namespace name": _names(Path("/run/netns")),
        "link": frozenset(item["ifname"] for item in _ip("link")),
        "address": frozenset(
            f"{item['ifname']} {address['local']}" for item in _ip("address") for address in item["addr_info"]
        ),
        "route": frozenset(
            " ".join(f"{key}={item[key]}" for key in ("dst", "gateway", "dev", "table") if key in item)
            for item in _ip("route", "show", "table", "all")
        ),
        "rule": frozenset(json.dumps(item, sort_keys=True) for item in _ip("rule")),
        "nft": frozenset(enumerated(_output("nft", "list", "ruleset"))),
        "iptables table": _lines("/proc/net/ip_tables_names") | _lines("/proc/net/ip6_tables_names"),
        "mount": frozenset(_mounts()),
        "cgroup": frozenset(_cgroups()),
        "run directory": _names(root) | _names(default_root()) | {str(path) for path in (root,) if path.exists()},
        "shared memory": _names(Path("/dev/shm")),
        "sysctl": frozenset(_sysctls()),
    }
    return Snapshot(root, processes, facts)


def settled(before: Snapshot, timeout: float = 10.0) -> list[str]:
    """What has changed since a snapshot and stays so: what is on its way is waited for, up to `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        changes = before.changes(snapshot(before.root))
        if not changes or time.monotonic() > deadline:
            return changes
        time.sleep(0.05)


def report(changes: list[str]) -> str:
    """Changes as a text for an assertion."""
    more = f"\n… and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return "the machine is not what it was:\n" + "\n".join(changes[:SHOWN]) + more


def enumerated(text: str) -> Iterator[str]:
    """Lines of a text in which order and repetition matter, each with the block that it is in."""
    block = ""
    for number, line in enumerate(text.splitlines()):
        block = line.strip(" {") if not line.startswith(("\t", " ", "}")) else block
        yield f"{block}: {number} {line.strip()}" if line.strip() != block else block


def _mentions(line: str, ids: set[str]) -> bool:
    return any(cluster_id in line for cluster_id in ids)


def _processes() -> Iterator[tuple[int, Process]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        # It may end while we look at it.
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            net = (entry / "ns" / "net").stat().st_ino if os.access(entry / "ns", os.R_OK) else 0
            # A zombie holds nothing, and its parent reaps it in its own time; kernel threads belong to no user.
            if fields[0] != "Z" and command:
                pid = int(entry.name)
                yield pid, Process(pid, int(fields[1]), int(fields[19]), command, net)


def _ancestors(pid: int, processes: dict[int, Process]) -> set[int]:
    found = {1}
    while pid in processes:
        found.add(pid)
        pid = processes[pid].parent
    return found


def _line(process: Process) -> str:
    return f"{process.pid} (parent {process.parent}) {process.command[:150]}"


def _listeners(processes: dict[int, Process], suspects: dict[int, Process]) -> Iterator[tuple[str, int]]:
    for pid in suspects:
        for local in listening_addresses(pid):
            yield local, pid


def listening_addresses(pid: int) -> list[str]:
    """What a process listens on in its own network namespace, as "tcp address:port"; UDP counts when it is bound."""
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if found := re.fullmatch(r"socket:\[(\d+)\]", descriptor.readlink().name):
                    inodes.add(found.group(1))
    found_addresses = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == state and words[9] in inodes:
                    host, _, port = words[1].partition(":")
                    found_addresses.append(f"{table} {_address(host)}:{int(port, 16)}")
    return found_addresses


def _address(text: str) -> str:
    words = [int(text[index : index + 8], 16).to_bytes(4, sys.byteorder) for index in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _ip(*args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_output("ip", "-json", *args) or "[]")
    return found


def _output(*command: str) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    return result.stdout


def _lines(path: str) -> frozenset[str]:
    with contextlib.suppress(OSError):
        return frozenset(Path(path).read_text().splitlines())
    return frozenset()


def _names(directory: Path) -> frozenset[str]:
    with contextlib.suppress(OSError):
        return frozenset(str(path) for path in directory.iterdir())
    return frozenset()


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        yield f"{words[4]} {words[words.index('-') + 1]}"


def _cgroups() -> Iterator[str]:
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        for name in folders:
            # All that runs on this machine may make cgroups; those of a kubelet or a runtime have such a word.
            if re.search("kubernix|kube|containerd|cri|k8s", f"{top}/{name}"):
                yield f"{top}/{name}"


def _sysctls() -> Iterator[str]:
    for name in SYSCTLS:
        with contextlib.suppress(OSError):
            yield f"{name} = {Path('/proc/sys', name).read_text().strip()}"


def _files(places: tuple[str, ...]) -> frozenset[str]:
    found = set()
    for place in places:
        for top, folders, files in os.walk(place):
            found.add(_file(Path(top)))
            found |= {_file(Path(top, name)) for name in (*folders, *files)}
        if Path(place).exists() and not Path(place).is_dir():
            found.add(_file(Path(place)))
    return frozenset(found)


def _file(path: Path) -> str:
    with contextlib.suppress(OSError):
        seen = path.lstat()
        size = "" if path.is_dir() else f" {seen.st_size} bytes, changed {seen.st_mtime_ns}"
        return f"{path} {seen.st_mode:o}{size}"
    return str(path)
