"""The user's cache of executables: where things lie, who builds, what is left over.
A published bundle is a directory with a `bundle.json`; it appears whole, by one rename, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import platformdirs

from pytest_kubernix import locks
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.errors import ExecutablesError
from pytest_kubernix.versions import InvalidVersion, Version, parse

VARIABLE = "KUBERNIX_CACHE"
MANIFEST = "bundle.json"
_MIB = 1 << 20


class Cache:
    """The directories of one cache.

    `bundles/` holds what is published, `locks/` one lock per build, `scratch/` what is being built,
    `logs/` the output of the latest build of each bundle.
    """

    def __init__(self, root: Path | None = None) -> None:
        given = os.environ.get(VARIABLE)
        root = root or (Path(given).expanduser() if given else platformdirs.user_cache_path("pytest-kubernix"))
        self.root = root.absolute()

    def find(self, bundle: Bundle) -> Path | None:
        """The published directory of `bundle`, complete, or None.

        A build by any Go version serves, the newest first: a new Go is no reason to build for minutes.
        """
        pattern = f"{_key(bundle)}-go*"
        for directory in sorted(self.root.glob(f"bundles/{pattern}"), key=_go_of, reverse=True):
            if _is_complete(directory):
                return directory
        return None

    def publish(self, bundle: Bundle, made: Path, *, go: str, facts: Mapping[str, object]) -> Path:
        """Move the finished directory `made` to its place. The lock of `bundle` must be held."""
        files = {
            path.relative_to(made).as_posix(): path.stat().st_size
            for path in sorted(made.rglob("*")) if path.is_file()
        }  # fmt: skip
        manifest = {"bundle": bundle.name, "version": bundle.version, "go": go, **facts, "files": files}
        (made / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        target = self.root / "bundles" / f"{_key(bundle)}-go{go}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            # It was looked at and found incomplete, or there would be no build: it was damaged from outside.
            remove_tree(target)
        made.replace(target)
        return target

    def log(self, bundle: Bundle) -> Path:
        """Where the output of the latest build of `bundle` is, or will be."""
        return self.root / "logs" / f"{_key(bundle)}.log"

    @contextlib.contextmanager
    def lock(self, bundle: Bundle, progress: Callable[[str], None]) -> Iterator[int]:
        """Hold the build lock of `bundle`; waits, and says for whom. Gives the lock's descriptor.

        The descriptor may be passed to the processes of the build. The lock then lasts until the last of
        them is gone, even when we are killed before them, so what they still write is not swept.
        """
        with _writable(self.root):
            path = self.root / "locks" / f"{_key(bundle)}.lock"
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = locks.opened(path)
        try:
            if not locks.try_lock(descriptor):
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                progress(f"waiting for the build of {bundle} by pid {holder}")
                locks.take(descriptor)
            with contextlib.suppress(OSError):  # A full disk must fail the build with its own error, not here.
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield descriptor
        finally:
            # Closing, not unlocking: an unlock would take the lock from children that still hold it.
            # The file stays: a process that waits on an unlinked one would hold a lock that no other sees.
            os.close(descriptor)

    def scratch(self, bundle: Bundle) -> Path:
        """A fresh scratch directory on the cache's file system. The lock of `bundle` must be held."""
        with _writable(self.root):
            parent = self.root / "scratch"
            parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f"{_key(bundle)}.", dir=parent))

    def sweep(self, held: Bundle) -> list[Path]:
        """Remove scratch directories of builds that do not run any more; gives what was removed.

        Those of `held`, whose lock the caller holds, are all stale; of others, those whose lock is free.
        """
        removed = []
        for directory in sorted(self.root.glob("scratch/*")):
            key = directory.name.rpartition(".")[0]
            if key == _key(held) or self._is_free(key):
                remove_tree(directory)
                removed.append(directory)
        return removed

    def _is_free(self, key: str) -> bool:
        try:
            descriptor = locks.opened(self.root / "locks" / f"{key}.lock", create=False)
        except FileNotFoundError:
            return True
        except PermissionError:
            return False  # Another user's, such as root's after `sudo`: not ours to judge, nor to remove.
        try:
            return locks.try_lock(descriptor)
        finally:
            os.close(descriptor)


def free_space(path: Path) -> int:
    """Free bytes where `path` is, or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def no_space(bundle: Bundle, root: Path, others: list[Path], *, needed: int = 0) -> ExecutablesError:
    """The error of a full disk: every directory involved, and the variable that moves each."""
    places = [f"  {root}: {free_space(root) // _MIB} MiB free; {VARIABLE} moves it"]
    for directory, variable in zip(others, ("GOCACHE", "GOMODCACHE"), strict=False):
        places.append(f"  {directory}: {free_space(directory) // _MIB} MiB free; {variable} moves it")
    wants = f", which wants about {needed // _MIB} MiB," if needed else ""
    return ExecutablesError(
        "\n".join([f"no space left for the build of {bundle}{wants} in:", *places]),
        hint=f"Free some space, or set {VARIABLE} to a directory on a larger disk.",
    )


def remove_tree(path: Path) -> None:
    """Remove a directory in which a dying process may still write for a moment."""
    for _ in range(50):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.1)


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ExecutablesError(
            f"the cache of executables, {root}, can't be written: {error.strerror}",
            hint=f"Set {VARIABLE} to a directory that this user may write to.",
        ) from error


def _key(bundle: Bundle) -> str:
    return f"{bundle.name}-{bundle.version}-{bundle.digest()}"


def _go_of(directory: Path) -> Version:
    try:
        return parse(directory.name.rpartition("-go")[2])
    except InvalidVersion:
        return parse("0")


def _is_complete(directory: Path) -> bool:
    """Whether every file is there at its size: after a power cut, files may be shorter than they were."""
    try:
        files = json.loads((directory / MANIFEST).read_text())["files"]
        return all((directory / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
