"""What a failed test's report says about its cluster: pods, events, logs, and components that are not well.
A few seconds and a few hundred lines at most, whatever state the cluster is in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from ..drivers.base import Diagnostics
from ..errors import KubernixError
from ..handle import ComponentState, Death, wall_clock
from .api import Api, Subject, UnavailableError
from .tables import event_time, events_table, is_fine, pods_table, statuses

Section = tuple[str, str]

GUARDIAN_TIMEOUT = 2.0
API_TIMEOUT = 5.0

MAX_PODS = 50
MAX_EVENTS = 40
MAX_LOGS = 6
LOG_LINES = 30
LOG_BYTES = 16_384


def sections(cluster: Subject, *, namespace: str | None, since: float) -> list[Section]:
    """The sections for one cluster that a failed test used.

    Args:
        cluster: The cluster.
        namespace: The test's own namespace, of which everything is told; None tells of all namespaces, but
            only pods that are not well and warnings.
        since: When the test began, in seconds since the epoch.

    Returns:
        Title and text of each; those that would have nothing to tell are left out.
    """
    name = cluster.handle.cluster_id
    try:
        known = cluster.diagnostics(timeout=GUARDIAN_TIMEOUT)
    except TimeoutError:
        text = f"what keeps the cluster did not answer within {GUARDIAN_TIMEOUT:g} s"
        return [(f"kubernix: cluster {name}", text)]
    except KubernixError as error:
        return [(f"kubernix: cluster {name}", str(error))]
    found: list[Section] = []
    if lines := components_text(known, since=since):
        found.append((f"kubernix: components of cluster {name}", lines))
    found += _api_sections(known, cluster, namespace, since)
    return found


def components_text(known: Diagnostics, *, since: float) -> str:
    """Which components died since a moment, and which are not running now.

    Args:
        known: What the driver knows.
        since: Seconds since the epoch.
    """
    moments = [(wall_clock(death.at), death) for death in known.deaths]
    lines = [f"{at - since:.1f} s into the test: {death.text}" for at, death in moments if at >= since]
    last: dict[str, Death] = {death.component: death for death in known.deaths}
    for name, state in known.components.items():
        if state == ComponentState.RUNNING:
            continue
        before = last.get(name)
        if state == ComponentState.DEAD and before is not None and wall_clock(before.at) < since:
            lines.append(f"{name} is dead since {_clock(wall_clock(before.at))}, before this test\n{before.text}")
        else:
            lines.append(f"{name} is {state} now")
    return "\n".join(lines)


def _api_sections(known: Diagnostics, cluster: Subject, namespace: str | None, since: float) -> list[Section]:
    where = f"namespace {namespace}" if namespace else "all namespaces"
    title = f"kubernix: pods of {where}"
    api = Api(cluster.kubectl, known, total=API_TIMEOUT, each=API_TIMEOUT)
    try:
        items = api.items("pods,events", namespace=namespace)
    except UnavailableError as error:
        return [(title, f"not known: {error}")]
    now = datetime.now(UTC)
    pods = [item for item in items if item["kind"] == "Pod"]
    events = [item for item in items if item["kind"] == "Event"]
    unwell = [pod for pod in pods if not is_fine(pod)]
    found: list[Section] = []
    if namespace:
        found.append((title, _table(pods, MAX_PODS, pods_table(pods[:MAX_PODS], now=now)) if pods else "none"))
    elif unwell:
        table = pods_table(unwell[:MAX_PODS], now=now, namespaces=True)
        found.append((f"kubernix: pods that are not ready, {where}", _table(unwell, MAX_PODS, table)))
    if not namespace:
        begin = datetime.fromtimestamp(since, UTC).isoformat()[:19]
        events = [one for one in events if one.get("type") == "Warning" and event_time(one)[:19] >= begin]
    if events:
        latest = sorted(events, key=event_time)[-MAX_EVENTS:]
        table = events_table(latest, now=now, namespaces=not namespace)
        found.append(
            (f"kubernix: {'events' if namespace else 'warnings'} of {where}", _table(events, MAX_EVENTS, table))
        )
    return found + _logs(api, unwell)


def _logs(api: Api, unwell: Sequence[dict[str, Any]]) -> list[Section]:
    """The ends of the logs of containers that are not ready, or were started again."""
    wanted: list[tuple[str, str, str, bool]] = []
    for pod in unwell:
        names = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        for one in statuses(pod):
            done = one.get("state", {}).get("terminated", {}).get("exitCode") == 0
            if one.get("restartCount"):
                wanted.append((*names, one["name"], True))
            if not done and (not one.get("ready") or one.get("restartCount")) and "waiting" not in one.get("state", {}):
                wanted.append((*names, one["name"], False))
    with ThreadPoolExecutor(max_workers=3) as pool:
        texts = list(pool.map(lambda one: _log(api, *one), wanted[:MAX_LOGS]))
    found = [
        (f"kubernix: {'previous ' if previous else ''}log of {pod}/{container} (the end)", text)
        for (_, pod, container, previous), text in zip(wanted, texts, strict=False)
        if text
    ]
    if len(wanted) > MAX_LOGS:
        found.append(("kubernix: further logs", f"{len(wanted) - MAX_LOGS} more containers are not ready"))
    return found


def _log(api: Api, namespace: str, pod: str, container: str, previous: bool) -> str:  # noqa: FBT001 - private
    which = [f"--container={container}", *(["--previous"] if previous else [])]
    try:
        text = api.run("logs", pod, *which, f"--tail={LOG_LINES}", namespace=namespace)
    except UnavailableError as error:
        return f"not known: {error}"
    return text[-LOG_BYTES:].rstrip()


def _table(everything: Sequence[object], limit: int, table: str) -> str:
    more = len(everything) - limit
    return f"{table}\n… and {more} more" if more > 0 else table


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
