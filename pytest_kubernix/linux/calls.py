"""The few Linux calls that Python 3.11's standard library lacks: unshare, setns, mount, umount, prctl.
Each raises OSError with the call's name; nothing here decides anything."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

PR_SET_CHILD_SUBREAPER = 36

CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
CAP_SYS_NICE = 23
CAP_SYS_RESOURCE = 24

_libc = ctypes.CDLL(None, use_errno=True)


def _check(name: str, result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """unshare(2): give the calling thread namespaces of its own."""
    _check("unshare", _libc.unshare(flags))


def setns(fd: int, flags: int) -> None:
    """setns(2): enter the namespaces that `fd` stands for, with the calling thread."""
    _check("setns", _libc.setns(fd, flags))


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode() or None)
    _check(f"mount {target}", result)


def umount(target: str) -> None:
    """umount2(2), lazily."""
    _check(f"umount {target}", _libc.umount2(target.encode(), MNT_DETACH))


def become_subreaper() -> None:
    """Orphans below this process become its children instead of the machine's init's."""
    _check("prctl", _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def has_capability(number: int) -> bool:
    """Whether this process has a capability in effect."""
    with Path("/proc/self/status").open(encoding="ascii") as status:
        for line in status:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> number & 1)
    return False


def may_make_namespaces() -> bool:
    """Whether this process may make network, mount and PID namespaces and configure links in them."""
    return has_capability(CAP_SYS_ADMIN) and has_capability(CAP_NET_ADMIN)
