"""A plugin for suites that are to die: at one moment it says that it is there, and waits until it is let go.
Which moment, and where to say so, is in the environment; `crash_run.py` is the other side."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(os.environ.get("CRASH_DIR", "."))
MOMENT = os.environ.get("CRASH_MOMENT", "")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

# Waits at the gate as a command of the guardian, then does what it is told to.
HOLD = """
printf '{"pid": 0, "worker": ""}' > "$0/reached.new" && mv "$0/reached.new" "$0/reached"
exec flock --shared "$0/gate" grep --quiet go "$0/verdict"
"""


def reached(moment: str) -> None:
    """Say that a moment has come, and wait at the gate, if it is the one that the driver waits for."""
    if moment != MOMENT:
        return
    scratch = HERE / f"reached.{os.getpid()}"
    scratch.write_text(json.dumps({"pid": os.getpid(), "worker": WORKER}))
    scratch.replace(HERE / "reached")
    with (HERE / "gate").open() as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
    if (HERE / "verdict").read_text() == "fail":
        raise RuntimeError("told to fail")


def note(name: str, **facts: object) -> None:
    """Append a line to a file of the driver's directory."""
    line = json.dumps({"pid": os.getpid(), "worker": WORKER, **facts}) + "\n"
    with (HERE / name).open("a") as out:
        out.write(line)


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background lets us ignore Ctrl-C, and who ignores it at the start goes on so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    note("started")
    if (HERE / f"crash-{WORKER}").exists():
        threading.Thread(target=_crash_when_told, daemon=True).start()


def _crash_when_told() -> None:
    with (HERE / f"crash-{WORKER}").open() as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
    os.abort()


def pytest_kubernix_components(registry: Any, config: Any) -> None:
    from pytest_kubernix.plan import Component, Phase
    from pytest_kubernix.plan.model import Command, ComponentPlan

    note("planned", nodes=config.nodes)
    reached("planning")

    class Hold(Component):
        name = "hold"

        def __init__(self, phase: Phase) -> None:
            self.phase = phase

        def build(self, ctx: Any) -> ComponentPlan:
            env = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
            command = Command(("/bin/sh", "-c", HOLD, str(HERE)), env)
            return ComponentPlan(self.name, self.phase, ("/bin/sleep", "infinity"), env, after=(command,))

    for phase in Phase:
        if phase.title == MOMENT:
            registry.register(Hold(phase))


def pytest_kubernix_cluster_ready(cluster: Any) -> None:
    note("prepared", cluster=cluster.handle.cluster_id)
    reached("preparing")


def pytest_kubernix_cluster_stopping(cluster: Any) -> None:
    reached("stopping")


def pytest_keyboard_interrupt() -> None:
    (HERE / "interrupted").touch()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Workers' reports arrive in the controller as well, which tells them all.
    if WORKER == "main":
        by = getattr(report, "worker_id", WORKER)
        note("reports", by=by, test=report.nodeid, when=report.when, outcome=report.outcome, text=report.longreprtext)


@pytest.fixture(scope="session")
def last_words(kubernix: Any) -> Iterator[None]:
    yield
    reached("teardown")


@pytest.fixture
def uid(kubernix: Any) -> str:
    """The cluster's own id: that of its kube-system namespace."""
    found = str(kubernix.kubectl.get("namespace", "kube-system")["metadata"]["uid"])
    note("uids", uid=found, cluster=kubernix.handle.cluster_id)
    return found
