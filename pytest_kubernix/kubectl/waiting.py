"""Waiting for a condition of objects, by `kubectl wait`; for new kinds, `serving.py` waits.
It has a limit, and says what it saw when the time is up."""

from __future__ import annotations

import re
import time

from .call import KubectlResult, failure, seconds
from .diagnosis import describe
from .runner import Runner, one_word, selected

# kubectl apply prints one such line for each CRD, whatever kind of manifest it came from.
_APPLIED_CRD = re.compile(r"^customresourcedefinition\.apiextensions\.k8s\.io/(\S+) ", re.MULTILINE)


def wait_for(
    kubectl: Runner, resource: str, condition: str, *, namespace: str | None, selector: str | None, timeout: float
) -> KubectlResult:
    """Run `kubectl wait`, again while the object is not there yet.

    Raises:
        KubectlError: The time was up, or time would not help. Its text says what the objects look like.
        ValueError: The condition or the limit is none.
    """
    __tracebackhide__ = True
    one_word(".wait", resource)
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
