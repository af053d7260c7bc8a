"""Real builds, of the small bundle: by several processes at once, killed, and on a full disk."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_kubernix.binaries import DEFAULT_VERSION, SUPPORTED, builder, bundles, find_executables
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.errors import ExecutablesError
from tests.integration.binaries_tools import wait_until

pytestmark = [pytest.mark.builds, pytest.mark.timeout(300)]

LIMIT = 120  # seconds; a cold Go cache takes about thirty
REPOSITORY = Path(__file__).parents[2]
BUILD = """
import sys
from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
say = lambda line: print(line, file=sys.stderr, flush=True)
print(builder.build(bundles.programs(), Cache(), say))
"""
# A Go that waits before it builds until the gate is opened, so that a test can act meanwhile.
GATED_GO = """#!/bin/sh
if [ "$1" = build ]; then
    echo $$ >> "{root}/builds"
    read line < "{root}/gate"
fi
exec "{go}" "$@"
"""


@dataclass
class Yard:
    """A cache of its own, a gated Go, and the processes that build there."""

    root: Path
    go: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user who builds here."""
        return {
            **os.environ, "KUBERNIX_CACHE": str(self.root / "cache"), "PYTHONPATH": str(REPOSITORY),
            "PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip

    @property
    def cache(self) -> Cache:
        """The cache that is built into."""
        return Cache(self.root / "cache")

    def start(self) -> subprocess.Popen[str]:
        """Start a process that builds the programs; its progress is in a file by its number."""
        with self.said(len(self.processes)).open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", BUILD],
                env=self.environment, stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def said(self, number: int) -> Path:
        """The file with the progress of one process."""
        return self.root / f"said-{number}"

    def builds(self) -> list[int]:
        """The process id of each `go build` that was ever started."""
        path = self.root / "builds"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def open_gate(self) -> None:
        """Let one waiting build go on."""
        with (self.root / "gate").open("w") as gate:
            gate.write("go\n")


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A place to build in; whatever runs there is ended after the test."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go on PATH to put a gate before")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "go"
    script.write_text(GATED_GO.format(root=tmp_path, go=go))
    script.chmod(0o755)
    os.mkfifo(tmp_path / "gate")
    place = Yard(tmp_path, go)
    try:
        yield place
    finally:
        for process in place.processes:
            process.kill()
            process.communicate()


