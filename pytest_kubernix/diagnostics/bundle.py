"""Writes all there is to know about a cluster, or about a boot that failed, into a directory.
What could not be had is listed in `bundle.json`; the values of Secrets are left out of every file."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ..config import ClusterConfig
from ..drivers.base import Diagnostics
from ..errors import BootError, ClusterGone, KubernixError
from ..handle import Event, wall_clock
from . import timeline
from .api import Api, Subject, UnavailableError
from .redact import Redactor
from .tables import columns, event_time, pods_table, statuses

GUARDIAN_TIMEOUT = 5.0
API_TIMEOUT = 60.0
CALL_TIMEOUT = 15.0

# What one log may take; its end tells most.
LOG_BYTES = 10 * 1024 * 1024
MAX_CONTAINERS = 300

# The same events under their second name, and a kind that only asks others.
NOT_LISTED = {"events.events.k8s.io", "componentstatuses"}

TIMELINE = "timeline.json"


def write_cluster(cluster: Subject, folder: Path, *, test: str = "") -> Path:
    """Write the bundle of a cluster that runs, in whatever state it is.

    Args:
        cluster: The cluster.
        folder: Where to write; it exists.
        test: The id of the test it is written for, or "".

    Returns:
        The folder.

    Raises:
        ClusterGone: The cluster is gone, with all that was known of it.
        OSError: It can't be written there.
    """
    problems: list[str] = []
    try:
        known = cluster.diagnostics(timeout=GUARDIAN_TIMEOUT)
    except ClusterGone:
        raise
    except (KubernixError, TimeoutError) as error:
        known = Diagnostics()
        problems.append(f"components and their logs: {str(error) or 'no answer in time'}")
    api = Api(cluster.kubectl, known, total=API_TIMEOUT, each=CALL_TIMEOUT)
    objects: list[dict[str, Any]] = []
    try:
        kinds = api.run("api-resources", "--verbs=list", "--output=name", partly=True).split()
        objects = api.items(",".join(kind for kind in kinds if kind not in NOT_LISTED))
    except UnavailableError as error:
        problems.append(f"objects, events and logs of pods, and Secrets' values to leave out of other files: {error}")
    redactor = Redactor(objects)
    writer = _Writer(folder, redactor, problems)
    # Before anything is made of them: a value that was folded or cut is not found any more.
    objects = [redactor.object(item) for item in objects]
    if objects:
        _write_objects(writer, objects)
        _write_pods(writer, api, [one for one in objects if one["kind"] == "Pod"])
        if cluster.handle.nodes:
            try:
                writer.text("nodes.txt", api.run("describe", "nodes"))
            except UnavailableError as error:
                problems.append(f"nodes.txt: {error}")
    handle = cluster.handle
    _write_known(writer, known)
    name = f"Kubernetes {handle.k8s_version}, {_count(len(handle.nodes), 'node')} (cluster {handle.cluster_id})"
    _write_timeline(writer, known.timeline, name)
    about = {"test": test} if test else {}
    _write_about(writer, {**about, "cluster": handle.to_json()})
    return folder


def write_boot(error: BootError, config: ClusterConfig, folder: Path) -> Path:
    """Write the bundle of a boot that failed, from what its driver kept.

    Args:
        error: Why it failed; its `logs` are copied.
        config: What the cluster should have been.
        folder: Where to write; it exists.

    Returns:
        The folder.

    Raises:
        OSError: It can't be written there.
    """
    writer = _Writer(folder, Redactor(), [])
    writer.text("error.txt", f"{error}\n")
    events: list[Event] = []
    kept = Path(error.logs) if error.logs else None
    if kept and kept.is_dir():
        for path in sorted(kept.glob("*.log")):
            writer.log(f"logs/{path.name}", path)
        if (kept / TIMELINE).exists():
            events = [Event(*each) for each in json.loads((kept / TIMELINE).read_text())]
    else:
        writer.problems.append("logs: none were kept")
    _write_timeline(writer, events, f"Kubernetes {config.k8s_version}, {_count(config.nodes, 'node')}")
    _write_about(writer, {"failed_phase": error.phase, "config": config.to_json()})
    return folder


class _Writer:
    """Every file of a bundle goes through here, so that none keeps a value of a Secret."""

    def __init__(self, folder: Path, redactor: Redactor, problems: list[str]) -> None:
        self.folder = folder
        self._redactor = redactor
        self.problems = problems

    def text(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._redactor.text(text), encoding="utf-8")

    def log(self, name: str, source: Path) -> None:
        """Copy a log, or the end of one that is very long."""
        try:
            with source.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_BYTES))
                text = file.read().decode(errors="replace")
        except OSError as error:
            # A cluster that others share may end while we read.
            self.problems.append(f"{name}: {error}")
        else:
            self.text(name, text)


def _write_known(writer: _Writer, known: Diagnostics) -> None:
    for name, path in known.logs.items():
        writer.log(f"logs/{name.replace('/', '-')}.log", path)
    if known.components:
        lines = [columns([("COMPONENT", "STATE"), *known.components.items()])]
        for death in known.deaths:
            moment = datetime.fromtimestamp(wall_clock(death.at), UTC).isoformat(timespec="milliseconds")
            lines.append(f"\n{moment} {death.text}")
        writer.text("components.txt", "\n".join(lines) + "\n")


def _write_timeline(writer: _Writer, events: Sequence[Event], title: str) -> None:
    if events:
        writer.text(TIMELINE, json.dumps(events, indent=1))
        writer.text("timeline.svg", timeline.draw(events, title=title))


def _write_objects(writer: _Writer, objects: Sequence[dict[str, Any]]) -> None:
    files: dict[str, list[dict[str, Any]]] = {}
    for item in objects:
        space = item["metadata"].get("namespace")
        group, _, _ = item["apiVersion"].rpartition("/")
        kind = item["kind"].lower() + (f".{group}" if group else "")
        where = f"manifests/namespaces/{space}" if space else "manifests/cluster"
        files.setdefault(f"{where}/{kind}.yaml", []).append(item)
    for name, items in files.items():
        writer.text(name, yaml.dump_all(items, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
    events = sorted((one for one in objects if one["kind"] == "Event"), key=event_time)
    rows = [("TIME", "TYPE", "REASON", "OBJECT", "MESSAGE")]
    for event in events:
        about = event["involvedObject"]
        names = (about.get("namespace"), about.get("kind", "").lower(), about.get("name"))
        message = " ".join((event.get("message") or "").split())
        kind_and_reason = (event.get("type") or "-", event.get("reason") or "-")
        rows.append((event_time(event), *kind_and_reason, "/".join(name for name in names if name), message))
    writer.text("events.txt", columns(rows) + "\n")


def _write_pods(writer: _Writer, api: Api, pods: Sequence[dict[str, Any]]) -> None:
    writer.text("pods.txt", pods_table(pods, now=datetime.now(UTC), namespaces=True) + "\n")
    wanted: list[tuple[str, tuple[str, ...], str]] = []
    for pod in pods:
        space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for one in statuses(pod):
            file = f"pods/{space}/{name}/{one['name']}"
            command = ("logs", name, f"--container={one['name']}", f"--limit-bytes={LOG_BYTES}")
            if "waiting" not in one.get("state", {}):
                wanted.append((f"{file}.log", command, space))
            if one.get("restartCount"):
                wanted.append((f"{file}.previous.log", (*command, "--previous"), space))
    if len(wanted) > MAX_CONTAINERS:
        writer.problems.append(f"logs of pods: only {MAX_CONTAINERS} of {len(wanted)}")

    def write(one: tuple[str, tuple[str, ...], str]) -> None:
        file, command, space = one
        try:
            writer.text(file, api.run(*command, namespace=space))
        except UnavailableError as error:
            writer.problems.append(f"{file}: {error}")

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(write, wanted[:MAX_CONTAINERS]))


def _write_about(writer: _Writer, facts: Mapping[str, object]) -> None:
    from .. import __version__

    about = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "pytest_kubernix": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        **facts,
        "could_not_be_had": writer.problems,
    }
    writer.text("bundle.json", json.dumps(about, indent=1) + "\n")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number or 'no'} {noun}s"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as such, and no references between parts that are alike."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
