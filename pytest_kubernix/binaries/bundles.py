"""What a build makes: one `Bundle` per Go module of ours, with its packages, flags and stamps.
Pure data and one digest; `builder.py` does the work."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pytest_kubernix.binaries import pins as versions
from pytest_kubernix.errors import ExecutablesError
from pytest_kubernix.versions import matches, parse

SOURCES = Path(__file__).parent / "go"

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
KUBERNETES = (*CONTROL_PLANE, "kube-proxy", "kubelet")
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI = ("bridge", "host-local", "loopback", "portmap")
PROGRAMS = ("pause", "relay", "test-server")
IMAGES = ("images/pause.tar", "images/server.tar")
# Every name that `Executables.programs` has for a cluster with nodes.
EVERYTHING = (*KUBERNETES, *CONTAINERD, "runc", "coredns", *PROGRAMS)

# Named like Go's own; what Kubernetes publishes node components for and we could try.
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Bundle:
    """One `go build`: what goes in, and what must come out.

    `minutes` and `space` (bytes, Go's own caches included) are for a build with cold caches.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    executables: tuple[str, ...]
    links: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ("-s", "-w")
    cgo: bool = False
    minutes: float = 0.3
    space: int = 300 << 20

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def pins(self) -> Path:
        """Where go.mod.pin and go.sum.pin of this version are."""
        return SOURCES / self.name / "pins" / self.version

    def sources(self) -> dict[str, Path]:
        """Every file of the build, by its path in the scratch directory."""
        root = SOURCES / self.name
        files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*.go"))}
        for name in ("go.mod", "go.sum"):
            pin = self.pins / f"{name}.pin"
            if pin.is_file():
                files[name] = pin
        if "go.mod" not in files:
            raise ExecutablesError(f"{self}: {self.pins} has no go.mod.pin, so this version is not pinned")
        return files

    def flags(self) -> list[str]:
        """The arguments of `go build` and `go list` that decide what is built."""
        ldflags = [*self.ldflags, *(f"-X {name}={value}" for name, value in self.stamps.items())]
        flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags={' '.join(ldflags)}"]
        return [*flags, f"-tags={','.join(self.tags)}"] if self.tags else flags

    def minimum_go(self) -> str:
        """The `go` line of the pin."""
        for line in self.sources()["go.mod"].read_text().splitlines():
            if line.startswith("go "):
                return line.removeprefix("go ").strip()
        raise ExecutablesError(f"{self}: its go.mod.pin has no go line")

    def digest(self) -> str:
        """Sixteen hex digits that change with anything that may change what is built."""
        digest = hashlib.sha256()
        description = {**asdict(self), "minutes": 0, "space": 0, "arch": go_arch(), "flags": self.flags()}
        digest.update(json.dumps(description, sort_keys=True).encode())
        files = self.sources()
        if self.name == "programs":
            # The images are made of these programs, by this code.
            # Called by its first name, so that another one is no reason to build them anew.
            files["images.py"] = Path(__file__).with_name("own_images.py")
        for name, path in sorted(files.items()):
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]


def go_arch() -> str:
    """This machine's GOARCH.

    Raises:
        ExecutablesError: Real nodes run on Linux, on architectures that Kubernetes is published for.
    """
    machine = platform.machine().lower()
    if platform.system() != "Linux" or machine not in _ARCHITECTURES:
        raise ExecutablesError(
            f"there are no executables for {platform.system()} on {machine}: real components run on Linux, "
            f"on {' and '.join(sorted(set(_ARCHITECTURES.values())))}",
            hint="Nodes and control planes need Linux on amd64 or arm64.",
        )
    return _ARCHITECTURES[machine]


def kubernetes(version: str) -> Bundle:
    """etcd, the control plane, the node agents and kubectl of one version, in one executable."""
    parsed = parse(version)
    stamps: dict[str, str] = {}
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        stamps |= {
            f"{package}.gitVersion": f"v{version}",
            f"{package}.gitMajor": str(parsed.major),
            f"{package}.gitMinor": str(parsed.minor),
            f"{package}.gitTreeState": "clean",
            # The module proxy doesn't tell the commit; empty is better than the unexpanded placeholder.
            f"{package}.gitCommit": "",
            # Fixed, so that the same sources give the same bytes.
            f"{package}.buildDate": "1970-01-01T00:00:00Z",
        }
    return Bundle(
        "kubernetes", version, (".",), ("kubernetes",),
        links=dict.fromkeys(KUBERNETES, "kubernetes"),
        stamps=stamps,
        tags=("before_1_34",) if matches(parsed, "<1.34") else (),
        minutes=6, space=3 << 30,
    )  # fmt: skip


def containerd() -> Bundle:
    """The container runtime, its shim, and its command line tool."""
    module = "github.com/containerd/containerd/v2"
    return Bundle(
        "containerd", versions.CONTAINERD, tuple(f"{module}/cmd/{name}" for name in CONTAINERD), CONTAINERD,
        stamps={f"{module}/version.Version": versions.CONTAINERD, f"{module}/version.Revision": ""},
        tags=("urfave_cli_no_docs",),
        minutes=1, space=900 << 20,
    )  # fmt: skip


def cni() -> Bundle:
    """The CNI plugins that connect pods to a node's bridge."""
    module = "github.com/containernetworking/plugins"
    directories = {"bridge": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta"}
    return Bundle(
        "cni", versions.CNI, tuple(f"{module}/plugins/{directories[name]}/{name}" for name in CNI), CNI,
        stamps={f"{module}/pkg/utils/buildversion.BuildVersion": f"v{versions.CNI}"},
    )  # fmt: skip


def runc() -> Bundle:
    """The OCI runtime; cgo, since nothing else gives it seccomp; static, to run on any libc."""
    return Bundle(
        "runc", versions.RUNC, ("github.com/opencontainers/runc",), ("runc",),
        tags=("seccomp", "netgo", "osusergo", "urfave_cli_no_docs"),
        ldflags=("-s", "-w", "-linkmode", "external", "-extldflags", "-static"),
        cgo=True,
    )  # fmt: skip


def coredns() -> Bundle:
    """The DNS server of a cluster."""
    return Bundle("coredns", versions.COREDNS, (".",), ("coredns",), minutes=1.5, space=900 << 20)


def programs() -> Bundle:
    """Our own: pause, relay and test-server, and the images that are made of them."""
    return Bundle("programs", versions.PROGRAMS, ("./...",), PROGRAMS, minutes=0.2)


def bundles(version: str, *, nodes: bool) -> list[Bundle]:
    """What a cluster of Kubernetes `version` needs, the quickest first, so that mistakes show early."""
    if not nodes:
        return [kubernetes(version)]
    return [programs(), cni(), runc(), containerd(), coredns(), kubernetes(version)]
