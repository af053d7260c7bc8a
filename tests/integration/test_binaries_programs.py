"""relay and pause as they behave when they run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kubernix.binaries import builder, bundles
from pytest_kubernix.binaries.cache import Cache
from tests.integration.binaries_tools import (
    LIMIT,
    accepts,
    children,
    comm,
    free_port,
    is_idle,
    read_all,
    run,
    running,
    wait_until,
)

pytestmark = [pytest.mark.builds, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def programs() -> Path:
    """The directory of the built programs, from the user's cache."""
    return builder.build(bundles.programs(), Cache())


class TestRelay:
    """relay between real sockets."""

    @pytest.fixture(params=["127.0.0.1", "::1"])
    def host(self, request: pytest.FixtureRequest) -> str:
        """A loopback address of each family."""
        host = str(request.param)
        try:
            socket.create_server((host, 0), family=family_of(host)).close()
        except OSError:
            pytest.skip(f"no {host} on this machine")
        return host

    @contextlib.contextmanager
    def relay(self, programs: Path, host: str, target: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """A relay to a port of the same host; gives its process and its own port."""
        port = free_port()
        command = [programs / "relay", "-listen", at(host, port), "-to", at(host, target)]
        with running(command) as process:
            wait_until(lambda: process.poll() is not None or accepts(host, port), "the relay to listen")
            yield process, port

    def test_half_closed_connection_still_answers(self, programs: Path, host: str) -> None:
        """When the client has sent all and says so, the other end hears it, and can answer at length."""
        answer = b"answer" * 100_000
        heard: list[bytes] = []

        def serve(listener: socket.socket) -> None:
            while not heard:
                connection, _ = listener.accept()
                with connection:
                    text = read_all(connection)
                    if text:  # The probe for listening sends nothing.
                        heard.append(text)
                        connection.sendall(answer)

        with socket.create_server((host, 0), family=family_of(host)) as listener:
            serving = threading.Thread(target=serve, args=(listener,), daemon=True)
            serving.start()
            with (
                self.relay(programs, host, listener.getsockname()[1]) as (_, port),
                socket.create_connection((host, port), timeout=LIMIT) as client,
            ):
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                received = read_all(client)
            serving.join(LIMIT)
        assert (heard, received) == ([b"question"], answer)

    def test_failure_is_one_line_and_no_end(self, programs: Path) -> None:
        """A target that refuses closes the client, is one line on standard error, and the relay goes on."""
        with self.relay(programs, "127.0.0.1", free_port()) as (process, port):
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
                    assert client.recv(1) == b""
            process.terminate()
            _, error = process.communicate(timeout=LIMIT)
        assert process.returncode == 0
        lines = error.splitlines()
        assert len(lines) == 3  # One more for the probe that it listens.
        assert all(line.startswith("relay: ") and "connection refused" in line for line in lines)

    def test_waits_for_an_address(self, programs: Path) -> None:
        """An address that can't be had yet is tried again until it can."""
        with socket.create_server(("127.0.0.1", 0), backlog=1) as taken:
            port = taken.getsockname()[1]
            process = subprocess.Popen(
                [programs / "relay", "-listen", at("127.0.0.1", port), "-to", "127.0.0.1:1"],
                stderr=subprocess.DEVNULL,
            )
            wait_until(lambda: comm(process.pid) == "relay" and is_idle(process.pid), "the relay to wait")
        try:
            wait_until(lambda: accepts("127.0.0.1", port), "the relay to listen")
            assert process.poll() is None
        finally:
            process.terminate()
            assert process.wait(LIMIT) == 0

    def test_gives_up_on_an_address_that_never_comes(self, programs: Path) -> None:
        """After its patience it ends with one line that names the address."""
        command = [programs / "relay", "-listen", "192.0.2.1:80", "-to", "127.0.0.1:1", "-patience", "100ms"]
        code, _, error = run(command)
        assert (code, error.count(b"\n"), b"192.0.2.1:80" in error) == (1, 1, True)

    @pytest.mark.parametrize("arguments", [[], ["-listen", "x"], ["-listen", "127.0.0.1:0", "-to", "nowhere"]])
    def test_wrong_arguments_end_it(self, programs: Path, arguments: list[str]) -> None:
        """Without two addresses it doesn't start."""
        assert run([programs / "relay", *arguments])[0] != 0


def family_of(host: str) -> socket.AddressFamily:
    """The address family of a literal address."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def at(host: str, port: int) -> str:
    """Host and port as one word."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class TestPause:
    """pause as the first process of a PID namespace."""

    def test_version(self, programs: Path) -> None:
        """It says which version it is, the tag of its image."""
        assert run([programs / "pause", "-v"]) == (0, b"pause 1\n", b"")

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_on_a_signal(self, programs: Path, number: signal.Signals) -> None:
        """SIGTERM and SIGINT end it, with code 0."""
        # The child that ended before is reaped once signals are handled, which shows the moment.
        with running(
            ["sh", "-c", 'true & while [ -e /proc/$!/exe ]; do :; done; exec "$0"', programs / "pause"]
        ) as process:
            wait_until(lambda: comm(process.pid) == "pause" and children(process.pid) == [], "pause to run")
            process.send_signal(number)
            assert process.wait(LIMIT) == 0

    @pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace takes root")
    def test_reaps_orphans_for_ever(self, programs: Path) -> None:
        """As PID 1 it collects every orphan, also many at once, and later ones as well."""
        # Each inner shell leaves twenty children behind; the last ones end when standard input is closed.
        script = 'for i in 1 2 3 4 5 6 7 8 9 10; do ( (read line) <&3 & (read line) <&3 & ); done; exec "$0"'
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", f"exec 3<&0; {script}", programs / "pause"],
            stdin=subprocess.PIPE,
        )
        try:
            wait_until(lambda: pauses(process.pid), "pause to run")
            [pause] = pauses(process.pid)
            wait_until(lambda: len(children(pause)) == 20, "the orphans to arrive")
            assert process.stdin is not None
            process.stdin.close()
            wait_until(lambda: children(pause) == [], "the orphans to be reaped")
            os.kill(pause, signal.SIGTERM)
            assert process.wait(LIMIT) == 0
        finally:
            process.kill()
            process.wait()


def pauses(parent: int) -> list[int]:
    """Which children of a process are pause by now."""
    return [pid for pid in children(parent) if comm(pid) == "pause"]
