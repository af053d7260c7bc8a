"""`kubectl port-forward` as a context manager: started, known to listen, and ended whatever happens.
Apart from the other commands because it goes on while the test does."""

from __future__ import annotations

import queue
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import IO

from .call import end, environment, failure

# kubectl prints this once its socket listens; which port it took is told nowhere else.
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")

# Seconds in which kubectl may still complain after the block of a forward failed.
LAST_WORDS = 0.5


class Forward(AbstractContextManager[int]):
    """One port-forward: it begins with the block, which gets the local port, and ends with it.

    A class and not a generator: a failure's traceback should end in the test, and not inside contextlib.

    Args:
        command: The argv, which asks for one port on 127.0.0.1.
        timeout: Limit in seconds until it listens.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._command = command
        self._timeout = timeout

    def __enter__(self) -> int:
        """Start it, and wait until it listens.

        Raises:
            KubectlError: It ended before it listened, or its time was up (`returncode` is None).
        """
        __tracebackhide__ = True
        # A file takes whatever it complains about: a pipe that is not read would stop it one day.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                errors="replace",
                env=environment(),
                start_new_session=True,
            )
        except BaseException:
            self._errors.close()
            raise
        assert self._process.stdout is not None
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=_drain, args=(self._process.stdout, lines), daemon=True)
        self._reader.start()
        try:
            return self._local_port(lines)
        except BaseException:
            self._stop()
            raise

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        __tracebackhide__ = True
        if isinstance(error, Exception) and not isinstance(error, AssertionError):
            self._hear_out()
        if error and (said := self._complaints()):
            # A pod that was replaced is only a closed connection to the client of the port.
            error.add_note(f"kubectl port-forward said:\n{said}")
        self._stop()

    def _local_port(self, lines: queue.SimpleQueue[str | None]) -> int:
        __tracebackhide__ = True
        try:
            # The first line is the one that counts; there is another for each later connection.
            line = lines.get(timeout=self._timeout)
        except queue.Empty:
            how = f"did not listen within {self._timeout:g} s"
            raise failure(self._command, None, self._complaints(), how=how) from None
        found = _LISTENS.search(line or "")
        if found is None:
            returncode = self._process.wait() if line is None else None
            how = "" if line is None else "did not say on which port it listens"
            raise failure(self._command, returncode, self._complaints(), line or "", how=how)
        return int(found.group(1))

    def _hear_out(self) -> None:
        """Give kubectl a moment: a connection ends before kubectl says why it ended it."""
        deadline = time.monotonic() + LAST_WORDS
        while not self._complaints() and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def _complaints(self) -> str:
        self._errors.seek(0)
        return self._errors.read().rstrip()

    def _stop(self) -> None:
        end(self._process)
        # Its end of the pipe is closed now, so the reader comes to its end too.
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def _drain(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    """Read until the end, so that the child is never held up; None marks the end."""
    for line in stream:
        lines.put(line)
    lines.put(None)
