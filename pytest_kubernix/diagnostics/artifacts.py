"""The directory of `--kubernix-artifacts`: which bundles go there, under which names, and who writes them.
Several processes write side by side, so names are claimed, and the kernel knows who is the last to leave."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .. import locks
from ..config import ClusterConfig
from ..errors import BootError, ClusterGone
from .api import Subject
from .bundle import write_boot, write_cluster

MAX_TESTS = 10
"""Bundles of failed tests that one process writes: each takes seconds, and often one cause fails them all."""

LOCK = ".lock"
END = "end"


class Artifacts:
    """Writes bundles below one directory.

    `<cluster id>/<test>/` is the cluster as a test left it when it failed, before its namespace was removed;
    `<cluster id>/end/` is the cluster at the end of the session; `boot-<cluster id>/` is a boot that failed.

    Args:
        folder: The directory; made when something is written.
        tell: Called with one line for the user: where the bundles are, or why one could not be written.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._tests = 0
        self._locks: dict[str, int] = {}

    def joined(self, cluster_id: str) -> None:
        """This process uses a cluster: the last process that does writes how it looks at the end."""
        with self._telling():
            folder = self._folder / cluster_id
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = locks.opened(folder / LOCK)
            locks.take(descriptor, locks.SHARED)
            self._locks[cluster_id] = descriptor

    def test_failed(self, cluster: Subject, test: str) -> str:
        """Write the bundle of a failed test; returns one line about it, for its report."""
        if self._tests >= MAX_TESTS:
            return f"no bundle: this process wrote those of {MAX_TESTS} failed tests already"
        self._tests += 1
        with self._telling():
            folder = claim(self._folder / cluster.handle.cluster_id, name_of(test))
            write_cluster(cluster, folder, test=test)
            self._written()
            return f"the whole bundle is in {folder}"
        return "the bundle could not be written"

    def left(self, clusters: Iterable[Subject]) -> None:
        """The session is about to end: write how the clusters look, but those that others still use."""
        for cluster in clusters:
            descriptor = self._locks.pop(cluster.handle.cluster_id, -1)
            if descriptor < 0:
                continue
            with self._telling(), contextlib.closing(os.fdopen(descriptor)):
                parent = self._folder / cluster.handle.cluster_id
                # Every other process has a share; when two try at once, one of them gets it.
                if not locks.try_lock(descriptor):
                    continue
                _publish(parent / END, functools.partial(write_cluster, cluster))
                (parent / LOCK).unlink(missing_ok=True)
                self._written()

    def boot_failed(self, error: BootError, config: ClusterConfig) -> None:
        """Write the bundle of a boot that failed."""
        with self._telling():
            self._folder.mkdir(parents=True, exist_ok=True)
            # All workers of a run get the same error; one bundle of it is enough.
            name = Path(error.logs).name if error.logs else config.digest()
            _publish(self._folder / f"boot-{name}", lambda folder: write_boot(error, config, folder))
            self._written()

    def _written(self) -> None:
        # The same line from every process, so that it is shown once.
        self._tell(f"artifacts are in {self._folder}")

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """A bundle that can't be written is told, and changes no test's outcome."""
        try:
            yield
        except ClusterGone:
            # A test has stopped it; there is nothing left to write down.
            return
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here is not what the tests are about
            self._tell(f"artifacts in {self._folder} are not complete: {type(error).__name__}: {error}")


def claim(parent: Path, name: str) -> Path:
    """A new directory of that name, or with a number after it where others took the name before.

    Raises:
        OSError: It can't be made there.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def name_of(nodeid: str) -> str:
    """A file name that tells the test, and that no other test has.

    Args:
        nodeid: Such as "tests/test_web.py::test_scale[3]".
    """
    module, _, name = nodeid.partition("::")
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", f"{Path(module).stem}-{name}").strip("-")[:80].rstrip("-")
    return f"{readable}-{hashlib.sha256(nodeid.encode()).hexdigest()[:6]}"


def _publish(target: Path, write: Callable[[Path], object]) -> None:
    """Write a directory aside, and put it in place of what was there."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(scratch)
        # Private is right for a scratch directory; a bundle is for all who may read where it lies.
        scratch.chmod(target.parent.stat().st_mode & 0o777)
        with _alone(target.parent):
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        locks.take(descriptor)
        yield
    finally:
        os.close(descriptor)
