"""What the tests of our own programs share: running them, and waiting for what shows from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

LIMIT = 20  # seconds; never reached by a test that passes


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until `condition` holds; fail with `what` when it never does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {LIMIT} s")
        time.sleep(0.01)


@contextlib.contextmanager
def running(command: Sequence[object], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed at the latest when the block ends."""
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run(command: Sequence[object], stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run to the end; gives exit code, standard output and standard error."""
    ended = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, timeout=LIMIT, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def accepts(host: str, port: int) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection((host, port), timeout=LIMIT).close()
    except OSError:
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    """What arrives until the other end says that it has sent all."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def children(pid: int) -> list[int]:
    """The children of a process, dead ones that were not reaped included."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def comm(pid: int) -> str:
    """The name of what a process executes."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_idle(pid: int) -> bool:
    """Whether the main thread of a process waits for something."""
    return "S (sleeping)" in Path(f"/proc/{pid}/status").read_text()
