"""Runs a command as a user without any right, with this checkout's Python and executables all the same."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from pytest_kubernix.binaries.cache import Cache


def unprivileged(
    directory: Path, *command: str, user: int = 65534, home: bool = True, keeps_root: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without any right, who may read what this one's Python and executables need.

    Both may be in a home that is closed to others. In a mount namespace of its own, the command sees an
    open one in its place, with these two alone in it.

    Args:
        directory: For scratch files, and the user's home.
        command: What to run.
        user: Which user; one without an entry in the list of users has no home but that of its environment.
        home: Whether the environment names one.
        keeps_root: Whether to stay root, without any capability, as in a container.
    """
    needed = {Path(sys.base_prefix), Path(sys.prefix), Cache().root, Path(__file__).parent.parent.parent}
    lines = ["set -e", "mount --make-rprivate /"]
    scratch = directory / "scratch"
    closed: dict[Path, list[Path]] = {}
    for path in sorted(needed):
        barrier = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if barrier:
            closed.setdefault(barrier[0], []).append(path)
    for number, (barred, paths) in enumerate(closed.items()):
        for index, path in enumerate(paths):
            place = scratch / f"{number}-{index}"
            place.mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {path} {place}")
        lines.append(f"mount -t tmpfs -o mode=0755 none {barred}")
        for index, path in enumerate(paths):
            lines.append(f"mkdir -p {path} && mount --move {scratch / f'{number}-{index}'} {path}")
    who = "" if keeps_root else f"--reuid={user} --regid={user} --clear-groups"
    right = f"setpriv {who} --inh-caps=-all --bounding-set=-all"
    lines.append(f"exec {right} {shlex.join(command)}")
    own = directory / "home"
    own.mkdir(exist_ok=True)
    if not keeps_root:
        os.chown(own, user, user)
    environment = {
        "PATH": os.environ["PATH"],
        **({"HOME": str(own)} if home else {}),
        "TMPDIR": str(own),
        "KUBERNIX_CACHE": str(Cache().root),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", "\n".join(lines)],
        env=environment, cwd=own, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
