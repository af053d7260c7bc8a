"""What both ends of a control socket agree on: limits, and errors: what one process raises, every waiter raises again.
JSON, because the two ends may be different versions of nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BootError, ConfigError, KubernixError

# Limits in seconds of what a guardian does on request; whoever asks waits a little longer.
# Starting one component or one node again takes a second or two; a loaded machine takes longer.
RESTART_TIMEOUT = 60.0
COMMAND_TIMEOUT = 300.0


def pack(error: KubernixError) -> dict[str, Any]:
    """An error as plain data; `unpack` is its inverse for the errors that users tell apart."""
    if isinstance(error, ConfigError):
        return {"kind": "config", "field": error.field, "value": str(error.value), "allowed": error.allowed}
    if isinstance(error, BootError):
        return {
            "kind": "boot",
            "phase": error.phase,
            "failures": [str(failure) for failure in error.failures],
            "logs": error.logs,
        }
    return {"kind": "other", "message": error.message, "hint": error.hint}


def unpack(data: Mapping[str, Any]) -> KubernixError:
    """The error that was packed."""
    if data["kind"] == "config":
        return ConfigError(data["field"], data["value"], data["allowed"])
    if data["kind"] == "boot":
        return BootError(data["phase"], [KubernixError(text) for text in data["failures"]], logs=data["logs"])
    return KubernixError(data["message"], hint=data["hint"])
