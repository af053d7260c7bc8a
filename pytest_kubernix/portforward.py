"""`kubectl port-forward` as a context manager: started, known to listen, and ended whatever happens.
Apart from `kubectl.py` because it is the one command that goes on while the test does."""

from __future__ import annotations

import contextlib
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from .errors import KubectlError

# kubectl prints this once its socket listens; which port it took is told nowhere else.
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@contextlib.contextmanager
def forward(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> Iterator[int]:
    """Run one port-forward.

    Args:
        command: The argv, which asks for one port on 127.0.0.1.
        environment: Its environment.
        timeout: Limit in seconds until it listens.

    Yields:
        The local port.

    Raises:
        KubectlError: It ended before it listened, or its time was up (`returncode` is None).
    """
    from .kubectl import end

    # A file takes whatever it complains about: a pipe that nobody reads would stop it one day.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert process.stdout is not None
        reader = threading.Thread(target=_drain, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            yield _local_port(process, lines, errors, command, timeout)
        finally:
            end(process)
            # Its end of the pipe is closed now, so the reader comes to its end too.
            reader.join()
            process.stdout.close()


def _drain(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Read until the end, so that the child is never held up; None marks the end."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _local_port(
    process: subprocess.Popen[str],
    lines: queue.SimpleQueue[str | None],
    errors: IO[str],
    command: Sequence[str],
    timeout: float,
) -> int:
    try:
        # The first line is the one that counts; there is another for each later connection.
        line = lines.get(timeout=timeout)
    except queue.Empty:
        raise KubectlError(command, None, f"{_text(errors)}\ndid not listen within {timeout:g} s".lstrip()) from None
    found = _LISTENS.search(line or "")
    if found is None:
        returncode = process.wait() if line is None else None
        raise KubectlError(command, returncode, _text(errors), line or "")
    return int(found.group(1))


def _text(errors: IO[str]) -> str:
    errors.seek(0)
    return errors.read().rstrip()
