"""Whether new kinds of objects are served: in discovery, and by a storage that answers lists and watches.
Asked in this process and side by side, since a kubectl for each kind would wait its second for each, one by one."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..texts import shortened
from .call import failure, seconds
from .runner import Runner
from .waiting import wait_for

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# What kubectl and other clients look for kinds in (source: Kubernetes' aggregated discovery, GA since 1.30).
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# No object has this label: answers stay small, and are nevertheless those of a real list.
NOTHING = "kubernix.test/no-such-object"

SIDE_BY_SIDE = 8
PAUSE = 0.05
# Seconds after which a refusal counts: leave that was given just before is a moment later in the API server's mind.
STILL_FORBIDDEN = 1.0
REQUEST_TIMEOUT = 10.0
REASON_LENGTH = 500
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Answer:
    """What the API server said: its status and its body."""

    status: int
    body: bytes

    @property
    def reason(self) -> str:
        """Why it refused, in its own words."""
        text = self.body.decode(errors="replace")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["message"])
        return shortened(text.strip() or f"HTTP {self.status}", REASON_LENGTH)


@dataclass(frozen=True)
class Kind:
    """One version of a kind.

    Attributes:
        crd: The name of its definition.
        converted: Whether a webhook converts it, which need not run.
    """

    crd: str
    group: str
    version: str
    plural: str
    converted: bool

    @property
    def path(self) -> str:
        """Where its objects are."""
        return f"/apis/{self.group}/{self.version}/{self.plural}"


def wait_until_served(kubectl: Runner, crds: Sequence[str], *, timeout: float) -> None:
    """Wait until clients find new kinds, and can list, watch and create them.

    The condition Established comes first, and is too early: discovery follows, and then the API server
    opens the storage of the kind. Until it has, clients get 404, or 429 "storage is (re)initializing".
    A conversion webhook is not waited for: it may be what the test is about to start.

    Args:
        kubectl: Whose access it is asked with; it needs leave to list CRDs and the kinds.
        crds: The names of the CRDs, such as "websites.example.com".
        timeout: Limit for all of it in seconds.

    Raises:
        KubectlError: One is refused (names that another CRD has), or the time was up.
    """
    __tracebackhide__ = True
    deadline = time.monotonic() + seconds(timeout)
    asking = _Asking(kubectl.kubeconfig)
    try:
        pending = [(name, "") for name in dict.fromkeys(crds)]
        allowed_at = begun = time.monotonic()
        while pending := asking.not_served(pending):
            now = time.monotonic()
            allowed_at = allowed_at if asking.forbidden else now
            if now > min(deadline, allowed_at + STILL_FORBIDDEN):
                name, why = next((each for each in pending if each[1] == asking.forbidden), pending[0])
                _give_up(kubectl, name, why, len(pending), now - begun)
            time.sleep(PAUSE)
    finally:
        asking.close()


def _give_up(kubectl: Runner, name: str, why: str, count: int, waited: float) -> None:
    __tracebackhide__ = True
    if not why:
        # Not even established: kubectl knows how to tell what is wrong with an object.
        wait_for(kubectl, f"crd/{name}", "condition=Established", namespace=None, selector=None, timeout=0)
    more = f" (and {count - 1} more)" if count > 1 else ""
    how = f"crd/{name}{more} was not served {waited:.3g} s after it was applied"
    raise failure([str(kubectl.executable), "get", f"crd/{name}"], None, why or "not established", how=how)


class _Asking:
    """Asks one API server about CRDs, with the access of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=settings, persist_config=False)
        # urllib3 would sleep through each Retry-After, one after another.
        settings.retries = False
        settings.connection_pool_maxsize = SIDE_BY_SIDE
        if urlsplit(settings.host).hostname in LOOPBACK:
            # A proxy meant for the world outside can't reach it.
            settings.proxy = None
        self._settings = settings
        self._client = client.ApiClient(settings)
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, "crds")
        # The API server's words, if it refused an answer in the last round.
        self.forbidden = ""

    def close(self) -> None:
        """Hang up."""
        self._pool.shutdown()
        self._client.close()

    def not_served(self, pending: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of these CRDs, those that are not served yet, each with the reason; "" if they are not even established."""
        self.forbidden = ""
        names = [name for name, _ in pending]
        found = {crd["metadata"]["name"]: crd for crd in self._definitions(names)}
        left = [(name, "") for name in names if not _is_established(found.get(name))]
        if self.forbidden:
            return [(name, self.forbidden) for name in names]
        kinds = [kind for name in names if _is_established(found.get(name)) for kind in _kinds(found[name])]
        answer = self._get("/apis", accept=DISCOVERY)
        known = _discovered(answer)
        if answer.status != 200:
            return [*left, *((kind.crd, answer.reason) for kind in kinds)]
        hidden = [kind for kind in kinds if (kind.group, kind.version, kind.plural) not in known]
        left += [(kind.crd, f"{kind.group}/{kind.version} is not in /apis yet") for kind in hidden]
        shown = [kind for kind in kinds if kind not in hidden]
        for kind, why in zip(shown, self._pool.map(self._why_not, shown), strict=True):
            left += [(kind.crd, why)] if why else []
        return list(dict(reversed(left)).items())[::-1]

    def _definitions(self, names: Sequence[str]) -> list[dict[str, Any]]:
        if len(names) > SIDE_BY_SIDE:
            answers = [self._get(CRDS)]
        else:
            answers = list(self._pool.map(self._get, [f"{CRDS}/{name}" for name in names]))
        self._judge(answers)
        bodies = [json.loads(answer.body) for answer in answers if answer.status == 200]
        return [item for body in bodies for item in body.get("items", [body])]

    def _why_not(self, kind: Kind) -> str:
        # With a selector and without a limit, only the watch cache answers: the part that is ready last.
        answer = self._get(f"{kind.path}?resourceVersion=0&labelSelector={NOTHING}")
        if answer.status != 200 and kind.converted:
            # A list from the store itself tells whether it is the webhook that is in the way.
            stored = self._get(f"{kind.path}?limit=1")
            if "conversion webhook" in stored.reason:
                return ""
        self._judge([answer])
        return "" if answer.status == 200 else answer.reason

    def _judge(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            if answer.status in {401, 403}:
                self.forbidden = answer.reason

    def _get(self, path: str, *, accept: str = "application/json") -> Answer:
        from urllib3.exceptions import HTTPError

        headers = {"Accept": accept, **self._login()}
        try:
            response = self._client.rest_client.pool_manager.request(
                "GET", f"{self._settings.host}{path}", headers=headers, timeout=REQUEST_TIMEOUT, retries=False
            )
        except HTTPError as error:
            return Answer(0, f"{type(error).__name__}: {error}".encode())
        return Answer(response.status, response.data)

    def _login(self) -> dict[str, str]:
        """The header of a token, from the file or a program that it names; certificates are the connection's."""
        found = self._settings.auth_settings().get("BearerToken")
        value = found["value"] if found else None
        return {"authorization": value} if value else {}


def _is_established(crd: dict[str, Any] | None) -> bool:
    conditions = ((crd or {}).get("status") or {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _kinds(crd: dict[str, Any]) -> list[Kind]:
    spec = crd["spec"]
    converted = (spec.get("conversion") or {}).get("strategy") == "Webhook"
    return [
        Kind(crd["metadata"]["name"], spec["group"], version["name"], spec["names"]["plural"], converted)
        for version in spec["versions"]
        if version["served"]
    ]


def _discovered(answer: Answer) -> set[tuple[str, str, str]]:
    if answer.status != 200:
        return set()
    return {
        (group["metadata"].get("name", ""), version["version"], resource["resource"])
        for group in json.loads(answer.body).get("items", [])
        for version in group.get("versions", [])
        for resource in version.get("resources", [])
    }
