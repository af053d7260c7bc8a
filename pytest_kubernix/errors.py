"""The tree of errors: what failed, why, the end of its log, and what to do next.
Imports nothing of ours, so that every room can raise them; each survives pickling and the control socket whole."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class KubernixError(Exception):
    """Base of every error that this project raises on purpose.

    A subclass with arguments of its own names them in `fields`, and keeps each as an attribute of that name.

    Args:
        message: What failed and why, one or more lines.
        hint: What the user can do next, or "".
    """

    fields: ClassVar[tuple[str, ...]] = ("message", "hint")

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), {name: getattr(self, name) for name in self.fields}, _notes(self))


class ConfigError(KubernixError):
    """A value of the configuration is wrong.

    Args:
        field: The field of `ClusterConfig` that has the value.
        value: The value as it was given.
        allowed: What would have been accepted, as a phrase.
    """

    fields = ("field", "value", "allowed")

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}={value!s}: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class ExecutablesError(KubernixError):
    """An executable is missing, can't be built, or is not what it should be."""


class DriverError(KubernixError):
    """A driver is unknown, or can't do what it is asked on this machine."""


class ComponentError(KubernixError):
    """One component failed to start, or died.

    Args:
        component: Name of the component, such as "kube-apiserver" or "kubelet/node-1".
        reason: What happened, in a phrase: "exited with code 1 before it was ready".
        log_tail: The last lines of its log, or "".
        log: Path of the whole log, or "".
    """

    fields = ("component", "reason", "log_tail", "log")

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
        failures: One error for each failed component; a ComponentError but where no component is to blame.
        logs: Directory that keeps the logs of all components, or "".
        remarks: What else is worth knowing, a line each.
    """

    fields = ("phase", "failures", "logs", "remarks")

    def __init__(
        self, phase: str, failures: Sequence[KubernixError], *, logs: str = "", remarks: Sequence[str] = ()
    ) -> None:
        self.phase = phase
        self.failures = tuple(failures)
        self.logs = logs
        self.remarks = tuple(remarks)
        count = len(self.failures)
        head = f"the cluster did not boot: phase {phase} failed ({count} error{'s' if count != 1 else ''})"
        hint = f"The logs of all components are in {logs}" if logs else ""
        super().__init__("\n".join([head, *(str(failure) for failure in self.failures), *self.remarks]), hint=hint)


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

    fields = ("command", "returncode", "stderr", "stdout", "message")

    def __init__(
        self, command: Sequence[str], returncode: int | None, stderr: str, stdout: str = "", *, message: str = ""
    ) -> None:
        self.command = tuple(command)
        self.returncode = returncode
        self.stderr = stderr
        self.stdout = stdout
        how = "ran out of time" if returncode is None else f"exit code {returncode}"
        super().__init__(message or f"{' '.join(self.command)}: {how}\n{stderr.rstrip()}")


class NamespaceStuckWarning(UserWarning):
    """A test's namespace could not be removed; the text names what blocks it."""


class NotEnforcedWarning(UserWarning):
    """A test has made something that does nothing in its cluster, where it would elsewhere."""


def pack(error: KubernixError) -> dict[str, Any]:
    """An error as plain data, for another process; `unpack` is its inverse."""
    return {
        "type": f"{type(error).__module__}:{type(error).__qualname__}",
        "fields": {name: _plain(getattr(error, name)) for name in error.fields},
        "notes": _notes(error),
        # For a process that does not know the type.
        "message": error.message,
        "hint": error.hint,
    }


def unpack(data: Mapping[str, Any]) -> KubernixError:
    """The error that was packed, of the same type where this process knows it: ours, or one that it has loaded."""
    kind = _type(data["type"])
    if kind is None:
        error = KubernixError(data["message"], hint=data["hint"])
    else:
        error = kind(**{name: _whole(value) for name, value in data["fields"].items()})
    for note in data["notes"]:
        error.add_note(note)
    return error


def _again(kind: type[KubernixError], fields: Mapping[str, Any], notes: Sequence[str]) -> KubernixError:
    error = kind(**fields)
    for note in notes:
        error.add_note(note)
    return error


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def _plain(value: Any) -> Any:
    if isinstance(value, KubernixError):
        return {"error": pack(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return unpack(value["error"])
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _type(name: str) -> type[KubernixError] | None:
    module, _, qualified = name.partition(":")
    if module.partition(".")[0] == __package__:
        # Ours may be defined in a room that this process has not needed so far.
        importlib.import_module(module)
    below = [KubernixError]
    while below:
        kind = below.pop()
        if (kind.__module__, kind.__qualname__) == (module, qualified):
            return kind
        below += kind.__subclasses__()
    return None
