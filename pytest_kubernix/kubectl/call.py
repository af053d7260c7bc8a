"""One run of kubectl: the child process, its environment and end, and the words of its failure.
Every `KubectlError` is made here, so that all of them read alike."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import KubectlError

# What the wrapper adds to every command: true, and of no interest to who reads a failure.
_PLUMBING = ("--kubeconfig=", "--cache-dir=")

# How much of a command the first line of a failure holds; all of it stands below.
_SHORT_WORDS, _SHORT_LENGTH = 3, 60


@dataclass(frozen=True)
class KubectlResult:
    """What one run of kubectl gave.

    Attributes:
        command: The argv that ran.
        returncode: Its exit code.
        stdout: What it wrote to standard output, read as UTF-8; nothing is translated, and what is no UTF-8 is kept as
            `str.encode(errors="surrogateescape")` understands it.
        stderr: What it wrote to standard error, read alike.
        stdout_bytes: What it wrote to standard output, as it was.
    """

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    stdout_bytes: bytes = field(default=b"", repr=False)


def run(
    command: Sequence[str], *, stdin: str | bytes | None, limit: float, variables: Mapping[str, str] | None = None
) -> KubectlResult:
    """Run kubectl to its end, whatever its exit code.

    Args:
        command: The argv.
        stdin: Text or bytes for its standard input.
        variables: Of its environment, beside the usual ones.
        limit: Seconds that it may take.

    Raises:
        KubectlError: Its time was up.
        ValueError: An argument is longer than the system takes.
    """
    __tracebackhide__ = True
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment(), **(variables or {})},
            # A group of its own, so that ending it ends the plugins that it may have started.
            start_new_session=True,
        )
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        longest = max(len(os.fsencode(word)) for word in command)
        raise ValueError(
            f"kubectl: an argument of {longest} bytes is more than the system takes: "
            "allowed is to give it as standard input (stdin=), or as a file"
        ) from None
    with started as process:
        try:
            given = stdin.encode(errors="surrogateescape") if isinstance(stdin, str) else stdin
            stdout, stderr = process.communicate(given, timeout=limit)
        except subprocess.TimeoutExpired:
            end(process)
            stdout, stderr = process.communicate()
            how = f"ran out of time, stopped after {limit:g} s"
            raise failure(command, None, _text(stderr), _text(stdout), how=how) from None
        except BaseException:
            end(process)
            raise
    return KubectlResult(tuple(command), process.returncode, _text(stdout), _text(stderr), stdout)


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def seconds(value: object) -> float:
    """A limit as a number; kubectl's own way to write it ("2s") is not understood here.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"timeout={value!r}: allowed is a number of seconds")
    return float(value)


def end(process: subprocess.Popen[Any]) -> None:
    """End a child and its whole process group at once, and reap it. kubectl has nothing to tidy up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment() -> dict[str, str]:
    """What kubectl gets: the environment of the tests, without what would change its behaviour."""
    variables = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    # A user's own defaults and aliases (~/.kube/kuberc) would make tests pass on one machine only.
    variables["KUBERC"] = "off"
    variables["KUBECTL_KUBERC"] = "false"
    return variables


def failure(
    command: Sequence[str],
    returncode: int | None,
    stderr: str,
    stdout: str = "",
    *,
    how: str = "",
    details: str = "",
) -> KubectlError:
    """The error of one run. Its first line has the reason; the exception keeps the command as it ran.

    Args:
        command: The argv that ran.
        returncode: Its exit code, or None when it was stopped.
        stderr: What it wrote to standard error.
        stdout: What it wrote to standard output.
        how: How it failed, if the exit code does not say it.
        details: Lines to add below.
    """
    shown, short = _spelled(command)
    lines = [line for line in stderr.splitlines() if line.strip()]
    reason = _reason(lines)
    head = ": ".join(part for part in (short, how or f"exit code {returncode}", reason.strip()) if part)
    # What the first line says already is not said twice.
    rest = lines[1:] if lines and lines[0] == reason else lines
    rest += [f"command: {shown}"] if shown != short else []
    text = "\n".join([head, *rest, *details.splitlines()])
    # A report must be printable, whatever bytes a container wrote.
    readable = text.encode(errors="backslashreplace").decode()
    return KubectlError(command, returncode, stderr, stdout, message=readable)


def _spelled(command: Sequence[str]) -> tuple[str, str]:
    """A command as one would type it: in full, and short."""
    arguments = list(command[1:])
    while arguments and arguments[0].startswith(_PLUMBING):
        del arguments[0]
    words = []
    for argument in arguments:
        if argument == "--":
            break
        if not argument.startswith("-"):
            words.append(shlex.quote(argument))
    short = " ".join(["kubectl", *words[:_SHORT_WORDS]])[:_SHORT_LENGTH]
    full = shlex.join(["kubectl", *arguments])
    return full, short if short == full else f"{short} …"


def _reason(lines: Sequence[str]) -> str:
    """The line that says why: kubectl's own verdict, or else the first that is no mere warning."""
    errors = [line for line in lines if line.startswith(("error:", "Error from server", "Unable to connect"))]
    others = [line for line in lines if not line.startswith(("Warning:", "E0", "E1", "W0", "W1", "I0", "I1"))]
    return next(iter([*errors, *others, *lines]), "")
