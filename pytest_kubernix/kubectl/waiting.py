"""Waiting: for a condition of objects, and for a new kind of object to be really served.
Both poll kubectl, both have a limit, and both say what they saw when the time is up."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from .call import KubectlResult, failure, seconds
from .diagnosis import describe
from .runner import Runner, selected

# kubectl apply prints one such line for each CRD, whatever kind of manifest it came from.
_APPLIED_CRD = re.compile(r"^customresourcedefinition\.apiextensions\.k8s\.io/(\S+) ", re.MULTILINE)

# No object has this label: answers stay small, and are nevertheless those of a real list.
_NOTHING = "kubernix.test/no-such-object"


def wait_for(
    kubectl: Runner, resource: str, condition: str, *, namespace: str | None, selector: str | None, timeout: float
) -> KubectlResult:
    """Run `kubectl wait`, again while the object is not there yet.

    Raises:
        KubectlError: The time was up, or time would not help. Its text says what the objects look like.
        ValueError: The condition or the limit is none.
    """
    __tracebackhide__ = True
    if not re.match(r"(condition|jsonpath)=|(create|delete)$", condition):
        raise ValueError(
            f"condition={condition!r}: allowed are condition=Available (or =Ready, ...), "
            "jsonpath={.status.phase}=Running, create and delete"
        )
    deadline = time.monotonic() + seconds(timeout)
    args = ["wait", resource, f"--for={condition}", *selected(selector)]
    while True:
        # kubectl takes 0 for "look once", and a negative limit for a week.
        left = max(deadline - time.monotonic(), 0)
        # kubectl keeps the limit itself, and says what it waited for; ours is the net below it.
        result = kubectl(*args, f"--timeout={left:.3f}s", namespace=namespace, check=False, timeout=left + 10)
        if result.returncode == 0:
            return result
        # To kubectl, an object that is not there yet is an error; a test waits for that one most often.
        missing = "(NotFound)" in result.stderr or "no matching resources found" in result.stderr
        if left == 0 or not missing:
            details = describe(kubectl, resource, result.stderr, namespace=namespace, selector=selector)
            # The last look had no time left; who reads this has given more.
            command = [f"--timeout={timeout:g}s" if word.startswith("--timeout=") else word for word in result.command]
            raise failure(command, result.returncode, result.stderr, result.stdout, details=details)
        time.sleep(min(left, 0.2))


def applied_crds(stdout: str) -> list[str]:
    """The names of the CustomResourceDefinitions that a `kubectl apply` speaks of."""
    return _APPLIED_CRD.findall(stdout)


def wait_until_served(kubectl: Runner, crds: Sequence[str], *, timeout: float) -> None:
    """Wait until clients find a new kind, and can list, watch and create it.

    The condition Established comes first, and is too early: discovery follows, and then the API server
    opens the storage of the kind. Until it has, who asks gets 404, or 429 "storage is (re)initializing".

    Args:
        kubectl: Who asks; it needs leave to list CRDs and the kinds.
        crds: The names of the CRDs, such as "websites.example.com".
        timeout: Limit for all of it in seconds.

    Raises:
        KubectlError: One is refused (names that another CRD has), or the time was up.
    """
    __tracebackhide__ = True
    deadline = time.monotonic() + timeout
    for name in crds:
        left = max(deadline - time.monotonic(), 0)
        wait_for(kubectl, f"crd/{name}", "condition=Established", namespace=None, selector=None, timeout=left)
    found = json.loads(kubectl("get", "crd", *crds, "--output=json").stdout)
    kinds = [
        (crd["spec"]["group"], version["name"], crd["spec"]["names"]["plural"])
        for crd in found.get("items", [found])
        for version in crd["spec"]["versions"]
        if version["served"]
    ]
    while kinds:
        result, reason = _look(kubectl, kinds, max(deadline - time.monotonic(), 1.0))
        if not reason:
            return
        # Who may not ask is told so at once: time does not change it.
        if time.monotonic() > deadline or "(Forbidden)" in reason:
            how = f"not served {timeout:.3g} s after it was applied"
            raise failure(result.command, result.returncode, reason, result.stdout, how=how)
        time.sleep(0.1)


def _look(kubectl: Runner, kinds: Sequence[tuple[str, str, str]], limit: float) -> tuple[KubectlResult, str]:
    """The last thing that was asked, and why not all is served yet, or ""."""
    # What clients look for kinds in: the list of groups here, and the aggregated one by kubectl itself below.
    result = kubectl("get", "--raw=/apis", check=False, timeout=limit)
    if result.returncode != 0:
        return result, result.stderr
    known = _group_versions(json.loads(result.stdout))
    for group, version, plural in kinds:
        if f"{group}/{version}" not in known:
            return result, f"{group}/{version} is not in /apis yet"
        # With a selector and without a limit, only the watch cache answers: the part that is ready last.
        path = f"/apis/{group}/{version}/{plural}?resourceVersion=0&labelSelector={_NOTHING}"
        result = kubectl("get", f"--raw={path}", check=False, timeout=limit)
        if result.returncode != 0:
            return result, result.stderr
    names = ",".join(f"{plural}.{version}.{group}" for group, version, plural in kinds)
    args = ("get", names, f"--selector={_NOTHING}", "--all-namespaces", "--output=name")
    result = kubectl(*args, check=False, timeout=limit)
    return result, result.stderr if result.returncode != 0 else ""


def _group_versions(groups: dict[str, Any]) -> set[str]:
    return {version["groupVersion"] for group in groups["groups"] for version in group["versions"]}
