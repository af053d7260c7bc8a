"""What is seen: the header, and live lines while a cluster boots."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_kubernix.fixtures import cluster_ready as preparing


def test_the_header_is_one_line(suite: pytest.Pytester) -> None:
    """It says which clusters the session would make."""
    result = suite.runpytest("--kubernix-nodes=2", "--kubernix-k8s-version=1.34")
    lines = [line for line in result.outlines if line.startswith("kubernix")]
    assert lines == ["kubernix: driver fake, Kubernetes 1.34.4, nodes 2"]


def test_live_lines_pass_the_capture(suite: pytest.Pytester) -> None:
    """What happens during a boot is written to the terminal, although output is captured, and before the test ends.

    The test reads pytest's own output while it still runs, from the file that it goes to.
    """
    suite.makepyfile(
        """
        import os
        from pathlib import Path

        def test_a(kubernix):
            text = Path(os.environ["OUTPUT"]).read_text()
            assert "kubernix: the fake phase is ready" in text
            assert "kubernix: ready after" in text
            print("swallowed")
        """
    )
    output = suite.path / "output.txt"
    with output.open("w", encoding="utf-8") as file:
        environment = {**os.environ, "OUTPUT": str(output)}
        command = [sys.executable, "-m", "pytest"]
        code = subprocess.call(command, stdout=file, cwd=suite.path, env=environment, timeout=50)
    lines = output.read_text(encoding="utf-8").splitlines()
    assert code == 0, "\n".join(lines)
    assert "swallowed" not in lines
    # A line of its own, not the rest of one with dots.
    assert "kubernix: booting Kubernetes 1.36.3 with 1 node (driver fake)" in lines


@pytest.mark.parametrize("capture", ["fd", "sys", "no", "tee-sys"])
def test_each_way_to_capture(suite: pytest.Pytester, capture: str) -> None:
    """The lines are seen once, however output is captured, and a test's own capture does not get them."""
    suite.makepyfile(
        """
        def test_a(capsys, request):
            print("mine")
            request.getfixturevalue("kubernix")
            assert capsys.readouterr().out == "mine\\n"
        """
    )
    result = suite.runpytest_subprocess(f"--capture={capture}")
    result.assert_outcomes(passed=1)
    assert result.outlines.count("kubernix: the fake phase is ready") == 1


def test_quiet(suite: pytest.Pytester) -> None:
    """Under -q there is neither header nor live line."""
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest("-q")
    result.assert_outcomes(passed=1)
    assert not [line for line in result.outlines + result.errlines if "kubernix" in line]


def test_what_the_suite_takes_is_told_apart(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a suite's own preparation takes is not counted as a boot's time without a word."""
    monkeypatch.setattr(preparing, "WORTH_TELLING", 0)
    suite.makepyfile("def test_a(kubernix): pass")
    result = suite.runpytest_inprocess()
    result.stdout.re_match_lines([r"kubernix: pytest_kubernix_cluster_ready took 0\.\d s$", "kubernix: ready after .*"])


def test_workers_tell_how_a_boot_gets_on(suite: pytest.Pytester) -> None:
    """Under xdist, lines come from the worker that they are about; not what all would say, and none under -q."""
    suite.makepyfile("def test_a(kubernix): assert kubernix.nodes")
    result = suite.runpytest_subprocess("-n1")
    result.assert_outcomes(passed=1)
    lines = [line for line in result.errlines if "kubernix" in line]
    assert lines == ["kubernix: [gw0] the fake phase is ready"]
    assert "kubernix" not in suite.runpytest_subprocess("-n1", "-q").stderr.str()


def test_no_terminal_at_all(suite: pytest.Pytester) -> None:
    """Without pytest's terminal and capture plugins the fixtures still work."""
    suite.makepyfile("def test_a(kubernix): assert kubernix.nodes")
    assert suite.runpytest("-p", "no:terminal", "-p", "no:capturemanager").ret == 0
