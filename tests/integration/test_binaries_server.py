"""test-server over HTTP, as pods run it and tests ask it."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
from tests.integration.binaries_tools import LIMIT, accepts, free_port, run, running, wait_until

pytestmark = [pytest.mark.builds, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of the built programs, from the user's cache."""
    return builder.build(bundles.programs(), Cache())


class TestServer:
    """test-server over HTTP."""

    @pytest.fixture
    def process(self, programs: Path) -> Iterator[subprocess.Popen[str]]:
        """A server on a port that the kernel chose."""
        with running([programs / "test-server", "-port", "0"], env={"OF_THE_POD": "yes"}) as process:
            yield process

    @pytest.fixture
    def base(self, process: subprocess.Popen[str]) -> str:
        """The server's URL."""
        assert process.stdout is not None
        return f"http://127.0.0.1:{process.stdout.readline().rpartition(':')[2].strip()}"

    def ask(self, url: str, body: bytes | None = None) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(url, data=body, timeout=LIMIT) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def fetch(self, base: str, url: str, **parameters: str) -> tuple[int, str]:
        """What /url answers about another URL."""
        return self.ask(f"{base}/url?{urllib.parse.urlencode({'u': url, **parameters})}")

    def test_root_answers_the_hostname(self, base: str) -> None:
        """`/` is the hostname, which in a pod is the pod's name, and nothing below it exists."""
        assert self.ask(f"{base}/") == (200, socket.gethostname() + "\n")
        assert self.ask(f"{base}/healthz") == (200, "ok\n")
        assert self.ask(f"{base}/nowhere")[0] == 404

    def test_url_passes_on_what_another_answers(self, base: str) -> None:
        """`/url` fetches by name and gives the other's status and body."""
        by_name = base.replace("127.0.0.1", "localhost")
        assert self.fetch(base, f"{by_name}/healthz") == (200, "ok\n")
        assert self.fetch(base, f"{by_name}/nowhere")[0] == 404

    def test_url_that_fails_is_a_502_with_the_reason(self, base: str) -> None:
        """Who can't be reached, or isn't known, gives 502 and the error as text."""
        status, text = self.fetch(base, f"http://127.0.0.1:{free_port()}/")
        assert (status, "connection refused" in text) == (502, True)
        assert self.fetch(base, "http://no-such-host.invalid/")[0] == 502

    def test_url_gives_up_after_its_timeout(self, base: str) -> None:
        """A server that accepts and never answers ends as 502 when the given time is up."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            assert self.fetch(base, url, timeout="100ms")[0] == 502
        assert self.fetch(base, base, timeout="soon")[0] == 400
        assert self.ask(f"{base}/url")[0] == 400

    def test_env_shows_the_environment(self, base: str) -> None:
        """`/env` has a line for each variable."""
        assert "OF_THE_POD=yes" in self.ask(f"{base}/env")[1].splitlines()

    def test_echo_shows_the_request(self, base: str) -> None:
        """`/echo` tells method, headers and body as JSON."""
        echo = json.loads(self.ask(f"{base}/echo?a=1", b"hello")[1])
        assert (echo["method"], echo["query"], echo["body"]) == ("POST", "a=1", "hello")
        assert echo["headers"]["Content-Length"] == ["5"]

    def test_exit_answers_and_exits(self, process: subprocess.Popen[str], base: str) -> None:
        """`/exit?code=3` answers first and then ends the process with that code; nonsense ends nothing."""
        assert self.ask(f"{base}/exit?code=300")[0] == 400
        assert self.ask(f"{base}/exit?code=3")[0] == 200
        assert process.wait(LIMIT) == 3

    @pytest.mark.parametrize("where", ["labels", "annotations"])
    def test_admission_denies_what_asks_for_it(self, base: str, where: str) -> None:
        """A review is denied with the message that the object carries, and otherwise allowed, with its uid."""
        allowed = self.admit(base, {"object": {"metadata": {where: {"other": "x"}}}})
        assert allowed == {"uid": "u-1", "allowed": True}
        denied = self.admit(base, {"object": {"metadata": {where: {"kubernix.test/deny": "not-today"}}}})
        assert (denied["allowed"], denied["status"]["message"]) == (False, "not-today")

    def test_admission_judges_a_deletion_by_the_old_object(self, base: str) -> None:
        """A DELETE carries no object, only what it was."""
        marked = {"metadata": {"labels": {"kubernix.test/deny": "keep"}}}
        verdict = self.admit(base, {"operation": "DELETE", "object": None, "oldObject": marked})
        assert verdict["allowed"] is False

    def test_admission_refuses_nonsense(self, base: str) -> None:
        """What is no AdmissionReview is a 400, never an allowance."""
        assert [self.ask(f"{base}/admit", body)[0] for body in (b"{", b"{}", b"")] == [400, 400, 400]

    def admit(self, base: str, request: Mapping[str, object]) -> dict[str, Any]:
        """The response of a review."""
        review = {
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u-1", "operation": "CREATE", **request},
        }  # fmt: skip
        answer = json.loads(self.ask(f"{base}/admit", json.dumps(review).encode())[1])
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: dict[str, Any] = answer["response"]
        return response

    def test_sigterm_lets_requests_finish(self, process: subprocess.Popen[str], base: str) -> None:
        """After SIGTERM a request in flight is still answered, and the exit code is 0."""
        answers: list[tuple[int, str]] = []
        with socket.create_server(("127.0.0.1", 0)) as slow:
            url = f"http://127.0.0.1:{slow.getsockname()[1]}/"
            asking = threading.Thread(target=lambda: answers.append(self.fetch(base, url)))
            asking.start()
            connection, _ = slow.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                port = int(base.rpartition(":")[2])
                wait_until(lambda: not accepts("127.0.0.1", port), "the server to close its port")
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        asking.join(LIMIT)
        assert answers == [(200, "late")]
        assert process.wait(LIMIT) == 0

    def test_tls(self, programs: Path, tmp_path: Path) -> None:
        """With a certificate and a key it serves HTTPS; with one of the two it refuses to start."""
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        made = run([
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", key, "-out", certificate,
        ])  # fmt: skip
        if made[0] != 0:
            pytest.skip("no openssl to make a certificate with")
        command = [programs / "test-server", "-port", "0", "-tls-cert", certificate]
        assert run(command)[0] == 1
        with running([*command, "-tls-key", key]) as process:
            assert process.stdout is not None
            port = process.stdout.readline().rpartition(":")[2].strip()
            context = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(f"https://localhost:{port}/healthz", context=context, timeout=LIMIT) as answer:
                assert answer.read() == b"ok\n"

    def test_port_in_use_is_an_error(self, programs: Path) -> None:
        """A port that is taken ends it with a line that says so."""
        with socket.create_server(("", 0)) as taken:
            code, _, error = run([programs / "test-server", "-port", str(taken.getsockname()[1])])
        assert (code, b"address already in use" in error) == (1, True)
