"""A pytest run that is to die: started as a process of its own, stopped at a moment, watched until it is gone.
Moments are conditions (`crash_plugin.py` says when); what is left is told by `machine.py`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_kubernix.guardian.sweep import sweep
from pytest_kubernix.options import OPTIONS

from .crash_trace import Trace
from .pods import eventually

REPOSITORY = Path(__file__).parent.parent.parent
PLUGIN = "tests.integration.crash_plugin"

SUITE = """
from tests.integration.crash_plugin import reached

def test_first(kubernix, last_words):
    reached("test")

def test_second(kubernix, last_words):
    reached("test")

def test_third():
    pass
"""


def as_user(user: int) -> list[str]:
    """The beginning of a command that is run by another user."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []


class Gate:
    """A file that others wait at until we let them through; our death lets them through as well."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def open(self) -> None:
        """Let all through, now and later. Twice is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Run:
    """One run of pytest over a suite in a directory of its own.

    Args:
        folder: Short path of an empty directory; the suite and the clusters are below it.
        suite: Text of the test module.
        args: Further arguments of pytest.
        moment: Where the suite stops until the gate opens, or "".
        crashing: Workers that call abort() when told to.
        user: Who runs it.
        python: The interpreter that runs it.
        environment: Variables that differ from ours.
    """

    def __init__(
        self,
        folder: Path,
        *args: str,
        suite: str = SUITE,
        moment: str = "",
        crashing: Sequence[str] = (),
        user: int = 0,
        python: str = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.trace = Trace(folder)
        self.folder, self.root = folder, self.trace.root
        (folder / "test_suite.py").write_text(suite)
        (folder / "verdict").write_text("go")
        self.gate = Gate(folder / "gate")
        self._crashes = [Gate(folder / f"crash-{worker}") for worker in crashing]
        ours = {"PYTEST_ADDOPTS", "KUBECONFIG", "PYTEST_XDIST_WORKER", *(option.env for option in OPTIONS)}
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [inherited.get("PYTHONPATH")])])
        paths = {"PYTHONPATH": path, "XDG_STATE_HOME": str(folder / "state")}
        crash = {"CRASH_DIR": str(folder), "CRASH_MOMENT": moment}
        if user:
            os.chown(folder, user, user)
        with (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*as_user(user), python, "-m", "pytest", "-p", "no:cacheprovider", "-p", PLUGIN, "-rA",
                 "--kubernix-nodes=0", f"--kubernix-root={self.root}", *args],
                cwd=folder, env={**inherited, **paths, **crash, **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    @property
    def output(self) -> str:
        """What pytest printed so far."""
        return (self.folder / "output").read_text(errors="replace")

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What the plugin has noted under a name; a line that is being written is not there yet."""
        path = self.folder / name
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def outcomes(self) -> dict[str, str]:
        """Test → "passed", or the first other outcome of its phases."""
        found: dict[str, str] = {}
        for line in self.notes("reports"):
            name = str(line["test"]).rpartition("::")[2]
            if found.get(name, "passed") == "passed":
                found[name] = line["outcome"]
        return found

    def until(self, look: Callable[[], Any], what: str, timeout: float = 90) -> Any:
        """Wait until something is seen, or fail with pytest's output when it ends before."""

        def still() -> Any:
            if seen := look():
                return seen
            if self.process.poll() is not None:
                raise RuntimeError(f"pytest ended before {what}:\n{self.output}")
            return None

        return eventually(still, timeout=timeout, what=f"{what}\n{self.output}")

    def reached(self) -> dict[str, Any]:
        """Wait until the suite is at its moment; who is there."""
        marker = self.folder / "reached"
        self.until(marker.exists, "its moment")
        found: dict[str, Any] = json.loads(marker.read_text())
        return found

    def log(self) -> str:
        """What the guardians have logged so far."""
        return "".join(path.read_text() for path in self.root.glob("*/guardian.log"))

    def look(self) -> None:
        """Take note of every process and cluster that is there, to tell later whether it is gone."""
        self.trace.look(self.process.pid)

    def crash(self) -> None:
        """Tell all that can to call abort()."""
        for gate in self._crashes:
            gate.open()

    def go(self, verdict: str = "go") -> None:
        """Open the gate, and say how to go on."""
        (self.folder / "verdict").write_text(verdict)
        self.gate.open()

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal does it: to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def clean(self, since: float, limit: float) -> float:
        """Wait until nothing of this run is left; seconds since then."""
        return self.trace.clean(since, limit, f"{self.output}\n{self.log()}")

    def close(self) -> None:
        """End what a test that failed has left."""
        self.look()
        for pid in (self.process.pid, *self.trace.guardians()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.gate.open()
        self.trace.kill()
        eventually(lambda: not self.trace.alive(), what="the end of a run")
        # Cgroups; the directory itself goes with the folder, whichever user owns it.
        sweep(self.root)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A short directory for one run."""
    path = Path(tempfile.mkdtemp(prefix="kxc-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(*args: str, **settings: Any) -> Iterator[Run]:
    """A run in a directory of its own; whatever happens, nothing of it goes on afterwards."""
    with folder() as path:
        run = Run(path, *args, **settings)
        try:
            yield run
        finally:
            run.close()
