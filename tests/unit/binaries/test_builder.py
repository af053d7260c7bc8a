from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries import cache as caches
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.errors import ExecutablesError

LIMIT = 20  # seconds; never reached by a test that passes
REPOSITORY = Path(__file__).parents[3]


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until `condition` holds; fail with `what` when it never does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {LIMIT} s")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def leftovers(cache: Cache) -> list[str]:
    """Everything in the cache but its locks, which stay for ever."""
    return sorted(
        path.relative_to(cache.root).as_posix()
        for path in cache.root.rglob("*")
        if not path.is_dir() and "locks" not in path.parts
    )


def test_build_is_published_and_found_again(cache: Cache, bundle: Bundle, fake_go: Callable[[], int]) -> None:
    """What was built is in the cache, the second time without Go, and the scratch directory is gone."""
    directory = builder.build(bundle, cache)
    assert (directory / "tool").is_file()
    assert directory == builder.build(bundle, cache) == cache.find(bundle)
    assert fake_go() == 1
    assert list((cache.root / "scratch").iterdir()) == []


def test_links_are_made_beside_their_executable(cache: Cache, bundle: Bundle, fake_go: Callable[[], int]) -> None:
    """An executable of many names gets its links, relative, so that the cache may move."""
    linked = Bundle("tool", "1.0", (".",), ("tool",), links={"alias": "tool"}, space=1)
    assert (builder.build(linked, cache) / "alias").readlink() == Path("tool")


def test_progress_tells_time_and_packages(cache: Cache, bundle: Bundle, fake_go: Callable[[], int]) -> None:
    """While it builds it says what, how long about, how many packages; and in the end how long it took."""
    said: list[str] = []
    builder.build(bundle, cache, said.append)
    assert said[0] == "fetching Go modules for tool 1.0 (1 so far)"
    # Two of three packages are to be compiled, and all three would take six minutes.
    assert said[1] == "building tool 1.0 (about 4 min; 2 packages)"
    assert re.fullmatch(r"built tool 1\.0 in \d+ s", said[-1])


