"""The conversation with a guardian, with another end that answers late, in another order, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_kubernix.errors import ClusterGone, KubernixError
from pytest_kubernix.guardian import protocol
from pytest_kubernix.guardian.connection import Connection
from pytest_kubernix.guardian.protocol import Attach, Control, Done, GetStatus, Keep, PhaseChanged
from pytest_kubernix.handle import Action

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
    """Answer a request with its own number, as the moment of the effect."""
    number = protocol.parse(request).number
    peer.sendall(protocol.answer_line(number, Done(float(number))))


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
        connection.request(Keep(), timeout=0.05)
    assert connection.request(Keep(), timeout=5) == Done(2.0)


def test_a_request_is_answered_beside_a_slow_one(serve: Serve) -> None:
    """A thread that asks while another's request is pending gets its answer before that one."""

    def backwards(peer: socket.socket) -> None:
        lines = peer.makefile("rb")
        asked = [lines.readline() for _ in range(2)]
        answer(peer, asked[1])
        # The quick one has been answered, and asks again.
        answer(peer, lines.readline())
        answer(peer, asked[0])

    connection = serve(backwards)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(connection.request, Control("etcd", Action.RESTART), timeout=10)
        quick = {connection.request(Keep(), timeout=5).at for _ in range(2)}
        assert slow.result(10).at not in quick


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
    other = threading.Thread(target=connection.request, args=(Keep(),))
    other.start()
    assert asked.wait(5)
    with pytest.raises(TimeoutError):
        connection.request(GetStatus(), timeout=0.05)
    done.set()
    other.join()


def test_a_guardian_that_hangs_up_is_gone(serve: Serve) -> None:
    """A closed connection is the error that says so, also for later requests."""
    connection = serve(lambda peer: None)
    for _ in range(2):
        with pytest.raises(ClusterGone, match="0123abcd is gone"):
            connection.request(GetStatus(), timeout=5)


def test_all_that_wait_are_told_that_it_is_gone(serve: Serve) -> None:
    """When the guardian dies, every thread's request ends, not only one."""

    def die(peer: socket.socket) -> None:
        peer.makefile("rb").readline()

    connection = serve(die)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(connection.request, Keep(), timeout=10) for _ in range(3)]
        for one in waiting:
            with pytest.raises(ClusterGone, match="0123abcd is gone"):
                one.result(10)


def test_a_guardian_of_another_version_is_told(serve: Serve) -> None:
    """A cluster that outlived an upgrade of this package is an error that says so, and never a traceback."""

    def other(peer: socket.socket) -> None:
        number = protocol.parse(peer.makefile("rb").readline()).number
        peer.sendall(protocol.Line(number, body={"state": "ready"}).encode())

    with pytest.raises(KubernixError, match="does not speak this version's language"):
        serve(other).request(GetStatus(), timeout=10)


def test_an_error_of_a_callback_is_not_the_guardians(serve: Serve) -> None:
    """A terminal that is not read any more does not make a cluster gone."""

    def tell(peer: socket.socket) -> None:
        peer.makefile("rb").readline()
        peer.sendall(protocol.event_line(PhaseChanged("ControlPlane", 1)))

    def broken(_: object) -> None:
        raise BrokenPipeError("the terminal")

    with pytest.raises(BrokenPipeError, match="the terminal"):
        serve(tell).request(Attach("me"), on_event=broken, timeout=10)
