"""Asks an API server that may be dead, paused or slow: with a limit for each question and for all together.
After one that got no answer nothing is asked any more, since every further one would cost as long."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from ..drivers.base import Diagnostics
from ..errors import KubectlError
from ..handle import ClusterHandle
from ..kubectl import Kubectl

API_SERVER = "kube-apiserver"


class Subject(Protocol):
    """A cluster, as far as this package looks at one; `Cluster` is one."""

    @property
    def handle(self) -> ClusterHandle:
        """Where it is."""

    @property
    def kubectl(self) -> Kubectl:
        """Its kubectl."""

    def diagnostics(self, *, timeout: float) -> Diagnostics:
        """What its driver knows; see `RunningCluster.diagnostics`."""


class UnavailableError(Exception):
    """Something could not be had; the text is one line that says why."""


class Api:
    """The API of one cluster, for one report.

    Args:
        kubectl: Asks.
        known: What the driver knows: an API server that does not run is not asked at all.
        total: Limit for everything together, in seconds.
        each: Limit for each question, in seconds.
    """

    def __init__(self, kubectl: Kubectl, known: Diagnostics, *, total: float, each: float) -> None:
        self._kubectl = kubectl
        self._total = total
        self._each = each
        self._deadline = time.monotonic() + total
        state = known.components.get(API_SERVER, "running")
        self._silent = "" if state == "running" else f"{API_SERVER} is {state}"

    def run(self, *args: str, namespace: str | None = None, partly: bool = False) -> str:
        """What kubectl prints.

        Args:
            args: What one would type after `kubectl`.
            namespace: The namespace to act in.
            partly: Whether the output of a kubectl that failed will do, if there is any.

        Raises:
            UnavailableError: There is no answer.
        """
        limit = min(self._each, self._deadline - time.monotonic())
        if self._silent or limit <= 0:
            raise UnavailableError(self._silent or f"the time for all of it, {self._total:g} s, was up")
        try:
            result = self._kubectl(*args, namespace=namespace, check=False, timeout=limit)
        except KubectlError:
            self._silent = f"the API server gave no answer within {limit:.1f} s"
            raise UnavailableError(self._silent) from None
        except OSError as error:
            self._silent = f"kubectl does not run: {error}"
            raise UnavailableError(self._silent) from None
        if result.returncode != 0 and not (partly and result.stdout.strip()):
            # kubectl tells each of its tries, and the result last.
            raise UnavailableError((result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1])
        return result.stdout

    def items(self, kinds: str, *, namespace: str | None = None) -> list[dict[str, Any]]:
        """The objects of these kinds, of one namespace or of all.

        Args:
            kinds: Separated by commas.
            namespace: None is all namespaces, and what belongs to none.

        Raises:
            UnavailableError: There is no answer.
        """
        where = [] if namespace else ["--all-namespaces"]
        text = self.run("get", kinds, "--output=json", *where, namespace=namespace, partly=True)
        try:
            found: list[dict[str, Any]] = json.loads(text)["items"]
        except ValueError as error:
            raise UnavailableError(f"kubectl's answer is no JSON: {error}") from None
        return found
