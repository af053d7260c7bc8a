"""The tree of errors: what failed, why, the end of its log, and what to do next.
Imports nothing of ours, so that every room can raise them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence


class KubernixError(Exception):
    """Base of every error that this project raises on purpose.

    Args:
        message: What failed and why, one or more lines.
        hint: What the user can do next, or "".
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(KubernixError):
    """A value of the configuration is wrong.

    Args:
        field: The field of `ClusterConfig` that has the value.
        value: The value as it was given.
        allowed: What would have been accepted, as a phrase.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={value!s}: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, object, str]]:
        return (type(self), (self.field, self.value, self.allowed))


class ExecutablesError(KubernixError):
    """An executable is missing, can't be built, or is not what it should be."""


class DriverError(KubernixError):
    """A driver is unknown, or can't do what it is asked on this machine."""


class ComponentError(KubernixError):
    """One component failed to start, or died.

    Args:
        component: Name of the component, such as "kube-apiserver" or "kubelet (node-1)".
        reason: What happened, in a phrase: "exited with code 1 before it was ready".
        log_tail: The last lines of its log, or "".
        log: Path of the whole log, or "".
    """

    def __init__(self, component: str, reason: str, *, log_tail: str = "", log: str = "") -> None:
        self.component = component
        self.reason = reason
        self.log_tail = log_tail
        self.log = log
        lines = [f"{component}: {reason}"]
        if log_tail:
            lines += [f"  the end of its log ({log}):", *(f"    {line}" for line in log_tail.splitlines())]
        super().__init__("\n".join(lines))


class BootError(KubernixError):
    """A cluster did not come up. Every component that failed in the failing phase is named.

    Args:
        phase: The phase that failed, such as "ControlPlane".
        failures: One error per failed component.
        logs: Directory that keeps the logs of all components, or "".
    """

    def __init__(self, phase: str, failures: Sequence[KubernixError], *, logs: str = "") -> None:
        self.phase = phase
        self.failures = tuple(failures)
        self.logs = logs
        count = len(self.failures)
        head = f"the cluster did not boot: phase {phase} failed ({count} error{'s' if count != 1 else ''})"
        hint = f"The logs of all components are in {logs}" if logs else ""
        super().__init__("\n".join([head, *(str(failure) for failure in self.failures)]), hint=hint)


class ClusterGone(KubernixError):
    """The cluster, or the guardian that held it, is no longer there."""


class ImageError(KubernixError):
    """What was given as an image is none, or can't be found."""


class KubectlError(KubernixError):
    """kubectl exited with an error.

    Args:
        command: The argv that ran.
        returncode: Its exit code, or None when it was stopped because its time was up.
        stderr: What it wrote to standard error.
        stdout: What it wrote to standard output.
        message: What failed and why, for users; "" says just how it ended.
    """

    def __init__(
        self, command: Sequence[str], returncode: int | None, stderr: str, stdout: str = "", *, message: str = ""
    ) -> None:
        self.command = tuple(command)
        self.returncode = returncode
        self.stderr = stderr
        self.stdout = stdout
        how = "ran out of time" if returncode is None else f"exit code {returncode}"
        super().__init__(message or f"{' '.join(self.command)}: {how}\n{stderr.rstrip()}")

    def __reduce__(self) -> tuple[Callable[..., KubectlError], tuple[object, ...]]:
        again = functools.partial(KubectlError, message=self.message)
        return again, (self.command, self.returncode, self.stderr, self.stdout)


class NamespaceStuckWarning(UserWarning):
    """A test's namespace could not be removed; the text names what blocks it."""
