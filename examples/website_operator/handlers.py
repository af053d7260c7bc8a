"""The operator: when something happens to a Website or to its Deployment, make the one match the other.
Run it with `kopf run --all-namespaces -m website_operator.handlers`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import kopf
import kubernetes
from kubernetes.client import ApiClient, ApiException, AppsV1Api, CoreV1Api, CustomObjectsApi

from .resources import GROUP, PLURAL, VERSION, WEBSITE_LABEL, config_map, deployment, service, status

SYSTEM_NAMESPACE, AUDIT = "website-system", "website-audit"
ATTEMPTS = 10
APPLY: dict[str, Any] = {
    "field_manager": "website-operator",
    "force": True,
    "_content_type": "application/apply-patch+yaml",
}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Say how this operator marks what it has seen."""
    kubernetes.config.load_config()
    settings.persistence.finalizer = f"{GROUP}/audit"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    # Looking for CRDs that come and go takes leave to read all of them; ours is there before we are.
    settings.scanning.disabled = True


@kopf.on.create(GROUP, VERSION, PLURAL, backoff=2)
@kopf.on.resume(GROUP, VERSION, PLURAL, backoff=2)
@kopf.on.update(GROUP, VERSION, PLURAL, field="spec", backoff=2)
# The net below the events of Deployments, which kopf hands on once and does not try again. It also mends
# ConfigMap and Service: to watch those, the operator would have to read those of all others.
@kopf.timer(GROUP, VERSION, PLURAL, initial_delay=60, interval=60, backoff=2)
def website_changed(namespace: str | None, name: str | None, **_: Any) -> None:
    """A user wants another page, or the operator is back and missed what happened."""
    reconcile(str(namespace), str(name))


@kopf.on.event("apps", "v1", "deployments", labels={WEBSITE_LABEL: kopf.PRESENT})
def deployment_changed(namespace: str | None, labels: Mapping[str, str], **_: Any) -> None:
    """A Deployment got on, was changed by a user, or is gone."""
    reconcile(str(namespace), labels[WEBSITE_LABEL])


@kopf.on.delete(GROUP, VERSION, PLURAL, backoff=2)
def website_deleted(
    namespace: str | None,
    name: str | None,
    uid: str | None,
    spec: kopf.Spec,
    **_: Any,
) -> None:
    """Note in the audit that the page is no more; only then is the finalizer removed.

    The key is the Website's uid, so a second attempt writes the same entry again. What it owned is the
    garbage collector's affair.
    """
    entry = {
        "website": f"{namespace}/{name}",
        "title": spec["title"],
        "deleted": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    CoreV1Api().patch_namespaced_config_map(AUDIT, SYSTEM_NAMESPACE, {"data": {uid: json.dumps(entry)}})


def reconcile(namespace: str, name: str) -> None:
    """Make the cluster what the Website says, and its status what the cluster is.

    A handler of the Website and one of its Deployment may be here at the same time. The status goes with
    the version of the Website that it was made from: the API server refuses the one who is behind, who
    then looks again.
    """
    for _ in range(ATTEMPTS):
        try:
            return attempt(namespace, name)
        except ApiException as error:
            if error.status == 404:
                return None  # There is no such Website, or not any more.
            if error.status != 409:
                raise
    raise kopf.TemporaryError(f"{namespace}/{name} changes faster than its status can follow", delay=2)


def attempt(namespace: str, name: str) -> None:
    """One reconciliation.

    Raises:
        ApiException: With status 404 the Website is gone, with 409 it has changed meanwhile.
    """
    websites = CustomObjectsApi()
    website: Any = websites.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
    if website["metadata"].get("deletionTimestamp"):
        return
    CoreV1Api().patch_namespaced_config_map(name, namespace, config_map(website), **APPLY)
    CoreV1Api().patch_namespaced_service(name, namespace, service(website), **APPLY)
    applied = AppsV1Api().patch_namespaced_deployment(name, namespace, deployment(website), **APPLY)
    reported = status(website, ApiClient().sanitize_for_serialization(applied))
    if reported != website.get("status"):
        versioned = {
            "metadata": {"resourceVersion": website["metadata"]["resourceVersion"]},
            "status": reported,
        }
        websites.patch_namespaced_custom_object_status(GROUP, VERSION, namespace, PLURAL, name, versioned)
