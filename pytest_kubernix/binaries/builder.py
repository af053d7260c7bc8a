"""Builds bundles from the Go sources of this package into the user's cache.
Built aside and published by one rename; two who need the same build wait for one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_kubernix.binaries import cache as caches
from pytest_kubernix.binaries import own_images as images
from pytest_kubernix.binaries import toolchain
from pytest_kubernix.binaries.bundles import Bundle, go_arch
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.errors import ExecutablesError

Progress = Callable[[str], None]

_FULL = "no space left on device"
_OFFLINE = ("dial tcp", "proxyconnect", "module lookup disabled")
_NETWORK = "Go fetches modules from where its GOPROXY points, and couldn't; nothing else needs a network.\n"
_TAIL_LINES = 25
# Runs a command that the kernel kills when we die, however we die. Asked for by the child itself, after the
# fork: Python's own way (preexec_fn) isn't safe where there are threads.
_TIED = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.getppid() == int(sys.argv[1]) or os._exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def silent(_: str) -> None:
    """The progress callback of those who want none."""


def build(bundle: Bundle, cache: Cache, progress: Progress = silent) -> Path:
    """The published directory of `bundle`, built now unless another process does it first.

    Raises:
        ExecutablesError: A tool is missing, the disk is full, or Go failed; nothing half-made is left.
    """
    go = toolchain.find_go(bundle.minimum_go())
    try:
        with cache.lock(bundle, progress) as lock:
            cache.sweep(bundle)
            # Looked for again: the process that held the lock until now may have built it.
            if (found := cache.find(bundle)) is not None:
                return found
            scratch = cache.scratch(bundle)
            work = _Build(bundle, cache, go, scratch, lock, progress)
            try:
                return work.run()
            except (Exception, GeneratorExit):
                raise
            except BaseException as interruption:
                # Ctrl-C, or the limit of a test that happens to be the first to need a cluster.
                told = work.interrupted()
                interruption.add_note(told)
                progress(told)
                raise
            finally:
                caches.remove_tree(scratch)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        cache.log(bundle).unlink(missing_ok=True)
        raise caches.no_space(bundle, cache.root, toolchain.go_directories(go)) from error


@dataclass
class _Build:
    """One build, in its scratch directory, under its lock."""

    bundle: Bundle
    cache: Cache
    go: toolchain.Go
    scratch: Path
    lock: int
    progress: Progress

    _started = 0.0

    def run(self) -> Path:
        self._started = started = time.monotonic()
        digest = self.bundle.digest()
        source, made, temporary = (self.scratch / name for name in ("source", "made", "tmp"))
        for directory in (source, made, temporary):
            directory.mkdir()
        for name, path in self.bundle.sources().items():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        log = self.cache.log(self.bundle)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        self.environment = toolchain.go_environment(arch=go_arch(), cgo=self.bundle.cgo, scratch=temporary)

        stale, total = self._count(source)
        share = stale / total if total else 1.0
        self._check_space(share)
        self._compile(source, made, stale, share)
        for link, name in self.bundle.links.items():
            (made / link).symlink_to(name)
        if self.bundle.name == "programs":
            images.build_images(made / "pause", made / "test-server", made / "images", arch=go_arch())
        missing = [name for name in self.bundle.executables if not (made / name).is_file()]
        if missing:
            raise ExecutablesError(f"the build of {self.bundle} made no {', '.join(missing)}")
        if self.bundle.digest() != digest:
            # Else what was made of the old sources would be found under the name of the new ones.
            raise ExecutablesError(f"the sources of {self.bundle} changed while it was built", hint="Try again.")
        seconds = round(time.monotonic() - started, 1)
        facts = {"digest": digest, "seconds": seconds, "packages": stale}
        directory = self.cache.publish(self.bundle, made, go=self.go.minor, facts=facts)
        self.progress(f"built {self.bundle} in {seconds:.0f} s")
        return directory

    def _count(self, source: Path) -> tuple[int, int]:
        """How many packages must be compiled, of how many. Go fetches missing modules on the way."""
        states = {"stale": 0, "fresh": 0}
        fetched = 0

        def read(line: str) -> None:
            nonlocal fetched
            if line in states:
                states[line] += 1
            elif line.startswith("go: downloading "):
                fetched += 1
                self._say(f"fetching Go modules for {self.bundle} ({fetched} so far)")

        arguments = ["list", "-deps", "-f", "{{if .Stale}}stale{{else}}fresh{{end}}", *self.bundle.flags()]
        self._go([*arguments, *self.bundle.packages], source, read)
        return states["stale"], sum(states.values())

    def _check_space(self, share: float) -> None:
        """Refuse before anything is written what can't end well; `share` is how much is still to compile."""
        needed = int(self.bundle.space * share)
        others = toolchain.go_directories(self.go)
        # What is compiled goes to Go's build cache; our own directory takes the linker's output, twice.
        ours = self.bundle.space // 8
        if caches.free_space(self.cache.root) < ours or any(caches.free_space(o) < needed for o in others[:1]):
            raise caches.no_space(self.bundle, self.cache.root, others, needed=max(needed, ours))

    def _compile(self, source: Path, made: Path, stale: int, share: float) -> None:
        seconds = max(5.0, self.bundle.minutes * 60 * share)
        about = f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
        done = 0

        def read(line: str) -> None:
            nonlocal done
            # With -v, Go names each package that it compiles on a line of its own.
            if line and " " not in line and not line.startswith("#"):
                done += 1
                self._say(f"building {self.bundle} ({about}; {min(done, stale)} of {stale} packages)")

        self._say(f"building {self.bundle} ({about}; {stale} packages)", at_once=True)
        arguments = ["build", "-v", *self.bundle.flags(), f"-o={made}{os.sep}", *self.bundle.packages]
        self._go(arguments, source, read)

    def interrupted(self) -> str:
        """What to say when this is not let to its end."""
        seconds = time.monotonic() - self._started
        return (
            f"interrupted after {seconds:.0f} s: the build of {self.bundle}, which is needed once. "
            "Do it beforehand, where nothing limits its time: pytest-kubernix build"
        )

    _said = 0.0

    def _say(self, text: str, *, at_once: bool = False) -> None:
        """Report at most once a second: packages fly by, and a terminal line is slower than they are."""
        now = time.monotonic()
        if at_once or now - self._said >= 1:
            self._said = now
            self.progress(text)

    def _go(self, arguments: Sequence[str], directory: Path, read: Callable[[str], None]) -> None:
        """Run Go; each line of its output goes to the log and to `read`."""
        log = self.cache.log(self.bundle)
        with log.open("ab") as sink, self._process([str(self.go.path), *arguments], directory) as process:
            sink.write(f"$ go {' '.join(arguments)}\n".encode())
            assert process.stdout is not None
            for line in process.stdout:
                sink.write(line)
                read(line.decode(errors="replace").rstrip("\n"))
            code = process.wait()
        if code != 0:
            raise self._failure(log, code)

    @contextlib.contextmanager
    def _process(self, command: Sequence[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command],
            cwd=directory, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches us alone, and we end all of it, compilers included.
            start_new_session=True, pass_fds=(self.lock,),
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _failure(self, log: Path, code: int) -> ExecutablesError:
        text = log.read_text(errors="replace")
        if _FULL in text.lower():
            log.unlink(missing_ok=True)
            return caches.no_space(self.bundle, self.cache.root, toolchain.go_directories(self.go))
        interesting = [line for line in text.splitlines() if line not in ("stale", "fresh")]
        tail = "\n".join(f"  {line}" for line in interesting[-_TAIL_LINES:])
        return ExecutablesError(
            f"the build of {self.bundle} failed (go {self.go.version}, exit code {code}); the end of its log:\n{tail}",
            hint=(_NETWORK if any(word in text for word in _OFFLINE) else "") + f"The whole log: {log}",
        )