def test_two_processes_build_once(yard: Yard) -> None:
    """Of two processes that need the same build one builds; the other says so, waits, and uses the result."""
    first = yard.start()
    wait_until(yard.builds, "the first build")
    second = yard.start()
    waiting = f"waiting for the build of programs 1 by pid {first.pid}\n"
    wait_until(lambda: waiting in yard.said(1).read_text(), "the second process to wait")
    yard.open_gate()
    outputs = [process.communicate(timeout=LIMIT)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert outputs[0] == outputs[1]
    assert Path(outputs[0].strip(), "test-server").is_file()
    assert len(yard.builds()) == 1


def test_waiting_process_builds_when_the_first_is_killed(yard: Yard) -> None:
    """When the building process is killed, the one that waits cleans up, builds, and succeeds."""
    first = yard.start()
    wait_until(yard.builds, "the first build")
    second = yard.start()
    wait_until(lambda: "waiting" in yard.said(1).read_text(), "the second process to wait")
    [left] = (yard.root / "cache" / "scratch").iterdir()
    first.kill()
    wait_until(lambda: len(yard.builds()) == 2, "the second build")
    assert not left.exists()
    yard.open_gate()
    directory = Path(second.communicate(timeout=LIMIT)[0].strip())
    assert second.returncode == 0
    assert directory == yard.cache.find(bundles.programs())


def test_killed_build_leaves_nothing_half_made(yard: Yard) -> None:
    """After SIGKILL in the middle Go is gone and nothing is published; the next build works and sweeps."""
    victim = yard.start()
    wait_until(yard.builds, "the build")
    victim.kill()
    victim.wait(LIMIT)
    [go] = yard.builds()
    wait_until(lambda: not Path(f"/proc/{go}").exists(), "the end of Go")
    assert list(yard.root.glob("cache/bundles/*")) == []
    assert yard.cache.find(bundles.programs()) is None

    following = yard.start()
    wait_until(lambda: len(yard.builds()) == 2, "the next build")
    yard.open_gate()
    directory = Path(following.communicate(timeout=LIMIT)[0].strip())
    assert following.returncode == 0
    assert sorted(path.name for path in directory.iterdir()) == [
        "bundle.json", "images", "pause", "relay", "test-server",
    ]  # fmt: skip
    assert list(yard.root.glob("cache/scratch/*")) == []


def test_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """Two builds in two places are equal byte for byte, executables and images."""
    directories = [builder.build(bundles.programs(), Cache(tmp_path / name)) for name in ("one", "two")]
    names = [*bundles.PROGRAMS, *bundles.IMAGES]
    contents = [[(directory / name).read_bytes() for name in names] for directory in directories]
    assert contents[0] == contents[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of a few MiB takes root")
def test_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    """When the real linker fills the disk, the error names the cache and what moves it; nothing is left."""
    script = """
import sys
from pathlib import Path
from dataclasses import replace
from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.errors import ExecutablesError
try:
    builder.build(replace(bundles.programs(), space=1 << 10), Cache())
except ExecutablesError as error:
    print(error)
print("left:", [str(p) for p in Path(sys.argv[1]).rglob("*") if p.is_file() and p.parent.name != "locks"])
"""
    mounted = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, script],
        env={**os.environ, "KUBERNIX_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    if "ermission denied" in ended.stderr or "not permitted" in ended.stderr:
        pytest.skip("this root may not mount")
    assert "no space left for the build of programs 1 in:" in ended.stdout, ended.stderr
    assert f"{tmp_path / 'cache'}: " in ended.stdout
    assert "KUBERNIX_CACHE moves it" in ended.stdout
    assert ended.stdout.endswith("left: []\n")


@pytest.mark.parametrize("version", SUPPORTED)
def test_executables_tell_their_version(version: str) -> None:
    """Every Kubernetes program says the version that it was asked for, and etcd the one of the table."""
    from pytest_kubernix.binaries.pins import KUBERNETES

    try:
        found = find_executables(version, nodes=False, build=False)
    except ExecutablesError:
        pytest.skip(f"{version} is not built here; `pytest-kubernix build --k8s-version {version}` builds it")
    for name in bundles.KUBERNETES:
        match name:
            case "kubectl":
                arguments, expected = ["version", "--client"], f"Client Version: v{version}"
            case "etcd":
                arguments, expected = ["--version"], f"etcd Version: {KUBERNETES[version]}"
            case _:
                arguments, expected = ["--version"], f"Kubernetes v{version}"
        told = subprocess.run([found[name], *arguments], capture_output=True, text=True, timeout=60, check=True)
        assert told.stdout.splitlines()[0] == expected


def test_kubectl_alone_is_translated() -> None:
    """kubectl speaks the language of its user; the other programs of its executable load no translations."""
    found = find_executables(DEFAULT_VERSION, nodes=False)
    german = {"PATH": os.defpath, "HOME": "/nonexistent", "LANG": "de_DE.UTF-8"}
    told = subprocess.run([found["kubectl"], "--help"], env=german, capture_output=True, text=True, check=True)
    assert "Starte ein bestimmtes Image auf dem Cluster" in told.stdout
    first = "k8s.io/kubectl/pkg/cmd/options"
    cost = {name: allocations(found[name], first) for name in ("kubectl", "kube-proxy")}
    # The first package that asks for a translation makes them all be loaded.
    assert cost["kubectl"] > 1000 > cost["kube-proxy"]


def allocations(program: Path, package: str) -> int:
    """How many times the initialisation of a package asks for memory."""
    told = subprocess.run(
        [program, "--help"], env={"GODEBUG": "inittrace=1"}, capture_output=True, text=True, timeout=60, check=True
    )
    found = re.search(rf"^init {re.escape(package)} .* (\d+) allocs$", told.stderr, re.MULTILINE)
    return int(found[1]) if found else 0
