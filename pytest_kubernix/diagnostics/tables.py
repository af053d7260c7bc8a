"""Pods and events as tables of text, much as kubectl prints them, from the objects themselves.
Pure: what time it is comes as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..texts import shortened

Object = dict[str, Any]

MESSAGE_LENGTH = 400


def pods_table(pods: Sequence[Object], *, now: datetime, namespaces: bool = False) -> str:
    """The pods, a line each.

    Args:
        pods: The objects.
        now: Ages are counted to this moment.
        namespaces: Whether to show which namespace each is in.
    """
    rows = [("NAME", "READY", "STATUS", "RESTARTS", "AGE", "NODE")]
    for pod in pods:
        containers = pod["status"].get("containerStatuses", [])
        name = pod["metadata"]["name"]
        rows.append(
            (
                f"{pod['metadata']['namespace']}/{name}" if namespaces else name,
                f"{sum(one['ready'] for one in containers)}/{len(pod['spec']['containers'])}",
                pod_status(pod),
                str(restarts(pod)),
                age(pod["metadata"]["creationTimestamp"], now),
                pod["spec"].get("nodeName", "-"),
            )
        )
    return columns(rows)


def events_table(events: Sequence[Object], *, now: datetime, namespaces: bool = False) -> str:
    """The events in the order of their time, a line each; arguments as for `pods_table`."""
    rows = [("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE")]
    for event in sorted(events, key=event_time):
        about = event["involvedObject"]
        name = f"{about.get('kind', '').lower()}/{about.get('name', '')}"
        space = about.get("namespace", "")
        message = " ".join((event.get("message") or "").split())
        many = max(event.get("count") or 1, (event.get("series") or {}).get("count", 1))
        rows.append(
            (
                age(event_time(event), now),
                event.get("type") or "-",
                event.get("reason") or "-",
                f"{space}/{name}" if namespaces and space else name,
                shortened(message, MESSAGE_LENGTH) + (f" (x{many})" if many > 1 else ""),
            )
        )  # fmt: skip
    return columns(rows)


def event_time(event: Object) -> str:
    """When an event was last seen, as the API writes times; "" when it doesn't say."""
    # Two generations of the API write it in different places.
    series = event.get("series") or {}
    places = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    found = next((place for place in places if place), None)
    return found or event["metadata"].get("creationTimestamp") or ""


def is_fine(pod: Object) -> bool:
    """Whether a pod is ready, or has done its work, without a restart."""
    if restarts(pod):
        return False
    if pod["status"].get("phase") == "Succeeded":
        return True
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def restarts(pod: Object) -> int:
    """How often containers of a pod were started again."""
    return sum(one.get("restartCount", 0) for one in statuses(pod))


def statuses(pod: Object) -> list[Object]:
    """The status of each container of a pod, in the order they start."""
    status = pod["status"]
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def pod_status(pod: Object) -> str:
    """The word or two that say how a pod is, as kubectl does: why a container waits or ended, or the phase."""
    status = pod["status"]
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for one in status.get("initContainerStatuses", []):
        reason = _reason(one)
        # One that runs all along, beside the others, is no reason to wait.
        if reason and one["state"].get("terminated", {}).get("exitCode") != 0:
            return f"Init:{reason}"
    for one in status.get("containerStatuses", []):
        if reason := _reason(one):
            return reason
    unscheduled = [one for one in status.get("conditions", []) if one.get("reason") == "Unschedulable"]
    return "Unschedulable" if unscheduled else status.get("reason") or status.get("phase") or "Unknown"


def _reason(container: Object) -> str:
    state = container.get("state", {})
    if "waiting" in state:
        return state["waiting"].get("reason") or "Waiting"
    if "terminated" in state:
        ended = state["terminated"]
        return ended.get("reason") or f"ExitCode:{ended.get('exitCode')}"
    return ""


def age(moment: str, now: datetime) -> str:
    """How long ago something was, in at most two units: "4m10s"."""
    try:
        seconds = int((now - datetime.fromisoformat(moment).astimezone(UTC)).total_seconds())
    except ValueError:
        return "-"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines with aligned columns; the last column is as wide as it likes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = (
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
