"""The conversation with a guardian, with somebody at the other end who answers late, or not at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_kubernix.errors import ClusterGone
from pytest_kubernix.guardian.connection import Connection

Serve = Callable[[Callable[[socket.socket], None]], Connection]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A connection to a socket whose other end does what the test says."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    threads = []
    connections = []

    def start(serving: Callable[[socket.socket], None]) -> Connection:
        def run() -> None:
            peer, _ = listener.accept()
            with peer:
                serving(peer)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        connections.append(Connection(tmp_path / "s", "0123abcd"))
        return connections[-1]

    yield start
    for connection in connections:
        connection.close()
    for thread in threads:
        thread.join()
    listener.close()


def answer(peer: socket.socket, request: bytes) -> None:
    """Answer a request with what it asked for."""
    asked = json.loads(request)
    peer.sendall(json.dumps({"answer": {"to": asked["op"]}, "number": asked["number"]}).encode() + b"\n")


def test_a_late_answer_is_not_taken_for_the_next(serve: Serve) -> None:
    """After a request that timed out, the next one gets its own answer."""

    def slow(peer: socket.socket) -> None:
        lines = peer.makefile("rb")
        first = lines.readline()
        second = lines.readline()
        for request in (first, second):
            answer(peer, request)

    connection = serve(slow)
    with pytest.raises(TimeoutError):
        connection.request({"op": "first"}, timeout=0.05)
    assert connection.request({"op": "second"}, timeout=5) == {"to": "second"}


def test_a_request_behind_a_slow_one_keeps_its_limit(serve: Serve) -> None:
    """A thread that asks while another's request is pending waits no longer than it said."""
    asked = threading.Event()
    done = threading.Event()

    def slow(peer: socket.socket) -> None:
        line = peer.makefile("rb").readline()
        asked.set()
        done.wait(10)
        answer(peer, line)

    connection = serve(slow)
    other = threading.Thread(target=connection.request, args=({"op": "slow"},))
    other.start()
    assert asked.wait(5)
    with pytest.raises(TimeoutError):
        connection.request({"op": "quick"}, timeout=0.05)
    done.set()
    other.join()


def test_a_guardian_that_hangs_up_is_gone(serve: Serve) -> None:
    """A closed connection is the error that says so, also for later requests."""
    connection = serve(lambda peer: None)
    for _ in range(2):
        with pytest.raises(ClusterGone, match="0123abcd is gone"):
            connection.request({"op": "status"}, timeout=5)


def test_an_error_of_a_callback_is_not_the_guardians(serve: Serve) -> None:
    """A terminal that nobody reads any more does not make a cluster gone."""

    def tell(peer: socket.socket) -> None:
        peer.makefile("rb").readline()
        peer.sendall(b'{"event": "phase"}\n')

    def broken(_: object) -> None:
        raise BrokenPipeError("the terminal")

    with pytest.raises(BrokenPipeError, match="the terminal"):
        serve(tell).request({"op": "a"}, on_event=broken, timeout=10)
