from __future__ import annotations

import os
import queue
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kubernix.binaries import bundles
from pytest_kubernix.binaries.bundles import Bundle
from pytest_kubernix.binaries.cache import Cache, free_space
from pytest_kubernix.errors import ExecutablesError

LIMIT = 20  # seconds; never reached by a test that passes


def ignore(_: str) -> None:
    """A progress callback."""


def publish(cache: Cache, bundle: Bundle, go: str = "1.26") -> Path:
    """Publish a small file and a link as what `bundle` builds."""
    with cache.lock(bundle, ignore):
        made = cache.scratch(bundle) / "made"
        made.mkdir()
        (made / "tool").write_text("tool")
        (made / "alias").symlink_to("tool")
        return cache.publish(bundle, made, go=go, facts={})


def test_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """KUBERNIX_CACHE is the cache; without it, it is the user's cache directory of this project."""
    assert Cache().root == tmp_path / "cache"
    monkeypatch.setenv("KUBERNIX_CACHE", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache().root == tmp_path / "elsewhere"
    monkeypatch.delenv("KUBERNIX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().root == tmp_path / "xdg" / "pytest-kubernix"


def test_what_is_published_is_found(cache: Cache, bundle: Bundle) -> None:
    """A published bundle is found by version and sources, and by nothing else."""
    assert cache.find(bundle) is None
    directory = publish(cache, bundle)
    assert cache.find(bundle) == directory
    assert cache.find(replace(bundle, tags=("other",))) is None
    (bundles.SOURCES / "tool" / "main.go").write_text("package other\n")
    assert cache.find(bundle) is None


def test_newest_go_wins_but_any_serves(cache: Cache, bundle: Bundle) -> None:
    """Builds by several Go versions lie side by side, and the newest is taken, by number, not as text."""
    old = publish(cache, bundle, go="1.9")
    assert cache.find(bundle) == old
    assert cache.find(bundle) != publish(cache, bundle, go="1.10") == cache.find(bundle)


@pytest.mark.parametrize("damage", ["cut", "removed", "no manifest", "manifest cut"])
def test_damaged_bundle_is_not_served_but_replaced(cache: Cache, bundle: Bundle, damage: str) -> None:
    """A bundle that lost bytes or files later counts as absent, and can be published again."""
    directory = publish(cache, bundle)
    match damage:
        case "cut":
            (directory / "tool").write_text("t")
        case "removed":
            (directory / "alias").unlink()
        case "no manifest":
            (directory / "bundle.json").unlink()
        case _:
            (directory / "bundle.json").write_text('{"files"')
    assert cache.find(bundle) is None
    assert publish(cache, bundle) == directory == cache.find(bundle)


def test_second_builder_waits_and_says_for_whom(cache: Cache, bundle: Bundle) -> None:
    """Who wants the same build waits for the lock, names the process that has it, and then gets it."""
    said: queue.Queue[str] = queue.Queue()
    entered = threading.Event()

    def second() -> None:
        with Cache().lock(bundle, said.put):
            entered.set()

    waiting = threading.Thread(target=second, daemon=True)
    with cache.lock(bundle, ignore):
        waiting.start()
        assert said.get(timeout=LIMIT) == f"waiting for the build of tool 1.0 by pid {os.getpid()}"
        assert not entered.wait(0.2)  # Nothing shows that a thread stays blocked but some time.
    assert entered.wait(LIMIT)
    waiting.join(LIMIT)


def test_other_builds_need_not_wait(cache: Cache, bundle: Bundle) -> None:
    """Locks of different bundles, or of the same one from different sources, don't block each other."""
    with cache.lock(bundle, ignore), cache.lock(replace(bundle, tags=("other",)), pytest.fail):
        pass


def test_lock_files_stay(cache: Cache, bundle: Bundle) -> None:
    """The lock file is never removed, since a waiter on a removed file would share its build with no one."""
    for _ in range(2):
        with cache.lock(bundle, ignore):
            inode = {path.stat().st_ino for path in cache.root.glob("locks/*.lock")}
    assert {path.stat().st_ino for path in cache.root.glob("locks/*.lock")} == inode


def test_lock_lasts_as_long_as_its_last_holder(cache: Cache, bundle: Bundle) -> None:
    """While a process of a dead build lives, the lock is taken: its scratch directory is not swept."""
    with cache.lock(bundle, ignore) as descriptor:
        left = cache.scratch(bundle)
        inherited = os.dup(descriptor)
    other = replace(bundle, tags=("other",))
    try:
        with cache.lock(other, ignore):
            assert cache.sweep(other) == []
    finally:
        os.close(inherited)
    with cache.lock(other, ignore):
        assert cache.sweep(other) == [left]


def test_sweep_removes_what_dead_builds_left(cache: Cache, bundle: Bundle) -> None:
    """The next build removes scratch directories of its own bundle and of others that are not being built."""
    other, busy = replace(bundle, tags=("other",)), replace(bundle, tags=("busy",))
    left = [cache.scratch(bundle), cache.scratch(other)]
    (left[0] / "made").mkdir()
    with cache.lock(busy, ignore), cache.lock(bundle, ignore):
        alive = cache.scratch(busy)
        assert sorted(cache.sweep(bundle)) == sorted(left)
        assert alive.is_dir()
    assert not any(path.exists() for path in left)


def test_sweep_leaves_alone_what_another_user_builds(
    cache: Cache, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scratch directory whose lock this user may not even open stays, and the build goes on."""
    theirs = cache.scratch(replace(bundle, tags=("theirs",)))
    with cache.lock(bundle, ignore):

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patched:
            patched.setattr("pytest_kubernix.binaries.cache.os.open", refuse)
            swept = cache.sweep(bundle)
    assert swept == []
    assert theirs.is_dir()


def test_cache_that_cannot_be_written_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache directory that can't be made is an error with its path and the variable that moves it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KUBERNIX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ExecutablesError, match="can't be written") as caught, Cache().lock(bundle, ignore):
        pass
    assert str(tmp_path / "file" / "cache") in caught.value.message
    assert "KUBERNIX_CACHE" in caught.value.hint


def test_free_space_of_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    """Free space is that of the nearest directory that exists."""
    assert free_space(tmp_path / "a" / "b") > 0
