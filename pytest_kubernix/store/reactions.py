"""What the rest of a cluster makes of a write to etcd: watch caches, discovery, controllers, kubelets.
Each is asked whether it has got there, and none is given a fixed time."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from ..http_requests import AdminApi
from ..texts import shortened
from .rules import PREFIX

PAUSE = 0.002
# A list that waits for a revision is given up by the API server after three seconds.
FRESH_TIMEOUT = 10.0

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# Where the name below /registry/ is not the resource's.
ALIASES = {
    "controllers": "replicationcontrollers",
    "ingress": "ingresses",
    "minions": "nodes",
    "services/endpoints": "endpoints",
    "services/specs": "services",
}
# Makes its ConfigMap anew in a namespace that is gone, and is refused by admission, which thinks for 50 ms first.
REFUSED_ANYWAY = "root_ca_cert_publisher"
# What the API server says of an object whose version a webhook would have to change.
CONVERSION = b"conversion webhook"
NOT_SERVED = {"events", "masterleases", "peerserverleases", "ranges"}

_ADDED = re.compile(r'^workqueue_adds_total\{name="([^"]*)"\} (\S+)', re.MULTILINE)
_DONE = re.compile(r'^workqueue_work_duration_seconds_count\{name="([^"]*)"\} (\S+)', re.MULTILINE)
# Only from 1.36 on; before, what is between a watch and a queue can't be seen.
_UNREAD = re.compile(r"^informer_queued_items\{[^}]*\} ([1-9]\S*)", re.MULTILINE)


class Reactions:
    """Asks the parts of one cluster.

    Args:
        api: How to reach the API server.
        controllers: URL of the controller manager's metrics, or "".
    """

    def __init__(self, api: AdminApi, controllers: str) -> None:
        self._api = api
        self._controllers = controllers
        self._paths: dict[str, str] = {}

    def await_caches(self, written: Mapping[bytes, int], custom: Callable[[str], str]) -> dict[str, str]:
        """Return once the API server serves what was written, or can't be seen to.

        Never raises: what is left to be written must not wait for one kind that can't be read.

        Args:
            written: Key → the revision that its last write made.
            custom: Tells the API path of a custom resource ("example.com/widgets"), or "".

        Returns:
            Resource → what it did not confirm of it, or "".
        """
        newest: dict[str, int] = {}
        for key, revision in written.items():
            name = resource(key)
            newest[name] = max(revision, newest.get(name, 0))
        found = {}
        for name, revision in newest.items():
            path = self._paths.get(ALIASES.get(name, name)) or custom(name)
            found[name] = self._await_cache(path, revision) if path and name not in NOT_SERVED else ""
        return found

    def _await_cache(self, path: str, revision: int) -> str:
        query = {
            "resourceVersion": revision,
            "resourceVersionMatch": "NotOlderThan",
            # The wait is all that matters; this keeps the answer empty.
            "fieldSelector": "metadata.name=-",
        }
        deadline = time.monotonic() + FRESH_TIMEOUT
        while True:
            status, body = self._get(f"{path}?{urlencode(query)}")
            # 404: its CRD is not served (any more). A webhook that does not run tells nothing of the cache.
            if status in (200, 404) or CONVERSION in body:
                return ""
            if time.monotonic() > deadline:
                text = shortened(body.decode(errors="replace"), 300)
                return f"it did not catch up with etcd: {path}: HTTP {status}: {text}"
            time.sleep(PAUSE)

    def await_crds(self, served: Mapping[tuple[str, str], bool]) -> list[str]:
        """Return once custom resources are served, or are not, and discovery says the same; or can't be seen to.

        Args:
            served: (group, plural) → whether it shall be served.

        Returns:
            What the API server did not confirm, a line each.
        """
        deadline = time.monotonic() + FRESH_TIMEOUT
        while wrong := [name for name, shall in served.items() if (self._version_of(*name) is not None) != shall]:
            if time.monotonic() > deadline:
                names = ", ".join(f"{plural}.{group}" for group, plural in wrong)
                return [f"it did not follow a change of CustomResourceDefinitions: {names}"]
            time.sleep(PAUSE)
        return [
            f"it does not serve {plural}.{group} again"
            for (group, plural), shall in served.items()
            if shall and not self._is_listed(group, plural, deadline)
        ]

    def _is_listed(self, group: str, plural: str, deadline: float) -> bool:
        while True:
            status, body = self._get(f"/apis/{group}/{self._version_of(group, plural)}/{plural}?limit=1")
            if status == 200 or CONVERSION in body:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)

    def _version_of(self, group: str, plural: str) -> str | None:
        """A version in which a custom resource is served, by the discovery of its group."""
        status, body = self._get(f"/apis/{group}")
        for version in json.loads(body).get("versions", []) if status == 200 else []:
            name = str(version["version"])
            status, body = self._get(f"/apis/{group}/{name}")
            if status == 200 and any(one["name"] == plural for one in json.loads(body)["resources"]):
                return name
        return None

    def kubelets_know(self, pods: Mapping[str, Mapping[str, bool]]) -> bool:
        """Whether kubelets know which pods are theirs. One that does not answer will be told when it comes back.

        Args:
            pods: Node → UID → whether the kubelet shall have that pod.
        """
        for node, wanted in pods.items():
            status, body = self._get(f"/api/v1/nodes/{node}/proxy/pods")
            known = {item["metadata"]["uid"] for item in json.loads(body).get("items") or []} if status == 200 else None
            if known is not None and any((uid in known) != shall for uid, shall in wanted.items()):
                return False
        return True

    def controllers(self) -> tuple[bool, int]:
        """Whether no controller of Kubernetes' own has anything to do, and how much they have done in all.

        A controller manager that does not answer is dead, or paused by a test: it writes nothing either.
        """
        if not self._controllers:
            return True, 0
        try:
            status, body = self._api.request("GET", self._controllers)
        except (OSError, http.client.HTTPException):
            return True, 0
        if status != 200:
            return True, 0
        text = body.decode()
        added, done = _counts(_ADDED.findall(text)), _counts(_DONE.findall(text))
        for counts in (added, done):
            counts.pop(REFUSED_ANYWAY, None)
        return added == done and not _UNREAD.search(text), int(sum(added.values()))

    def learn(self) -> None:
        """Learn where Kubernetes' own resources are served, while no test waits for it."""
        self._paths = self._paths or self._discover()

    def _discover(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for root in ("/apis", "/api"):
            body = self._api.request("GET", root, accept=DISCOVERY)[1]
            for group in json.loads(body)["items"]:
                name = group["metadata"].get("name", "")
                # The core group comes last, and the preferred version of each: what is named twice is theirs.
                for version in reversed(group["versions"]):
                    path = "/".join(filter(None, (root, name, version["version"])))
                    for one in version.get("resources", []):
                        found[f"{name}/{one['resource']}"] = f"{path}/{one['resource']}"
                        found[one["resource"]] = f"{path}/{one['resource']}"
        return found

    def close(self) -> None:
        """Ask no more."""
        self._api.close()

    def _get(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 and the reason where there was no answer in time, which a later question may have."""
        try:
            return self._api.request("GET", path)
        except (OSError, http.client.HTTPException) as error:
            return 0, f"no answer: {type(error).__name__}: {error}".encode()


def resource(key: bytes) -> str:
    """The name below /registry/ of what a key belongs to: "pods", "services/specs", "example.com/widgets"."""
    parts = key.removeprefix(PREFIX).decode(errors="replace").split("/")
    deep = parts[0] == "services" or "." in parts[0]
    return "/".join(parts[: 2 if deep else 1])


def _counts(found: Iterable[tuple[str, Any]]) -> dict[str, float]:
    return {name: float(value) for name, value in found}
