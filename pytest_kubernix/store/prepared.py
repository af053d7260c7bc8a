"""Prepared data for etcd: what every API server of one version writes at its first start, written already.
Roles, priority levels and the like; never a namespace, a Secret, a key or anything that makes a cluster itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import KubernixError
from .etcd import Entry, EtcdClient, Put

# Written by the API server alone, the same for every cluster of a version; without them it starts
# a second later. What depends on addresses, keys or the cluster's identity is not among them.
# Prefix → what marks the API server's own, in key or value: what a component or a plugin made is its own affair.
BY_RBAC = b"rbac-defaults"
BY_FLOW_CONTROL = b"apf.kubernetes.io/autoupdate-spec"
KEPT = {
    b"/registry/apiregistration.k8s.io/apiservices/": b"onstart",
    b"/registry/clusterrolebindings/": BY_RBAC,
    b"/registry/clusterroles/": BY_RBAC,
    b"/registry/flowschemas/": BY_FLOW_CONTROL,
    b"/registry/priorityclasses/": b"/registry/priorityclasses/system-",
    b"/registry/prioritylevelconfigurations/": BY_FLOW_CONTROL,
    b"/registry/rolebindings/": BY_RBAC,
    b"/registry/roles/": BY_RBAC,
}

FORMAT = "4"
UNFINISHED = ".new-"
# Of an executable, in bytes.
SAMPLE = 16_384
SAMPLES = 32
# What was made, file by file: etcd takes some damage for an empty store, and the cluster would have no roles.
DIGESTS = "digests.json"
# etcd reserves 64 MiB for its log, of which little stays.
ROOM_MIB = 80
START_TIMEOUT = 20.0
PAUSE = 0.01


class PreparedData:
    """The prepared data of one Kubernetes executable.

    Args:
        cache: Directory of the user's cache.
        executable: The kube-apiserver whose first start is prepared.
        version: Its version, for the name.
    """

    def __init__(self, cache: Path, executable: Path, version: str) -> None:
        # By content, since a cache that was restored by a CI has neither the times nor the inodes that it had.
        file = content_of(executable) if executable.exists() else ""
        identity = f"{FORMAT} {file} {' '.join(map(repr, KEPT.items()))}"
        name = f"{version}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        self._home = cache / "etcd"
        self._directory = self._home / name

    def find(self) -> str:
        """The directory to copy, or "" when there is none, or it is not what was made."""
        # A cache may be shared with a user whose directories this one can't read.
        with contextlib.suppress(OSError, ValueError):
            if json.loads((self._directory / DIGESTS).read_text()) == _digests(self._directory):
                return str(self._directory)
        return ""

    def make(self, source: EtcdClient, etcd: Path, sockets: Path) -> None:
        """Make it from a cluster that has just booted; what another process makes meanwhile is left to it.

        Args:
            source: The cluster's etcd.
            etcd: The executable.
            sockets: The cluster's directory, which goes with it: a place for sockets.

        Raises:
            KubernixError: It can't be made; clusters then only start more slowly.
            OSError: The cache can't be written.
        """
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with FileLock(f"{self._directory}.lock", timeout=0):
                if not self.find():
                    self._make(_entries(source), etcd, sockets)
        except Timeout:
            return

    def _make(self, entries: list[Entry], etcd: Path, sockets: Path) -> None:
        if (free := shutil.disk_usage(self._home).free // 2**20) < ROOM_MIB:
            raise KubernixError(f"{self._home} has {free} MiB free, and {ROOM_MIB} are needed for a moment")
        prefix = f"{self._directory.name}{UNFINISHED}"
        # We have the lock, so these are of a process that was killed.
        for left in self._home.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self._home, prefix=prefix) as scratch:
            data = Path(scratch) / "data"
            _write(entries, etcd, data, sockets)
            for path in (data / "member" / "wal").iterdir():
                _trim(path)
            (data / DIGESTS).write_text(json.dumps(_digests(data), indent=1))
            _remove(self._directory)
            data.replace(self._directory)


def content_of(executable: Path) -> str:
    """A digest of an executable, without reading all of it at each boot.

    Its length, its beginning, where linkers put the id of what they built, its end, and samples in between.
    """
    size = executable.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with executable.open("rb") as file:
        for place in sorted({0, *(size * number // SAMPLES for number in range(SAMPLES)), max(0, size - SAMPLE)}):
            file.seek(place)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()


def sweep(cache: Path) -> list[Path]:
    """Remove what processes that were killed have left half-made; what is being made is locked, and stays.

    Args:
        cache: Directory of the user's cache.

    Returns:
        What was removed.
    """
    removed = []
    for left in sorted((cache / "etcd").glob(f"*{UNFINISHED}*")):
        with contextlib.suppress(OSError, Timeout), FileLock(f"{str(left).partition(UNFINISHED)[0]}.lock", timeout=0):
            shutil.rmtree(left)
            removed.append(left)
    return removed


def _digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != DIGESTS
    }


def _remove(damaged: Path) -> None:
    """Make way for what replaces it; what can't be removed is told by the attempt to replace it."""
    with contextlib.suppress(OSError):
        if damaged.is_dir() and not damaged.is_symlink():
            damaged.chmod(0o700)
            shutil.rmtree(damaged)
        else:
            damaged.unlink()


def _entries(source: EtcdClient) -> list[Entry]:
    found = []
    for prefix, mark in KEPT.items():
        _, entries = source.range(prefix)
        found += [entry for entry in entries if mark in entry.key or mark in entry.value]
    return found


def _write(entries: list[Entry], etcd: Path, data: Path, sockets: Path) -> None:
    """Run an etcd of our own on a fresh directory, so that nothing but these entries is ever in its files."""
    from ..components.etcd import data_flags

    client = sockets / "made.sock"
    # It must not outlive the process that runs the tests, however that ends.
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    process = subprocess.Popen(
        [*tied, etcd, *data_flags(str(data), str(client), str(sockets / "made-peer.sock"))],
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    store = EtcdClient(client)
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                store.apply([Put(entry.key, entry.value) for entry in entries])
                break
            except KubernixError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
        # An orderly end, which leaves everything in the files.
        process.send_signal(signal.SIGTERM)
        process.wait(START_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise KubernixError(f"an etcd did not end within {START_TIMEOUT:g} s") from None
    finally:
        store.close()
        process.kill()
        process.wait()


def _trim(log: Path) -> None:
    """Cut a log to what was written: etcd reserves 64 MiB, which every copy would pay for."""
    if log.suffix == ".tmp":
        log.unlink()
        return
    content = log.read_bytes().rstrip(b"\0")
    # Zeros mark the end of the records; they come in pages.
    os.truncate(log, (len(content) // 4096 + 2) * 4096)
