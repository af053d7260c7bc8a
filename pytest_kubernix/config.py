"""ClusterConfig: what one cluster should be. Frozen, validated, with a digest.
Knows neither pytest nor where a value came from; `options.py` fills it."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from . import plain
from .errors import ConfigError

MAX_NODES = 64
RUNTIMES = ("containerd",)
ADDONS = ("coredns",)
LOG_LEVELS = ("debug", "info", "warning", "error")

# The cluster's CIDR is cut into equal blocks: node addresses, services, then pods node by node.
# A block of /26 still holds 62 addresses; one above /20 would be more than any test fills.
SMALLEST_BLOCK = 26
LARGEST_BLOCK = 20
RESERVED_ADDRESSES = 12

Scalar: TypeAlias = str | int | float | bool | None
# What a flag may be set to.
FlagValue: TypeAlias = Scalar | Sequence[Scalar]


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What one cluster should be.

    Attributes:
        k8s_version: Exact Kubernetes version without a "v", such as "1.36.3".
        driver: Name of the driver that makes the cluster; "auto" picks one that works here.
        nodes: Number of nodes, 0 to 64; 0 is a control plane only.
        cri_runtime: Container runtime of the nodes.
        cidr: IPv4 network for nodes, services and pods, such as "10.10.0.0/16"; None picks a free one.
        addons: Names of the addons to run.
        root: Directory that holds run directories; None is a private one under the temporary directory.
        api_port: Port of the API server on 127.0.0.1; 0 picks a free one.
        boot_timeout: Limit for the whole boot in seconds.
        log_level: How much the components log.
        component_args: Component → flag, without its dashes → value: {"kube-apiserver": {"feature-gates": "A=true"}}.
            A list is the flag once for each; None drops it. "kubelet" is every node's, "kubelet/node-1" that one's.
        registries: Host of image references → URL of the registry that has them, such as
            {"registry.test": "http://user:password@10.1.0.1:5000"}; more is in docs/differences.md.

    Raises:
        ConfigError: A value is wrong; it names the field, the value, and what is allowed.
    """

    k8s_version: str
    driver: str = "auto"
    nodes: int = 1
    cri_runtime: str = "containerd"
    cidr: str | None = None
    addons: tuple[str, ...] = ("coredns",)
    root: Path | None = None
    api_port: int = 0
    boot_timeout: float = 120.0
    log_level: str = "warning"
    component_args: Mapping[str, Mapping[str, FlagValue]] = field(default_factory=dict, hash=False)
    registries: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+\.\d+\.\d+", str(self.k8s_version)):
            # 1.30 as a number is 1.3.
            raise ConfigError("k8s_version", self.k8s_version, 'allowed is an exact version as text, such as "1.36.3"')
        if type(self.nodes) is not int or not 0 <= self.nodes <= MAX_NODES:
            raise ConfigError(
                "nodes", self.nodes, f"allowed is a whole number from 0 (control plane only) to {MAX_NODES}"
            )
        _one_of("cri_runtime", self.cri_runtime, RUNTIMES)
        _one_of("log_level", self.log_level, LOG_LEVELS)
        for addon in self.addons:
            _one_of("addons", addon, (*ADDONS, "none"))
        if type(self.api_port) is not int or not (self.api_port == 0 or 1024 <= self.api_port <= 65535):
            raise ConfigError("api_port", self.api_port, "allowed is a port from 1024 to 65535, or 0 for any free one")
        if type(self.boot_timeout) not in {int, float} or not 1 <= self.boot_timeout <= 3600:
            raise ConfigError("boot_timeout", self.boot_timeout, "allowed is a number of seconds from 1 to 3600")
        if self.cidr is not None:
            _check_cidr(self.cidr, self.nodes)
        _check_args(self.component_args)
        _check_registries(self.registries)
        # Copies: what a suite changes later of its own dictionaries is no part of a configuration.
        copied = {name: dict(flags) for name, flags in self.component_args.items()}
        object.__setattr__(self, "component_args", copied)
        object.__setattr__(self, "registries", dict(self.registries))

    def replace(self, **changes: Any) -> ClusterConfig:
        """A copy with some fields changed, validated anew."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            known = ", ".join(field.name for field in dataclasses.fields(self))
            raise ConfigError(unknown[0], changes[unknown[0]], f"no such setting; there are {known}")
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` is its inverse."""
        data: dict[str, Any] = plain.to_plain(self)
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ClusterConfig:
        """The configuration that `to_json` wrote."""
        return plain.from_plain(cls, data)

    @property
    def repeatable(self) -> bool:
        """Whether a second cluster of it can run beside the first: a port or a network is there once."""
        return self.cidr is None and self.api_port == 0

    def digest(self) -> str:
        """A short name for everything here: two configurations with one digest may share a cluster."""
        # Through the types of the fields and back, so that 5 and 5.0 seconds are the same time.
        text = json.dumps(self.from_json(self.to_json()).to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def block_prefix(cidr: ipaddress.IPv4Network, nodes: int) -> int:
    """Prefix length of the equal blocks that `cidr` is cut into for `nodes` nodes."""
    blocks = nodes + 2
    return max(cidr.prefixlen + (blocks - 1).bit_length(), LARGEST_BLOCK)


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(field, value, f"allowed is {' or '.join(allowed)}")


def _check_args(value: object) -> None:
    allowed = 'allowed is a mapping such as {"kube-apiserver": {"feature-gates": "A=true", "profiling": None}}'
    if not isinstance(value, Mapping) or not all(isinstance(flags, Mapping) for flags in value.values()):
        raise ConfigError("component_args", value, allowed)
    for component, flags in value.items():
        for flag, setting in flags.items():
            shown = f"{component}: {flag}"
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(flag)):
                raise ConfigError("component_args", shown, "allowed is the name of a flag, without dashes before it")
            settings = setting if isinstance(setting, (list, tuple)) else [setting]
            if not all(isinstance(one, (str, int, float, bool, type(None))) for one in settings):
                kind = type(setting).__name__
                raise ConfigError(
                    "component_args", shown, f"allowed is a text, a number, a bool, None or a list of such, not {kind}"
                )


def _check_registries(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError("registries", value, 'allowed is a mapping such as {"registry.test": "http://10.1.0.1:5000"}')
    for host, url in value.items():
        parts = urlsplit(str(url))
        if not re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", str(host)):
            raise ConfigError("registries", host, "allowed is a host, perhaps with a port, as image references have it")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            # Without what may be a password.
            raise ConfigError("registries", host, "allowed is a URL that begins with http:// or https://")


def _check_cidr(value: str, nodes: int) -> None:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise ConfigError("cidr", value, f"allowed is an IPv4 network such as 10.10.0.0/16 ({error})") from None
    if not network.is_private or network.is_loopback or network.is_link_local:
        raise ConfigError("cidr", value, "allowed is a private IPv4 network such as 10.10.0.0/16")
    # The first block has an address for every node, and a few for the host, the fabric and its edges.
    smallest = min(SMALLEST_BLOCK, 32 - (nodes + RESERVED_ADDRESSES - 1).bit_length())
    if block_prefix(network, nodes) > smallest:
        needed = smallest - (nodes + 1).bit_length()
        plural = "s" if nodes != 1 else ""
        raise ConfigError("cidr", value, f"too small for {nodes} node{plural}: allowed is /{needed} or larger")
