"""Namespaces of a cluster: the fabric, and nodes with a process 1 each. Held by file descriptors only,
so that they end with the guardian and the processes inside, however those end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import ComponentError
from ..linux import calls as linux
from ..linux import cgroups
from ..logs import tail
from ..plan.model import FABRIC, HOST, File, NamespacePlan
from .processes import Process, Spawner

FLAGS = {
    "net": linux.CLONE_NEWNET,
    "mnt": linux.CLONE_NEWNS,
    "pid": linux.CLONE_NEWPID,
    "uts": linux.CLONE_NEWUTS,
    "ipc": linux.CLONE_NEWIPC,
}
SETUP_TIMEOUT = 30.0
NODE_UMASK = 0o022
PRIVATE_UMASK = 0o077
SETUP_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

T = TypeVar("T")


class Namespaces:
    """Makes namespaces, lets the current thread enter them, and forgets them.

    Args:
        spawner: Starts the processes 1 and the setup scripts.
        run_dir: The cluster's directory; "ns" in it names network namespaces by path.
        logs: Directory for the output of setup scripts.
    """

    def __init__(self, spawner: Spawner, run_dir: Path, logs: Path) -> None:
        self._spawner = spawner
        self._paths = run_dir / "ns"
        self._logs = logs
        self._net: dict[str, int] = {}
        self._init: dict[str, Process] = {}
        self._cgroups: list[str] = []
        self._home: dict[str, int] = {}

    def _remember_home(self) -> None:
        self._home = {kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in FLAGS}
        self._paths.mkdir(mode=0o700, exist_ok=True)
        self._net[HOST] = self._home["net"]
        self._publish(HOST)

    def _publish(self, name: str) -> None:
        """Give a network namespace a path, seen in the guardian's mount namespace and those made from it."""
        path = self._paths / name
        path.touch(mode=0o600)
        linux.mount(f"/proc/self/fd/{self._net[name]}", str(path), "", linux.MS_BIND)

    async def create(self, plan: NamespacePlan) -> None:
        """Make the namespaces of one plan and set them up.

        Raises:
            ComponentError: The kernel refused, or a script failed; with the end of its output.
        """
        if not self._home:
            self._remember_home()
        log = self._logs / f"setup-{plan.name}.log"
        try:
            if plan.cgroup:
                self._cgroups.append(plan.cgroup)
                cgroups.create(plan.cgroup)
            if "pid" in plan.kinds:
                # The init is the first process of the new PID namespace and inherits the others.
                self._init[plan.name] = self._spawner.spawn(
                    f"init/{plan.name}", plan.init, env=SETUP_ENV, log=log, within=self._unshared(plan)
                )
            else:
                with self._unshared(plan):
                    pass
            self._publish(plan.name)
        except OSError as error:
            raise ComponentError(plan.name, f"its namespaces could not be made: {error}") from error
        await self._script(plan.name, plan.setup, log, within=plan.name)
        if plan.host_setup:
            await self._script(plan.name, plan.host_setup, log, within=HOST)
        self.write(plan.name, plan.files)

    @contextlib.contextmanager
    def _unshared(self, plan: NamespacePlan) -> Iterator[None]:
        """The current thread is in new namespaces, then back at home; the new network stays open."""
        flags = 0
        for kind in plan.kinds:
            flags |= FLAGS[kind]
        linux.unshare(flags | linux.CLONE_FS)
        try:
            self._net[plan.name] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            yield
        finally:
            self._go_home(plan.kinds)

    def _go_home(self, kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            linux.setns(self._home[kind], FLAGS[kind])

    @contextlib.contextmanager
    def entered(self, name: str) -> Iterator[None]:
        """The current thread is in the namespaces of `name`; children that it starts stay there.

        Only for the main thread: while it lasts, nothing else of this process may run.
        """
        if name == HOST:
            yield
            return
        self._must_exist(name)
        init = self._init.get(name)
        if init is None:
            linux.setns(self._net[name], linux.CLONE_NEWNET)
            try:
                yield
            finally:
                self._go_home(("net",))
            return
        kinds = tuple(FLAGS)
        flags = 0
        for kind in kinds:
            flags |= FLAGS[kind]
        pidfd = os.pidfd_open(init.pid)
        try:
            # Threads share a root directory by default, and the kernel moves no shared one.
            linux.unshare(linux.CLONE_FS)
            linux.setns(pidfd, flags)
            # A node's files are as open as any node's: a container's root directory is one of them.
            private = os.umask(NODE_UMASK)
            try:
                yield
            finally:
                os.umask(private)
                self._go_home(kinds)
        finally:
            os.close(pidfd)

    def in_network(self, name: str, ask: Callable[[], T]) -> T:
        """Call `ask` with the current thread in the network of `name`; any thread may do this."""
        if name == HOST:
            return ask()
        self._must_exist(name)
        linux.setns(self._net[name], linux.CLONE_NEWNET)
        try:
            return ask()
        finally:
            linux.setns(self._home["net"], linux.CLONE_NEWNET)

    def _must_exist(self, name: str) -> None:
        if name not in self._net:
            raise ComponentError(name, "its namespaces are gone; restart the node first")

    def path(self, name: str, path: str) -> Path:
        """Where a path inside a namespace is for the guardian.

        Raises:
            ComponentError: The namespace is gone; its path must never be taken for one of the host's.
        """
        if name != HOST:
            self._must_exist(name)
        init = self._init.get(name)
        return Path(f"/proc/{init.pid}/root{path}") if init else Path(path)

    def write(self, name: str, files: tuple[File, ...]) -> None:
        """Write files inside a namespace, each with its mode from the first byte on."""
        for file in files:
            path = self.path(name, file.path)
            try:
                private = os.umask(NODE_UMASK if name in self._init else PRIVATE_UMASK)
                try:
                    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                finally:
                    os.umask(private)
                path.unlink(missing_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
                with os.fdopen(descriptor, "w") as out:
                    out.write(file.content)
            except OSError as error:
                raise ComponentError(name, f"could not write {file.path}: {error.strerror}") from error

    async def _script(self, name: str, script: str, log: Path, *, within: str) -> None:
        # By its input, since a command line has a limit, and the script of 64 nodes does not fit.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(script.encode())
            stdin.seek(0)
            code = await self._spawner.run(
                name, ("/bin/sh", "-s"), env=SETUP_ENV, log=log, within=self.entered(within), stdin=stdin,
                timeout=SETUP_TIMEOUT,
            )  # fmt: skip
        if code != 0:
            raise ComponentError(
                name, f"its network and mounts could not be set up (exit code {code})",
                log_tail=tail(log), log=str(log),
            )  # fmt: skip

    async def forget(self, name: str) -> None:
        """Let go of a node whose processes are gone, so that it can be made again."""
        self._init.pop(name, None)
        with contextlib.suppress(OSError):
            linux.umount(str(self._paths / name))
        if (descriptor := self._net.pop(name, -1)) >= 0:
            os.close(descriptor)
        # The kernel takes its time to remove a link with its namespace; its name is needed at once.
        await self._script(name, f"ip link del {name} || true", self._logs / f"setup-{name}.log", within=FABRIC)

    def init_of(self, name: str) -> Process | None:
        """Process 1 of a node; killing it ends everything in the node."""
        return self._init.get(name)

    def close(self) -> list[str]:
        """Let go of everything; to be called when no process is left.

        Returns:
            What could not be removed, a line each.
        """
        problems = []
        for name, descriptor in self._net.items():
            with contextlib.suppress(OSError):
                linux.umount(str(self._paths / name))
            if name != HOST:
                os.close(descriptor)
        for descriptor in self._home.values():
            os.close(descriptor)
        self._net.clear()
        self._home.clear()
        # The cluster's own last: what is in it beside the nodes' is not ours, and is told.
        for cgroup in (*self._cgroups, *{str(Path(cgroup).parent) for cgroup in self._cgroups}):
            problems += cgroups.remove(cgroup)
        self._cgroups.clear()
        return problems
