"""Starts that are killed at random instants of their boot, one after the other in one directory.
What one leaves must not keep the next from starting, even when both are for the same cluster."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kubernix.guardian.sweep import sweep

from .crash_run import REPOSITORY, folder
from .crash_trace import Trace
from .pods import eventually, guardian_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

# Of a start and its guardian, in this order; a guardian that is not there yet can't be killed.
VICTIMS = ("start", "guardian", "both", "start by SIGTERM", "start by Ctrl-C")
SETTLING = 30.0


def start(root: Path, nodes: int, key: str, log: Path) -> subprocess.Popen[bytes]:
    # A child of a process that ignores Ctrl-C, as shells let jobs in the background, ignores it as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.integration.crash_start", str(root), str(nodes), key],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, start_new_session=True,
        )  # fmt: skip


def until_ready(process: subprocess.Popen[bytes], log: Path) -> float:
    """Seconds until a start says that it is ready."""
    begin = time.monotonic()
    assert process.stdout
    assert process.stdout.readline() == b"ready\n", log.read_text()
    return time.monotonic() - begin


def finish(process: subprocess.Popen[bytes]) -> None:
    process.communicate(timeout=30)
    assert process.returncode == 0


def kill(process: subprocess.Popen[bytes], root: Path, victim: str) -> None:
    if victim in ("guardian", "both"):
        for run_dir in list(root.glob("*")):
            try:
                os.kill(guardian_of(run_dir), signal.SIGKILL)
            except (LookupError, ProcessLookupError):
                continue
    if victim != "guardian":
        number = {"start by SIGTERM": signal.SIGTERM, "start by Ctrl-C": signal.SIGINT}.get(victim, signal.SIGKILL)
        process.send_signal(number)
    # One that has lost its guardian goes on until its input ends, if there was none to be killed.
    assert process.stdin
    process.stdin.close()
    process.wait(60)


def hung(log: Path) -> bool:
    """Whether a start has waited for ever; it says where."""
    return "Timeout (" in log.read_text()


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.long)])
def test_starts_killed_at_random_instants(count: int, request: pytest.FixtureRequest) -> None:
    """However many starts are killed, and whenever, the next one boots as fast as ever and nothing is left."""
    seed = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    dice = random.Random(seed)
    lines = [f"seed {seed}: CRASH_SEED={seed} plays the same instants again"]
    with folder() as place:
        root, log = place / "r", place / "log"
        trace = Trace(place)
        process = start(root, 0, "", log)
        usual = until_ready(process, log)
        finish(process)
        for number in range(count):
            victim = dice.choice(VICTIMS)
            # Half of them are about one and the same cluster, so that they meet what the one before left.
            key = "one for all" if dice.random() < 0.5 else ""
            instant = dice.uniform(0, usual * 1.2)
            process = start(root, int(dice.random() < 0.1), key, log)
            lines.append(f"{number:3}: {victim} after {instant:.3f} s{', the shared cluster' if key else ''}")
            try:
                # The instant is what is tested, not a wait for anything.
                process.wait(instant)
            except subprocess.TimeoutExpired:
                trace.look(process.pid)
                kill(process, root, victim)
            assert process.stdin
            assert process.stdout
            for pipe in (process.stdin, process.stdout):
                pipe.close()
            assert not hung(log), "\n".join([*lines, log.read_text()[-6000:]])
        for key in ("one for all", ""):
            process = start(root, 0, key, log)
            seconds = until_ready(process, log)
            finish(process)
            lines.append(f"the next start: {seconds:.1f} s, the first: {usual:.1f} s")
            # On a machine that is busy with other things: a wait for remains is one for a time-out of 30 s.
            assert seconds < 2 * usual + 15, "\n".join([*lines, log.read_text()])
        eventually(lambda: sweep(root) or not trace.run_dirs(), timeout=SETTLING, what="the end of every guardian")
        trace.clean(0, SETTLING, "\n".join([*lines, log.read_text()]))
    capture = request.config.pluginmanager.getplugin("capturemanager")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    with capture.global_and_fixture_disabled():
        if reporter:
            reporter.write_line("\n" + "\n".join(lines if count < 10 else [lines[0], *lines[-2:]]))
