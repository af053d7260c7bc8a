"""Objects of components are created once, whatever becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from pytest_kubernix.boot.readiness import Deadline, Readiness
from pytest_kubernix.errors import ComponentError
from pytest_kubernix.plan.model import ApiObject

SERVICE = ApiObject("/api/v1/namespaces/kube-system/services", {"metadata": {"name": "kube-dns"}})


class Api:
    """An API server that keeps objects; the answers to the first POSTs are these."""

    def __init__(self, *answers: object) -> None:
        self._answers: Iterator[object] = iter(answers)
        self.kept: set[str] = set()
        self.posts = 0

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        if method == "GET":
            return (200 if path in self.kept else 404), b""
        assert body is not None
        self.posts += 1
        name = f"{path}/{body['metadata']['name']}"
        answer = next(self._answers, None)
        if isinstance(answer, int):
            return answer, b"[-]etcd failed"
        if name in self.kept:
            return 422, b"spec.clusterIP: provided IP is already allocated"
        self.kept.add(name)
        if isinstance(answer, Exception):
            raise answer
        return 201, b""


def create(api: Api, seconds: float = 30) -> None:
    async def main() -> None:
        readiness = Readiness(cast(Any, None), cast(Any, api))
        try:
            await readiness.create("coredns", SERVICE, Deadline(seconds))
        finally:
            readiness.close()

    asyncio.run(main())


def test_an_object_whose_answer_was_late_is_found() -> None:
    """It was created and the answer lost: a second request would be refused for its address, and is not made."""
    api = Api(TimeoutError("timed out"))
    create(api)
    assert api.posts == 1


def test_a_fresh_api_server_is_asked_again() -> None:
    """A refusal for now is not the last word."""
    api = Api(503, 403)
    create(api)
    assert api.posts == 3


def test_the_last_refusal_is_told() -> None:
    """When time is up, the error names the component, the path and what the API server said."""
    with pytest.raises(ComponentError, match=r"coredns.*services was not accepted: HTTP 403: \[-\]etcd failed"):
        create(Api(*[403] * 10_000), seconds=0.05)
