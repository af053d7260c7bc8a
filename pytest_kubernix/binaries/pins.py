"""The one table of what is pinned: Kubernetes versions with their etcd, and everything beside them.
A version is supported when `go/kubernetes/pins/<version>/` exists; a test holds the two together."""

from __future__ import annotations

import re

from ..versions import minor, parse

# Kubernetes version -> the etcd server version that Kubernetes' own go.mod names. Newest first.
KUBERNETES = {
    "1.36.3": "3.6.8",
    "1.35.4": "3.6.5",
    "1.34.4": "3.6.4",
    "1.33.13": "3.5.21",
    "1.32.2": "3.5.16",
}
CONTAINERD = "2.4.2"
RUNC = "1.5.2"
CNI = "1.9.1"
COREDNS = "1.14.7"
# Our own programs. The version is also the tag of the images that are made of them.
PROGRAMS = "1"

DEFAULT_VERSION = "1.36.3"
SUPPORTED = tuple(KUBERNETES)


def resolve(spec: str) -> str:
    """The supported Kubernetes version that `spec` means.

    Args:
        spec: Exact ("1.36.3" or "v1.36.3"), a minor ("1.35"), "latest" or "default".

    Raises:
        ValueError: `spec` names no supported version; the message says the value and what is allowed.
    """
    wanted = spec.strip().removeprefix("v")
    if wanted == "default":
        return DEFAULT_VERSION
    if wanted == "latest":
        return max(SUPPORTED, key=parse)
    if wanted in KUBERNETES:
        return wanted
    of_minor = [version for version in SUPPORTED if minor(version) == wanted]
    if of_minor:
        return max(of_minor, key=parse)
    allowed = f"{', '.join(SUPPORTED)}, a minor such as {minor(DEFAULT_VERSION)}, latest, default"
    what = "not supported" if re.fullmatch(r"\d+(\.\d+){1,2}", wanted) else "not a Kubernetes version"
    raise ValueError(f"{spec!r}: {what}; allowed are {allowed}")
