"""The processes of one cluster, as the kernel lists them, and the memory that they take.
Pages of an executable that several of them map are counted once, and independently of other clusters."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KIB = 1024


@dataclass(frozen=True)
class Entry:
    """One process: its PID, when it started (a PID alone may be used again), and what it is called."""

    pid: int
    started: str
    name: str

    def alive(self) -> bool:
        """Whether it is still there; one that only waits to be reaped is gone."""
        fields = _stat(self.pid)
        return bool(fields) and fields[0] != "Z" and fields[19] == self.started


def tree(run_dir: Path) -> list[Entry]:
    """The guardian of the cluster in `run_dir`, and all that descends from it."""
    parents: dict[int, list[int]] = {}
    roots = []
    for path in PROC.iterdir():
        if path.name.isdecimal() and (fields := _stat(int(path.name))):
            parents.setdefault(int(fields[1]), []).append(int(path.name))
            argv = _argv(int(path.name))
            if "-I" in argv and str(run_dir) in argv:
                roots.append(int(path.name))
    found, queue = [], list(roots)
    while queue:
        pid = queue.pop()
        queue += parents.get(pid, [])
        fields, argv = _stat(pid), _argv(pid)
        if fields and argv:
            name = "guardian" if pid in roots else argv[0].rpartition("/")[2]
            found.append(Entry(pid, fields[19], name))
    return found


def cpu(run_dir: Path) -> float:
    """Processor time that a cluster has used so far, in seconds; of those that are gone as well."""
    ticks = 0
    for entry in tree(run_dir):
        if fields := _stat(entry.pid):
            # Its own in user and system mode; and of its children that were reaped.
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5) counts that as the third)."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _argv(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def memory(entries: Iterable[Entry]) -> tuple[dict[str, int], dict[str, int]]:
    """What processes take, in bytes.

    Returns:
        Name → anonymous memory, which is a process's own; file → as much of it as is mapped and in memory,
        by the process that has most.
    """
    anonymous: dict[str, int] = {}
    files: dict[str, int] = {}
    for entry in entries:
        own = 0
        mine: dict[str, int] = {}
        for file, resident, private in _mappings(entry.pid):
            own += private
            if file.startswith("/") and not file.startswith("/dev/"):
                mine[file] = mine.get(file, 0) + resident - private
        anonymous[entry.name] = anonymous.get(entry.name, 0) + own
        for file, size in mine.items():
            files[file] = max(files.get(file, 0), size)
    return anonymous, files


def resident(entries: Iterable[Entry]) -> int:
    """The sum of resident sets, in bytes, which counts what is shared once for each who shares it."""
    return sum(size for entry in entries for _, size, _ in _mappings(entry.pid))


def _mappings(pid: int) -> list[tuple[str, int, int]]:
    """(file, resident, anonymous) of each mapping, in bytes."""
    found: list[tuple[str, int, int]] = []
    file, size = "", 0
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps").read_text(errors="replace").splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                # The executable of several names is one file, since mappings have links resolved.
                file = words[5] if len(words) > 5 else ""
            elif words[0] == "Rss:":
                size = int(words[1]) * KIB
            elif words[0] == "Anonymous:":
                found.append((file, size, int(words[1]) * KIB))
    return found
