"""Several users on one machine: none has anything of another's cluster, and each ends clean.
Run by root, which can read everything; so two others look at each other, and at root's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_kubernix.binaries import find_executables
from pytest_kubernix.binaries.bundles import CONTROL_PLANE
from pytest_kubernix.binaries.pins import DEFAULT_VERSION
from pytest_kubernix.guardian.sweep import sweep

from .crash_run import REPOSITORY, Run, as_user, running

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users"),
]

USERS = (65534, 65533)

# Tries to read every file, and to connect to every socket; prints what it could.
TRY = """
import json, os, socket, stat, sys
could = []
for path in json.load(sys.stdin):
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path, "rb").close()
        could.append(path)
    except OSError:
        pass
print(json.dumps(could))
"""


SWEEP = """
import sys
from pathlib import Path

from pytest_kubernix.guardian.sweep import sweep

print(sweep(Path(sys.argv[1])))
"""

WORKS = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pytest, yaml'], check=True)"


@dataclass(frozen=True)
class Means:
    """What other users need to run what we run: an interpreter and executables that they can read."""

    python: str
    environment: dict[str, str]

    def run(self, user: int, *args: str, stdin: str = "") -> str:
        """Run this interpreter as another user; what it prints."""
        command = [*as_user(user), self.python, *args]
        found = subprocess.run(
            command, input=stdin, cwd="/", env=self.environment, capture_output=True, text=True, check=False
        )
        if found.returncode != 0:
            raise ChildProcessError(found.stderr)
        return found.stdout


@pytest.fixture(scope="module")
def means() -> Iterator[Means]:
    """Executables in a place that is open to all, and an interpreter; without one, the tests are skipped."""
    place = Path(tempfile.mkdtemp(prefix="kxa-"))
    try:
        place.chmod(0o755)
        programs = find_executables(DEFAULT_VERSION, nodes=False).programs
        for name in CONTROL_PLANE:
            source = programs[name].resolve()
            try:
                os.link(source, place / name)
            except OSError:
                shutil.copy2(source, place / name)
        path = os.pathsep.join([str(REPOSITORY), *site.getsitepackages()])
        environment = {
            "KUBERNIX_ASSETS": str(place), "HOME": "/nonexistent", "PATH": os.defpath,
            "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        # The one that runs us may be below a home directory.
        for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
            found = Means(python, environment)
            with contextlib.suppress(OSError):
                found.run(USERS[0], "-c", WORKS)
                yield found
                return
        pytest.skip("another user can't run any Python with our packages")
    finally:
        shutil.rmtree(place)


def files_of(run: Run) -> list[str]:
    """Every file and socket that a run has below its directory for clusters."""
    return [str(path) for path in run.root.rglob("*") if not path.is_dir()]


def could(means: Means, user: int, paths: list[str]) -> list[str]:
    """Which of these files a user can read, and which sockets they can connect to."""
    found: list[str] = json.loads(means.run(user, "-I", "-c", TRY, stdin=json.dumps(paths)))
    return found


def as_one(moment: str, user: int, means: Means) -> AbstractContextManager[Run]:
    """A run of one user."""
    settings = {"user": user, "python": means.python, "environment": means.environment} if user else {}
    return running(moment=moment, **settings)


def test_users_have_nothing_of_each_others(means: Means) -> None:
    """No user can read another's files, talk to another's guardian, or use another's API server."""
    with contextlib.ExitStack() as stack:
        runs = {user: stack.enter_context(as_one("test", user, means)) for user in (0, *USERS)}
        for run in runs.values():
            run.reached()
            run.look()
        for user in USERS:
            mine = files_of(runs[user])
            assert {Path(path).name for path in mine} >= {"control.sock", "admin.key", "ca.key", "etcd.sock"}
            assert set(could(means, user, mine)) == set(mine), "it must be able to use its own, or this proves nothing"
            handle = json.loads(next(runs[user].root.glob("*/handle.json")).read_text())
            for other, run in runs.items():
                if other == user:
                    continue
                assert could(means, user, files_of(run)) == []
                server = json.loads(next(run.root.glob("*/handle.json")).read_text())["server"]
                asked = subprocess.run(
                    [*as_user(user), handle["kubectl"], f"--kubeconfig={handle['kubeconfig']}",
                     f"--server={server}", "--insecure-skip-tls-verify", "get", "namespaces"],
                    cwd="/", env={"HOME": "/nonexistent"}, capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert asked.returncode != 0, asked.stdout
                assert "Unauthorized" in asked.stderr or "must be logged in" in asked.stderr, asked.stderr
                # A sweep by one user leaves alone what is another's, even when it is told to look there.
                assert means.run(user, "-c", SWEEP, str(run.root)).strip() == "[]"
        for run in runs.values():
            run.go()
            run.process.wait(30)
            assert run.process.returncode == 0, run.output
            run.clean(time.monotonic(), 20)


@pytest.mark.parametrize("way", ["pytest", "guardian"])
@pytest.mark.parametrize("moment", ["ControlPlane", "test"])
def test_without_rights_nothing_stays_either(means: Means, moment: str, way: str) -> None:
    """A user who may make no namespaces has nothing left either when pytest or the guardian is killed."""
    with as_one(moment, USERS[0], means) as run:
        run.reached()
        run.look()
        victims = [run.process.pid] if way == "pytest" else run.trace.guardians()
        assert victims
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        run.go()
        run.process.wait(30)
        if way == "guardian":
            # The next start of that user does this; root's own leaves alone what is another's.
            assert sweep(run.root) == []
            means.run(USERS[0], "-c", SWEEP, str(run.root))
        run.clean(time.monotonic(), 20)
