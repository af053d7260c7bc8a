"""The script of CONTRIBUTING that pins a version, run for one that is pinned: the same modules come of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kubernix.binaries.bundles import SOURCES
from pytest_kubernix.binaries.pins import DEFAULT_VERSION

pytestmark = [pytest.mark.builds, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
PIN = """
import sys
from pathlib import Path

sys.path.insert(0, "scripts")
import pin_kubernetes

pin_kubernetes.pin(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
"""


def required(go_mod: str) -> set[str]:
    """Every module that a go.mod names, with its version or what replaces it; whether directly is Go's affair."""
    lines = {line.removesuffix("// indirect").strip() for line in go_mod.splitlines()}
    return {line for line in lines if re.search(r"\sv\d", line)}


@pytest.mark.parametrize(("bundle", "version"), [("kubernetes", DEFAULT_VERSION), ("coredns", "1.14.7")])
def test_pinning_again_gives_the_same(tmp_path: Path, bundle: str, version: str) -> None:
    """A maintainer who pins a version gets what is committed: every module of the build, and every sum."""
    subprocess.run([sys.executable, "-c", PIN, bundle, version, str(tmp_path)], cwd=REPOSITORY, check=True)
    committed = SOURCES / bundle / "pins" / version
    made, there = ((folder / "go.mod.pin").read_text() for folder in (tmp_path, committed))
    assert required(made) == required(there)
    assert (tmp_path / "go.sum.pin").read_text() == (committed / "go.sum.pin").read_text()
