"""What a Website becomes, and what its status says: plain data in, plain data out.
No cluster is needed to read this module, or to test it."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

GROUP, VERSION, PLURAL = "example.kubernix.test", "v1", "websites"
WEBSITE_LABEL = f"{GROUP}/website"
IMAGE = "kubernix.test/server:1"
PORT, PAGE = 8080, "index.html"
NOBODY = 65534

Object = dict[str, Any]


def config_map(website: Mapping[str, Any]) -> Object:
    """The page itself, which the servers mount."""
    data = {PAGE: _page(website)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(website), "data": data}


def deployment(website: Mapping[str, Any]) -> Object:
    """The servers, spread over the nodes as well as may be."""
    name = website["metadata"]["name"]
    selector = {"matchLabels": {WEBSITE_LABEL: name}}
    # A mounted ConfigMap follows within a minute or two, and does not say when: a new template is rolled out.
    digest = hashlib.sha256(_page(website).encode()).hexdigest()
    server = {
        "name": "server",
        "image": IMAGE,
        "args": ["serve", f"-port={PORT}", f"-body-file=/site/{PAGE}"],
        "volumeMounts": [{"name": "site", "mountPath": "/site", "readOnly": True}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
        },
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": selector,
        # Pods of the page before are on their way out and should not count.
        "matchLabelKeys": ["pod-template-hash"],
    }
    template = {
        "metadata": {"labels": {WEBSITE_LABEL: name}, "annotations": {f"{GROUP}/page": digest}},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [server],
            "topologySpreadConstraints": [spread],
            "volumes": [{"name": "site", "configMap": {"name": name}}],
        },
    }
    spec = {"replicas": website["spec"]["replicas"], "selector": selector, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(website), "spec": spec}


def service(website: Mapping[str, Any]) -> Object:
    """The one address of all servers."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    spec = {"selector": {WEBSITE_LABEL: website["metadata"]["name"]}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(website), "spec": spec}


def status(website: Mapping[str, Any], deployed: Mapping[str, Any]) -> Object:
    """What the Website's status should be.

    Args:
        website: The Website.
        deployed: Its Deployment, as the API server has it.
    """
    metadata, wanted, counts = website["metadata"], website["spec"]["replicas"], deployed.get("status") or {}
    seen = counts.get("observedGeneration", 0) >= deployed["metadata"]["generation"]
    # Equal to all three: every server is ready, none is of the page before, and none is too many.
    done = seen and all(counts.get(n, 0) == wanted for n in ("readyReplicas", "updatedReplicas", "replicas"))
    up_to_date = counts.get("readyReplicas", 0)
    ready = {
        "type": "Ready",
        "status": "True" if done else "False",
        "reason": "AllServersReady" if done else "RollingOut",
        "message": f"{up_to_date} of {wanted} servers are ready",
        "observedGeneration": metadata["generation"],
    }
    return {
        "observedGeneration": metadata["generation"],
        "phase": "Ready" if done else "Progressing",
        "readyReplicas": up_to_date,
        "url": f"http://{metadata['name']}.{metadata['namespace']}.svc/",
        "conditions": [{**ready, "lastTransitionTime": _since(website, ready["status"])}],
    }


def _page(website: Mapping[str, Any]) -> str:
    title, text = html.escape(website["spec"]["title"]), html.escape(website["spec"]["text"])
    return f"<!DOCTYPE html>\n<title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"


def _metadata(website: Mapping[str, Any]) -> Object:
    """Name, label and owner of a child; the owner is how the garbage collector knows what goes with it."""
    metadata = website["metadata"]
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Website",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": {WEBSITE_LABEL: metadata["name"], "app.kubernetes.io/managed-by": "website-operator"},
        "ownerReferences": [owner],
    }


def _since(website: Mapping[str, Any], now: str) -> str:
    """When the condition became what it is: unchanged while it is."""
    for condition in website.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == now:
            return str(condition["lastTransitionTime"])
    return datetime.now(UTC).isoformat(timespec="seconds")
