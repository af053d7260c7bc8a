"""Every object of every kind of a cluster, for comparing what it was with what it is.
Stands alone, since suites inside of tests use it as well."""

from __future__ import annotations

import json
from typing import Any

# Written all the time by the cluster itself, or only reported by it.
HEARTBEATS = ("Lease",)
REPORTED = ("Node", "Pod", "Deployment", "ReplicaSet", "ServiceCIDR")


def everything(kubernix: Any) -> dict[str, str]:
    """Kind, namespace and name → the object as text, of everything that can be listed but events and heartbeats."""
    kubectl = kubernix.kubectl
    kinds = kubectl("api-resources", "--verbs=list", "--output=name", "--cached=false").stdout.split()
    wanted = ",".join(kind for kind in kinds if not kind.startswith("events") and kind != "componentstatuses")
    found = {}
    for item in json.loads(kubectl("get", wanted, "--all-namespaces", "--output=json").stdout)["items"]:
        if item["kind"] in HEARTBEATS:
            continue
        metadata = item["metadata"]
        for name in ("resourceVersion", "managedFields"):
            metadata.pop(name, None)
        if item["kind"] in REPORTED:
            item.pop("status", None)
        found[f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"] = json.dumps(item, sort_keys=True)
    return found


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What came, went and changed, a line each; empty when nothing did."""
    lines = [f"came: {name}" for name in after if name not in before]
    lines += [f"went: {name}" for name in before if name not in after]
    changed = [name for name in before if name in after and before[name] != after[name]]
    return lines + [f"changed: {name}\n  {before[name]}\n  {after[name]}" for name in changed]