def test_an_interrupted_build_says_what_it_was(cache: Cache, bundle: Bundle, fake_go: Callable[[], int]) -> None:
    """Ctrl-C, or a test's time limit, ends with what ran so long and how to do it beforehand; nothing is left of it."""

    def interrupt(text: str) -> None:
        if text.startswith("building"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        builder.build(bundle, cache, interrupt)
    [note] = raised.value.__notes__
    assert re.match(r"interrupted after \d+ s: the build of tool 1\.0, .*: pytest-kubernix build$", note)
    assert leftovers(cache) in ([], [f"logs/{cache.log(bundle).name}"])


def test_failed_build_shows_the_end_of_its_log(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Go fails, the error has the end of its output and the path of the whole; nothing is published."""
    monkeypatch.setenv("FAKE_GO_BUILD", "seq 100; echo './main.go:3: undefined: foo' >&2; exit 2")
    with pytest.raises(ExecutablesError, match=r"the build of tool 1\.0 failed \(go 1\.99\.1, exit code 2\)") as caught:
        builder.build(bundle, cache)
    assert "undefined: foo" in caught.value.message
    assert "\n  10\n" not in caught.value.message
    assert cache.log(bundle).read_text().count("\n") > 100
    assert str(cache.log(bundle)) in caught.value.hint
    assert leftovers(cache) == [f"logs/{cache.log(bundle).name}"]


def test_modules_that_cannot_be_fetched_are_told_as_that(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a way to the modules the remedy is named: the variable that says where they come from."""
    monkeypatch.setenv("FAKE_GO_BUILD", "echo 'go: example.test/module: dial tcp: i/o timeout'; exit 1")
    with pytest.raises(ExecutablesError) as caught:
        builder.build(bundle, cache)
    assert "GOPROXY" in caught.value.hint


def test_build_that_makes_nothing_is_an_error(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that ends well but without the executable is not published."""
    monkeypatch.setenv("FAKE_GO_BUILD", "true")
    with pytest.raises(ExecutablesError, match=r"the build of tool 1\.0 made no tool"):
        builder.build(bundle, cache)
    assert cache.find(bundle) is None


def test_full_disk_told_by_go_is_a_clear_error(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Go runs out of space, the error names the directories, what is free, and what moves them."""
    monkeypatch.setenv("FAKE_GO_BUILD", "echo 'link: write a.out: no space left on device' >&2; exit 1")
    with pytest.raises(ExecutablesError, match="no space left for the build of tool") as caught:
        builder.build(bundle, cache)
    assert re.search(rf"{cache.root}: \d+ MiB free; KUBERNIX_CACHE moves it", caught.value.message)
    assert re.search(r"go-cache: \d+ MiB free; GOCACHE moves it", caught.value.message)
    assert "KUBERNIX_CACHE" in caught.value.hint
    assert leftovers(cache) == []


def test_sources_that_change_meanwhile_are_an_error(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was built of sources that are no longer there is not published under the digest of the new ones."""
    source = bundles.SOURCES / "tool" / "main.go"
    monkeypatch.setenv("FAKE_GO_BUILD", f"echo tool > $OUT/tool; echo '// changed' >> {source}")
    with pytest.raises(ExecutablesError, match=r"the sources of tool 1\.0 changed while it was built"):
        builder.build(bundle, cache)
    assert cache.find(bundle) is None


@pytest.mark.parametrize(("where", "name"), [(shutil, "copyfile"), (Cache, "publish")])
def test_full_disk_at_any_write_of_ours_is_the_same_error(
    cache: Cache,
    bundle: Bundle,
    fake_go: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    where: object,
    name: str,
) -> None:
    """When our own writing runs out of space, the error is as clear, and nothing is left behind."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, name, full)
    with pytest.raises(ExecutablesError, match="no space left for the build of tool"):
        builder.build(bundle, cache)
    assert leftovers(cache) == []


def test_too_little_space_is_told_before_anything_is_compiled(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the build can't fit, it is refused at once, with what it wants."""
    monkeypatch.setattr(caches, "free_space", lambda path: 0)
    with pytest.raises(ExecutablesError, match=r"no space left for the build of tool 1\.0, which wants about"):
        builder.build(bundle, cache)
    assert fake_go() == 0
    assert [name for name in leftovers(cache) if not name.startswith("logs/")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of a few KiB takes root")
def test_really_full_disk(bundle: Bundle, fake_go: Callable[[], int], tmp_path: Path) -> None:
    """On a file system that fills up while Go writes, the error is clear and only locks are left."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
from dataclasses import replace
from pathlib import Path
from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
from pytest_kubernix.errors import ExecutablesError
bundles.SOURCES = Path({str(bundles.SOURCES)!r})
try:
    builder.build(bundles.Bundle("tool", "1.0", (".",), ("tool",), space=1 << 10), Cache())
except ExecutablesError as error:
    print(error)
print("left:", [str(p) for p in Path({str(disk)!r}).rglob("*") if p.is_file() and p.parent.name != "locks"])
"""
    mounted = 'mount -t tmpfs -o size=64k tmpfs $1 && shift && exec "$@"'
    environment = {
        **os.environ, "KUBERNIX_CACHE": str(disk / "cache"), "PYTHONPATH": str(REPOSITORY),
        "FAKE_GO_BUILD": "dd if=/dev/zero of=$OUT/tool bs=4k count=100 || exit 1",
    }  # fmt: skip
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", str(disk), sys.executable, "-c", script],
        env=environment, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    if "Operation not permitted" in ended.stderr:
        pytest.skip("this root may not mount")
    assert "no space left for the build of tool 1.0 in:" in ended.stdout, ended.stderr
    assert ended.stdout.endswith("left: []\n")


def test_interrupt_takes_go_and_its_children_along(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C while building ends Go and whatever it started, and leaves nothing half-made."""
    monkeypatch.setenv("FAKE_GO_BUILD", f"sleep 60 & echo $$ $! > {tmp_path}/pids; echo example.test/one; wait")
    pids: list[int] = []

    def interrupt(line: str) -> None:
        if "1 of 2" in line:
            pids.extend(int(pid) for pid in (tmp_path / "pids").read_text().split())
            raise KeyboardInterrupt

    monkeypatch.setattr(builder._Build, "_say", lambda self, text, at_once=False: interrupt(text))
    with pytest.raises(KeyboardInterrupt):
        builder.build(bundle, cache)
    assert len(pids) == 2
    wait_until(lambda: not any(is_alive(pid) for pid in pids), "the end of what Go started")
    assert [name for name in leftovers(cache) if not name.startswith("logs/")] == []


def test_killed_builder_takes_go_along_and_the_next_build_cleans_up(
    cache: Cache, bundle: Bundle, fake_go: Callable[[], int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After SIGKILL no Go runs on, nothing is published, and the next build sweeps and succeeds."""
    pids = tmp_path / "pids"
    monkeypatch.setenv("FAKE_GO_BUILD", f"sleep 60 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")
    with start(["builder.build(bundle, Cache())"]) as victim:
        wait_until(pids.exists, "the start of the build")
        go, compiler = (int(pid) for pid in pids.read_text().split())
        assert is_alive(go)
        [scratch] = (cache.root / "scratch").iterdir()
        victim.send_signal(signal.SIGKILL)
        victim.wait(LIMIT)
        wait_until(lambda: not is_alive(go), "the end of Go")
    # What Go itself started lives on for a while, and till then the lock is taken.
    assert is_alive(compiler)
    assert not cache._is_free(scratch.name.rpartition(".")[0])
    os.kill(compiler, signal.SIGKILL)
    assert cache.find(bundle) is None
    assert scratch.exists()
    monkeypatch.setenv("FAKE_GO_BUILD", "echo tool > $OUT/tool")
    assert builder.build(bundle, cache) == cache.find(bundle)
    assert list((cache.root / "scratch").iterdir()) == []


def start(lines: Sequence[str]) -> subprocess.Popen[bytes]:
    """Run lines of Python in a process of their own, with the `bundle` of the tests."""
    script = "\n".join([
        "from pathlib import Path",
        "from pytest_kubernix.binaries import builder, bundles",
        "from pytest_kubernix.binaries.cache import Cache",
        f"bundles.SOURCES = Path({str(bundles.SOURCES)!r})",
        "bundle = bundles.Bundle('tool', '1.0', ('.',), ('tool',), minutes=6, space=1 << 20)",
        *lines,
    ])  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
