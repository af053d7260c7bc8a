"""What `pytest-kubernix doctor` says, and the hints of errors, on machines and to users that they are for."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kubernix import doctor
from pytest_kubernix.binaries.pins import DEFAULT_VERSION
from pytest_kubernix.cli import main

from .unprivileged import unprivileged

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users"),
]

DOCTOR = (sys.executable, "-m", "pytest_kubernix", "doctor")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short directory that others may look into."""
    with tempfile.TemporaryDirectory(prefix="kxd-") as scratch:
        Path(scratch).chmod(0o755)
        yield Path(scratch)


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine that runs clusters, the doctor finds nothing missing."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"ok  executables of Kubernetes {DEFAULT_VERSION}" in out
    assert "MISSING" not in out


def test_a_number_without_a_home(folder: Path) -> None:
    """A user that is a mere number, as in a CI's pod, gets a diagnosis and a control plane, and no traceback."""
    told = unprivileged(folder, *DOCTOR, user=54321, home=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    assert "missing  nodes (namespaces, programs, cgroups): nodes=1: this user may not make" in told.stdout
    test = folder / "test_suite.py"
    test.write_text("def test_it(kubernix):\n    assert kubernix.kubectl.get('namespaces')['items']\n")
    run = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test), "--kubernix-nodes=0")
    works = unprivileged(folder, *run, user=54321, home=False)
    assert works.returncode == 0, works.stdout + works.stderr
    fails = unprivileged(folder, *run, "--kubernix-boot-timeout=1", user=54321, home=False)
    assert "1 error" in fails.stdout or "1 passed" in fails.stdout, fails.stdout + fails.stderr
    assert "RuntimeError" not in fails.stdout


def test_a_hint_is_right_for_its_reader(folder: Path) -> None:
    """Root without capabilities is not told to be root, and a user without them is."""
    root = unprivileged(folder, *DOCTOR, keeps_root=True).stdout
    assert "This is root without those capabilities, as in a container: run that privileged" in root
    assert "Run as root" not in root
    user = unprivileged(folder, *DOCTOR).stdout
    assert "Run as root, or ask for nodes=0" in user


def test_a_look_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is strange on a machine is a finding, and the rest is told."""

    def broken() -> doctor.Finding:
        raise OSError("no such file: /proc/net/route")

    monkeypatch.setattr(doctor, "_egress", broken)
    main(["doctor"])
    out = capsys.readouterr().out
    assert "egress of pods: could not be looked at: OSError: no such file: /proc/net/route" in out
    assert "inotify instances" in out


def test_a_dry_run_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """`up --dry-run` shows phases, flags and probes, no key, and starts nothing."""
    assert main(["up", "--dry-run", "--nodes=2", "--log-level=error"]) == 0
    out = capsys.readouterr().out
    for line in ("## phase ControlPlane", "### kubelet/node-2 (in node-2)", "--v=0", "## ready when"):
        assert line in out
    assert "PRIVATE KEY" not in out


def test_up_says_what_a_suite_would_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a conftest that adds components, `up` says that the suite will not take its cluster, and what does."""
    (tmp_path / "conftest.py").write_text("def pytest_kubernix_components(registry, config): pass\n")
    monkeypatch.chdir(tmp_path)
    root = f"--root={tempfile.mkdtemp(prefix='kxd-')}/r"
    try:
        assert main(["up", "--nodes=0", root]) == 0
        err = capsys.readouterr().err
        assert "conftest.py has pytest_kubernix_components, which only a test run calls" in err
    finally:
        assert main(["down", root]) == 0
