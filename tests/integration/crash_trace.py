"""What one of our runs has on this machine, and what of it is left, while others use the machine as well.
`machine.py` tells what has changed; here it is told whose it is: by cluster ids, by processes seen, by directory."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

from pytest_kubernix.guardian.rundir import CLUSTER_ID

from .machine import report, snapshot
from .pods import descendants, guardian_of

QUICK = 0.01
ID = re.compile(r"\b(?:kx-|kubernix/|kubernix-\d+/)([0-9a-f]{8})\b")


class Trace:
    """Everything below one directory, from before anything began.

    Args:
        folder: Directory of the run; every process of it has that path in its arguments or its environment.

    Attributes:
        root: Directory of its run directories.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "r"
        self._before = snapshot(self.root)
        self._ids: set[str] = set()
        self._processes: set[tuple[int, int]] = set()
        self._spaces: set[int] = set()

    def run_dirs(self) -> list[Path]:
        """The run directories of clusters that are there now."""
        with contextlib.suppress(FileNotFoundError):
            return [path for path in self.root.iterdir() if CLUSTER_ID.fullmatch(path.name)]
        return []

    def guardians(self) -> list[int]:
        """PIDs of the guardians that live."""
        found = []
        for run_dir in self.run_dirs():
            with contextlib.suppress(LookupError):
                found.append(guardian_of(run_dir))
        return found

    def look(self, *pids: int) -> None:
        """Take note of these processes, of clusters, and of all below, to tell later whether they are gone."""
        self._ids |= {path.name for path in self.run_dirs()}
        for top in (*pids, *self.guardians()):
            for pid in (top, *descendants(top)):
                if start := _start_of(pid):
                    self._processes.add((pid, start))
                    # Whatever a cluster starts later is in the PID namespace of its guardian or of its nodes.
                    self._spaces |= {_space_of(pid)} - {_space_of(os.getpid()), 0}

    def changes(self) -> list[str]:
        """What is left on the machine."""
        self._ids |= {path.name for path in self.run_dirs()}
        return [line for line in self._before.changes(snapshot(self.root)) if self._is_ours(line)]

    def _is_ours(self, line: str) -> bool:
        kind, _, rest = line[2:].partition(": ")
        if kind in ("process", "listening", "network namespace"):
            found = re.search(r"(?:by |of |^)(\d+) \(parent", rest)
            return found is None or self._belongs(int(found.group(1)))
        if kind == "run directory":
            # An empty directory for run directories is no cluster's.
            return rest != str(self.root) and Path(rest).is_relative_to(self.root)
        if kind == "cgroup" and rest.endswith("/kubernix"):
            # All clusters' parent: the last one takes it along.
            return line.startswith("+") and not any(CLUSTER_ID.fullmatch(child.name) for child in Path(rest).glob("*"))
        if ids := set(ID.findall(rest)):
            return bool(ids & self._ids)
        # A claim lives as long as the process that has it, and processes are looked at.
        return kind != "abstract socket"

    def _belongs(self, pid: int) -> bool:
        if (pid, _start_of(pid)) in self._processes or _space_of(pid) in self._spaces:
            return True
        with contextlib.suppress(OSError):
            text = b"".join(Path(f"/proc/{pid}", name).read_bytes() for name in ("cmdline", "environ"))
            return os.fsencode(self.folder) in text
        return False

    def holders(self) -> list[int]:
        """PIDs of the processes that may hold a cluster: those that have our directory in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and os.fsencode(self.folder) in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return [pid for pid in found if _start_of(pid)]

    def alive(self) -> list[int]:
        """PIDs of what was seen and still lives."""
        return [pid for pid, start in self._processes if _start_of(pid) == start]

    def quiet(self) -> bool:
        """Whether all that was seen is gone: a quick look, before a thorough one."""
        return not self.run_dirs() and not self.alive()

    def clean(self, since: float, limit: float, text: str = "") -> float:
        """Wait until nothing is left; seconds since then.

        Raises:
            AssertionError: Something stays; with that text.
        """
        deadline = time.monotonic() + limit
        while True:
            while not self.quiet() and time.monotonic() < deadline:
                time.sleep(QUICK)
            seconds = time.monotonic() - since
            left = self.changes()
            if not left:
                return max(0.0, seconds)
            if time.monotonic() > deadline:
                raise AssertionError(f"{report(left)}\n{text}")

    def kill(self) -> None:
        """End all that was seen and still lives."""
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _start_of(pid: int) -> int:
    """When a process was started, which tells it from a later one of that PID; 0 when it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) if fields[0] != "Z" else 0
    return 0


def _space_of(pid: int) -> int:
    """The PID namespace of a process, 0 when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino
    return 0
