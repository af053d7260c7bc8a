"""The wheel that users install: it has all that a build needs, and works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.builds, pytest.mark.timeout(180)]

REPOSITORY = Path(__file__).parents[2]
USE = """
import pytest_kubernix
from pytest_kubernix.binaries import SUPPORTED
from pytest_kubernix.binaries.bundles import bundles

assert pytest_kubernix.__file__.startswith({place!r})
for version in SUPPORTED:
    for bundle in bundles(version, nodes=True):
        bundle.digest()
print(pytest_kubernix.ClusterConfig(k8s_version=SUPPORTED[0]).digest())
"""


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    """Every module, the types' mark, the Go sources and every pin are in it, and nothing of the tests is."""
    wheel_dir = tmp_path / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(wheel_dir), str(REPOSITORY)]
    subprocess.run(command, check=True)
    (wheel,) = wheel_dir.iterdir()
    place = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        opened.extractall(place)
    package = REPOSITORY / "pytest_kubernix"
    wanted = {
        path.relative_to(REPOSITORY).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - names == set()
    assert not [name for name in names if name.startswith(("tests/", "examples/", "conftest"))]
    code = USE.format(place=str(place))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(place)}, check=True)
