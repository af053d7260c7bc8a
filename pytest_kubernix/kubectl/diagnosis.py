"""What objects look like that a test waited for in vain: state, conditions, containers and events.
Bounded in lines and in seconds. It adds to an error, so nothing here may raise one of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import KubectlError
from ..texts import shortened

if TYPE_CHECKING:
    from .runner import Runner

TIME_LIMIT = 5.0
"""Seconds for all of it, and REQUEST_LIMIT for one answer: the API server may be what is wrong."""
REQUEST_LIMIT = 2

MOST_OBJECTS, MOST_LINES, MOST_EVENTS, MOST_CHARACTERS = 5, 10, 8, 300

# What makes pods by a selector, and reports their troubles elsewhere.
_WORKLOADS = {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"}
_SCALED = {"Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"}
# What they make for kinds that say nothing of how.
_MADE_BY_CONTROLLERS = "deployments,statefulsets,daemonsets,replicasets,jobs,pods"
_CHILDLESS = {"ConfigMap", "Secret", "Service", "PersistentVolumeClaim", "ServiceAccount", "Event", "Endpoints"}
_PULLS = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"}
_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}

Object = Mapping[str, Any]


def describe(kubectl: Runner, resource: str, failed: str, *, namespace: str | None, selector: str | None) -> str:
    """Say what the objects of a failed wait look like.

    Args:
        kubectl: Who asks.
        resource: What was waited for, as `kubectl wait` takes it.
        failed: What `kubectl wait` said; of several objects, those that it names are shown.
        namespace: Where they are.
        selector: Their labels, if they were chosen by labels.

    Returns:
        Lines without an end; what could be read until the time was up, or "".
    """
    lines: list[str] = []
    try:
        # One at a time: what was read stays, whatever happens to the next question.
        lines.extend(_look(_Reader(kubectl, namespace), resource, failed, selector))
    except KubectlError as error:
        reason = str(error).splitlines()[0]
        # A kind that does not exist, or a connection that is refused, was told by the wait itself.
        told = any(line.strip() and line.strip() in reason for line in failed.splitlines())
        lines += [] if told else [f"more could not be read: {_cut(reason)}"]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # Objects of other people's kinds may have anything in their status.
        lines.append(f"more could not be read: {_cut(repr(error))}")
    return "\n".join(lines)


class _Reader:
    """Asks the API server, until the time for all questions is up."""

    def __init__(self, kubectl: Runner, namespace: str | None) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._deadline = time.monotonic() + TIME_LIMIT

    def get(self, *args: str, namespace: str | None = None) -> list[Object]:
        """The objects that `kubectl get` finds; none is no error."""
        limit = max(min(self._deadline - time.monotonic(), REQUEST_LIMIT + 1), 0.1)
        flags = ("--output=json", "--ignore-not-found", f"--request-timeout={REQUEST_LIMIT}s")
        where = self._namespace if namespace is None else namespace
        answer = self._kubectl("get", *args, *flags, namespace=where, timeout=limit).stdout
        found = json.loads(answer) if answer.strip() else {"items": []}
        return list(found["items"]) if "items" in found else [found]


def _look(reader: _Reader, resource: str, failed: str, selector: str | None) -> Iterator[str]:
    objects = reader.get(resource, *([f"--selector={selector}"] if selector else []))
    named = set(re.findall(r"/(\S+)$", failed, re.MULTILINE))
    objects = [each for each in objects if each["metadata"]["name"] in named] or objects
    # Events may outlive an object, or tell why it is not there.
    concerned = {("", resource.partition("/")[2])} if not objects else set()
    for each in objects[:MOST_OBJECTS]:
        yield from object_lines(each)
        concerned.add(_identity(each))
        children = [each] if each["kind"] == "Pod" else _children(reader, each)
        for child in children:
            concerned.add(_identity(child))
            if child["kind"] == "Pod" and child is not each and not _is_ready(child):
                yield from object_lines(child)
        for claim in _claims(reader, children):
            concerned.add(_identity(claim))
            yield from object_lines(claim)
    if len(objects) > MOST_OBJECTS:
        yield f"... and {len(objects) - MOST_OBJECTS} more"
    # Events of what belongs to no namespace are in "default".
    where = (objects[0]["metadata"].get("namespace") or "default") if objects else None
    yield from event_lines(reader.get("events", namespace=where), concerned)


def _children(reader: _Reader, item: Object) -> list[Object]:
    """What an object has made, down to its pods: those that wait, and the reason why there are none."""
    namespace = item["metadata"].get("namespace")
    if selector := _selector(item) if item["kind"] in _WORKLOADS else "":
        found = reader.get("replicasets,pods", f"--selector={selector}", namespace=namespace)
    elif namespace and item["kind"] not in _CHILDLESS:
        found = _owned(item, reader.get(_MADE_BY_CONTROLLERS, namespace=namespace))
    else:
        return []
    pods = [each for each in found if each["kind"] == "Pod"]
    waiting = sorted(pods, key=_is_ready)[:MOST_OBJECTS]
    return [*(each for each in found if each["kind"] != "Pod"), *waiting]


def _owned(item: Object, there: Sequence[Object]) -> list[Object]:
    """Those that an object owns, and what they own."""
    owners = {item["metadata"].get("uid")}
    found: list[Object] = []
    while more := [
        each
        for each in there
        if each not in found and owners & {one["uid"] for one in each["metadata"].get("ownerReferences") or []}
    ]:
        found += more
        owners |= {each["metadata"].get("uid") for each in more}
    return found


def _claims(reader: _Reader, pods: Sequence[Object]) -> list[Object]:
    """The claims that pods wait for."""
    found: list[Object] = []
    for pod in [each for each in pods if each["kind"] == "Pod" and not _is_ready(each)][:MOST_OBJECTS]:
        volumes = (pod.get("spec") or {}).get("volumes") or []
        names = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
        there = reader.get("persistentvolumeclaims", *names, namespace=pod["metadata"]["namespace"]) if names else []
        found += [claim for claim in there if (claim.get("status") or {}).get("phase") != "Bound"]
    return found


def object_lines(item: Object) -> list[str]:
    """One object: its state in a line, and below it its conditions and containers."""
    kind, name = _identity(item)
    below = [*_conditions(item), *(_containers(item) if kind == "Pod" else [])]
    more = len(below) - MOST_LINES
    below = below[:MOST_LINES] + ([f"... and {more} more"] if more > 0 else [])
    facts = "; ".join(_facts(item)) or ("" if below else "no status")
    return [f"{kind.lower()}/{name}: {facts}".rstrip(), *(f"  {line}" for line in below)]


def event_lines(events: Sequence[Object], concerned: set[tuple[str, str]]) -> list[str]:
    """The last events about these (kind, name), the newest at the end; a kind of "" is any."""
    about = []
    for event in events:
        target = event["involvedObject"]
        kind, name = target.get("kind", ""), target.get("name", "")
        if name and ((kind, name) in concerned or ("", name) in concerned):
            series = event.get("series") or {}
            count = series.get("count") or event.get("count") or 1
            times = f" (x{count})" if count > 1 else ""
            what = f"{event.get('type')} {event.get('reason')} {kind.lower()}/{name}{times}"
            about.append((_time(event), f"  {_time(event)[11:19]} {what}: {_cut(event.get('message'))}"))
    lines = [line for _, line in sorted(about, key=lambda each: each[0])]
    return ["last events (UTC):", *lines[-MOST_EVENTS:]] if lines else []


def _facts(item: Object) -> Iterator[str]:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    if metadata.get("deletionTimestamp"):
        finalizers = ", ".join(metadata.get("finalizers") or [])
        yield f"being deleted since {metadata['deletionTimestamp']}" + (
            f", finalizers {finalizers}" if finalizers else ""
        )
    for owner in metadata.get("ownerReferences") or []:
        if item["kind"] not in {"Pod", "ReplicaSet"}:
            yield f"owned by {str(owner.get('kind')).lower()}/{owner.get('name')}"
    for name in ("phase", "state"):
        if isinstance(status.get(name), str):
            yield f"{name} {status[name]}{_why(status)}"
    # Another kind that does not count them may mean anything by it.
    counted = item["kind"] in _SCALED or "readyReplicas" in status
    if counted and isinstance(spec.get("replicas"), int):
        yield f"{status.get('readyReplicas', 0)} of {spec['replicas']} replicas ready"
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if observed is not None and observed != generation:
        # kubectl wait takes no condition for true that was made for an older generation.
        yield f"generation {generation}, of which {observed} is the last that its controller has seen"


def _conditions(item: Object) -> Iterator[str]:
    for condition in (item.get("status") or {}).get("conditions") or []:
        # Of a pod's, what is true is as it should be.
        if item["kind"] != "Pod" or condition.get("status") != "True":
            yield f"{condition.get('type')}={condition.get('status')}{_why(condition)}"


def _containers(pod: Object) -> Iterator[str]:
    status = pod.get("status") or {}
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or []:
            [(state, about)] = (container.get("state") or {"unknown": {}}).items()
            done = state == "terminated" and about.get("exitCode") == 0
            if container.get("ready") or done:
                continue
            text = f"container {container['name']}: {state}{', not ready' if state == 'running' else ''}"
            text += f", exit code {about['exitCode']}" if "exitCode" in about else ""
            text += _why(about)
            before = (container.get("lastState") or {}).get("terminated")
            if before:
                text += f"; before: exit code {before.get('exitCode')}{_why(before)}"
            if about.get("reason") in _PULLS:
                text += "; load_image() gives nodes an image that no registry has"
            restarts = container.get("restartCount") or 0
            yield text + (f"; restarts: {restarts}" if restarts else "")


def _why(about: Object) -> str:
    """Reason and message, of whatever has them."""
    parts = [_cut(about[name]) for name in ("reason", "message") if about.get(name)]
    return f" ({': '.join(parts)})" if parts else ""


def _identity(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _selector(workload: Object) -> str:
    selector = (workload.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    parts += [
        _OPERATORS[each["operator"]].format(key=each["key"], values=",".join(each.get("values") or []))
        for each in selector.get("matchExpressions") or []
    ]
    return ",".join(parts)


def _time(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((each for each in times if each), event["metadata"].get("creationTimestamp") or ""))


def _cut(text: object) -> str:
    line = " ".join(str(text).split())
    return shortened(line, MOST_CHARACTERS)
