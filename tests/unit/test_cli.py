"""`pytest-kubernix` where there is no cluster to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kubernix.cli import main


@pytest.mark.parametrize("command", [["list"], ["list", "--json"], ["gc"], ["down", "--all"]])
def test_a_root_that_is_gone_has_no_clusters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """It goes with its last cluster, so a clean-up finds nothing and succeeds; a slip of the pen can be seen."""
    assert main([*command, f"--root={tmp_path}/gone"]) == 0
    out, err = capsys.readouterr()
    assert f"there is no directory {tmp_path}/gone" in err
    assert "--json" not in command or out.strip() == "[]"


def test_a_wrong_version_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The option, the value and what is allowed, none of it twice."""
    assert main(["build", "--k8s-version=1.30"]) == 2
    assert capsys.readouterr().err.startswith("pytest-kubernix: --k8s-version=1.30: not supported; allowed are ")


def test_an_option_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Half an option is refused, as pytest refuses it: it may come to mean another one."""
    with pytest.raises(SystemExit):
        main(["up", "--node=2", "--dry-run"])
    assert "unrecognized arguments: --node=2" in capsys.readouterr().err
