"""Run directories: made private and short enough for sockets, found again, and gone with the last cluster.
What is in one of them, `layout.py` names."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from ..errors import ConfigError
from ..layout import ID_DIGITS, default_root, problem_with

# Says of a root directory that it was made for run directories, and may go with the last of them.
MADE_FOR_US = ".pytest-kubernix"

# A root that goes again and again is told at last.
MOST_TRIES = 1000
CLUSTER_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")


def make_run_dir(root: Path | None, cluster_id: str = "") -> Path:
    """Make the run directory of a cluster.

    Args:
        root: Directory that holds run directories; None is the default.
        cluster_id: Id of a cluster that is shared, whose directory may be there already; "" makes a new one.

    Returns:
        Its directory, mode 0700, named by the cluster's id.

    Raises:
        ConfigError: The directory is not ours, can't be written to, or its path is too long for sockets.
    """
    chosen = root is not None
    root = (root or default_root()).absolute()
    if problem := problem_with(root):
        # The default is below the directory for temporary files, which only the environment names.
        way_out = "" if chosen else "; TMPDIR names the directory that it is in, and --kubernix-root another one"
        raise ConfigError("root", root, problem + way_out)
    try:
        for _ in range(MOST_TRIES):
            # The last cluster that leaves takes its directory and the root along, at any moment.
            with contextlib.suppress(FileNotFoundError):
                return _make_in(root, cluster_id, chosen=chosen)
        return _make_in(root, cluster_id, chosen=chosen)
    except OSError as error:
        raise ConfigError(
            "root", root, f"allowed is a directory that you can write to ({error.strerror}: {error.filename})"
        ) from error


def _make_in(root: Path, cluster_id: str, *, chosen: bool) -> Path:
    _make_root(root)
    owner = root.lstat().st_uid
    # The owner of a directory can swap what we write there.
    if not chosen and (owner != os.getuid() or root.is_symlink()):
        raise ConfigError("root", root, f"belongs to user {owner}; allowed is a directory that only you can write to")
    while True:
        run_dir = root / (cluster_id or secrets.token_hex(ID_DIGITS // 2))
        try:
            run_dir.mkdir(mode=0o700, exist_ok=bool(cluster_id))
        except FileExistsError:
            # Or it is the alias of a spare that has ended.
            _remove_aliases(root)
            continue
        return _mine(root, run_dir)


def _mine(root: Path, run_dir: Path) -> Path:
    """A run directory that was there already, perhaps by an alias; in a root that others write to, it may be theirs.

    Raises:
        ConfigError: It is, or they could write to it: they would decide what we run.
    """
    status = run_dir.lstat()
    if stat.S_ISLNK(status.st_mode) and status.st_uid == os.getuid():
        target = run_dir.readlink()
        if CLUSTER_ID.fullmatch(str(target)):
            run_dir = root / target
            status = run_dir.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        kind = f"mode {stat.filemode(status.st_mode)}, of user {status.st_uid}"
        raise ConfigError(
            "root", root, f"{run_dir.name} in it ({kind}) is not this user's alone; allowed is a private directory"
        )
    return run_dir


def _make_root(root: Path) -> None:
    try:
        root.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        # If it has gone in between, this raises that, and the caller tries again.
        if not stat.S_ISDIR(root.stat().st_mode):
            raise
    else:
        (root / MADE_FOR_US).touch()


def leave_root(root: Path) -> None:
    """Remove a root directory that was made for run directories and has none left; any other stays."""
    marker = root / MADE_FOR_US
    with contextlib.suppress(OSError):
        _remove_aliases(root)
        ours = marker.exists() or root == default_root()
        if ours and {path.name for path in root.iterdir()} <= {MADE_FOR_US}:
            marker.unlink(missing_ok=True)
            try:
                root.rmdir()
            except OSError:
                # Another cluster came in between; the last one to leave does it.
                marker.touch()


def alias(root: Path | None, cluster_id: str, run_dir: Path) -> bool:
    """Let processes that look for one id find a cluster that has another; whether the id was free."""
    try:
        ((root or default_root()).absolute() / cluster_id).symlink_to(run_dir.name)
    except FileExistsError:
        return False
    return True


def _remove_aliases(root: Path) -> None:
    """Remove those that lead nowhere any more."""
    for path in root.iterdir():
        if CLUSTER_ID.fullmatch(path.name) and path.is_symlink() and not path.exists():
            path.unlink(missing_ok=True)


def run_dirs(root: Path) -> list[Path]:
    """The run directories of this user below a root; what is not named like one, or is a link, is not ours."""
    try:
        entries = sorted(root.iterdir())
    except OSError:
        return []
    return [path for path in entries if CLUSTER_ID.fullmatch(path.name) and _is_mine(path)]


def _is_mine(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        # It went while we looked.
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
