"""Errors on their way through a control socket: what one process raises, every waiter raises again.
JSON, because the two ends may be different versions of nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BootError, ConfigError, KubernixError


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
