from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kubernix.errors import ConfigError
from pytest_kubernix.guardian.rundir import leave_root, make_run_dir, run_dirs
from pytest_kubernix.layout import MAX_SOCKET_PATH


def test_run_directories_are_private_and_never_shared(tmp_path: Path) -> None:
    """Each cluster has a directory of its own that no other user can look into."""
    made = [make_run_dir(tmp_path / "root") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in made)
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700


def test_a_root_too_long_for_sockets_says_by_how_much(tmp_path: Path) -> None:
    """A run directory whose sockets would pass the kernel's limit is refused, and one a little shorter is not."""
    longest = MAX_SOCKET_PATH - len("/abcd1234/etcd-peer.sock")
    base = tmp_path / "x"
    fitting = Path(str(base) + "x" * (longest - len(str(base))))
    with pytest.raises(ConfigError, match=rf"root=.*{MAX_SOCKET_PATH + 1} bytes long.*at least 1 byte shorter"):
        make_run_dir(Path(f"{fitting}x"))
    assert not Path(f"{fitting}x").exists()
    make_run_dir(fitting)


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "a\\b", "a$b", "a?b", "a#b", "a%b", "a:b", "a;b", "ä", "a\nb"])
def test_a_root_that_programs_would_misread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A letter that shells, URLs or search paths take for something else is named, and so is the way out."""
    with pytest.raises(ConfigError, match=r"(?s)^root=.* in it; allowed are letters and digits of ASCII, and") as told:
        make_run_dir(tmp_path / name)
    assert ascii(next(letter for letter in name if letter not in "abits")) in str(told.value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with pytest.raises(ConfigError, match="TMPDIR names the directory that it is in, and --kubernix-root another one"):
        make_run_dir(None)
    assert list(tmp_path.iterdir()) == []


def test_a_default_root_that_is_too_long_says_what_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has set no root is told which variable and which option decide."""
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 90)
    with pytest.raises(ConfigError, match=r"bytes? shorter; TMPDIR names .*, and --kubernix-root another one"):
        make_run_dir(None)


def test_a_root_that_goes_meanwhile_is_made_again(tmp_path: Path) -> None:
    """Clusters that come while the last one leaves, and takes the root along, find or make it."""
    root = tmp_path / "root"

    def come_and_go(_: int) -> None:
        for _ in range(30):
            make_run_dir(root).rmdir()
            leave_root(root)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """A root that can't hold directories is an error that says what is allowed."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="allowed is a directory that you can write to"):
        make_run_dir(tmp_path / "file")


def test_a_shared_run_directory_is_met_in(tmp_path: Path) -> None:
    """Every process that asks for the directory of one shared cluster gets the same one."""
    assert make_run_dir(tmp_path, "abcd1234") == make_run_dir(tmp_path, "abcd1234") == tmp_path / "abcd1234"


def test_only_directories_of_clusters_are_listed(tmp_path: Path) -> None:
    """Files, links and directories with other names are not taken for clusters."""
    cluster = make_run_dir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "abcdef12").touch()
    (tmp_path / "aaaaaaaa").symlink_to(cluster)
    assert run_dirs(tmp_path) == [cluster]
    assert run_dirs(tmp_path / "missing") == []


def test_only_a_root_that_was_made_for_clusters_goes_with_the_last(tmp_path: Path) -> None:
    """The last cluster takes the root along that the first one made; a directory of the user's stays."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    for root in (theirs, ours):
        first, second = make_run_dir(root), make_run_dir(root)
        first.rmdir()
        leave_root(root)
        assert second.exists()
        second.rmdir()
        leave_root(root)
    assert theirs.exists()
    assert not ours.exists()


def test_what_others_could_write_to_is_not_met_in(tmp_path: Path) -> None:
    """In a root that others write to, the user who made the directory first would decide what we run."""
    (tmp_path / "00000000").mkdir(mode=0o700)
    (tmp_path / "00000001").symlink_to("00000000")
    assert make_run_dir(tmp_path, "00000001") == tmp_path / "00000000"
    (tmp_path / "00000002").mkdir()
    (tmp_path / "00000002").chmod(0o770)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "00000003").symlink_to("elsewhere")
    (tmp_path / "00000004").symlink_to(tmp_path / "00000000")
    refused = ["00000002", "00000003", "00000004"]
    if os.getuid() == 0:
        (tmp_path / "00000005").mkdir(mode=0o700)
        (tmp_path / "00000006").symlink_to("00000000")
        for name in ("00000005", "00000006"):
            os.chown(tmp_path / name, 65534, 65534, follow_symlinks=False)
        refused += ["00000005", "00000006"]
    for name in refused:
        with pytest.raises(ConfigError, match=rf"{name} in it .* is not this user's alone; allowed is"):
            make_run_dir(tmp_path, name)
