"""Readiness questions, each asked once and answered with "" (yes) or the reason why not yet.
They block for a short while, so they are asked from threads."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ..http_requests import ASK_TIMEOUT, AdminApi, UnixConnection
from ..plan.model import Probe
from ..texts import health

# What an error shows of an answer, in characters.
ANSWER_LENGTH = 500


def ask(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    """Ask one question, from the network that the current thread is in.

    Args:
        probe: The question.
        api: How to reach the API server.
        root: Translates a path inside the probe's namespace to one of ours.

    Returns:
        "" for yes, else what was seen instead.
    """
    try:
        return _KINDS[probe.kind](probe, api, root)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"


def _http(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    if probe.target.startswith("unix://"):
        path, _, url = probe.target.removeprefix("unix://").partition(":")
        return _answer(UnixConnection(root(path)), url)
    if probe.private:
        return _judge(*api.request("GET", probe.target))
    parts = urlsplit(probe.target)
    assert parts.hostname
    return _answer(http.client.HTTPConnection(parts.hostname, parts.port, timeout=ASK_TIMEOUT), parts.path)


def _answer(connection: http.client.HTTPConnection, path: str) -> str:
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return _judge(response.status, response.read())
    finally:
        connection.close()


def _judge(status: int, body: bytes) -> str:
    return "" if 200 <= status < 300 else f"HTTP {status}: {health(body.decode(errors='replace'), ANSWER_LENGTH)}"


def _object(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    status, body = api.request("GET", probe.target)
    if not 200 <= status < 300:
        return _judge(status, body)
    if not probe.expect:
        return ""
    for condition in json.loads(body).get("status", {}).get("conditions", []):
        if condition["type"] == probe.expect:
            return "" if condition["status"] == "True" else f"{probe.expect} is not True: {condition['message']}"
    return f"no condition {probe.expect} yet"


def _socket(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    if probe.target.startswith("/"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(ASK_TIMEOUT)
            client.connect(root(probe.target))
        return ""
    host, _, port = probe.target.rpartition(":")
    socket.create_connection((host, int(port)), timeout=ASK_TIMEOUT).close()
    return ""


def _link(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    # /proc/thread-self is the network of the asking thread, /proc/self that of the main one.
    with Path("/proc/thread-self/net/route").open(encoding="ascii") as table:
        if any(line.startswith(f"{probe.target}\t00000000") for line in table):
            return ""
    return f"no default route through {probe.target} yet"


def _dns(probe: Probe, api: AdminApi, root: Callable[[str], str]) -> str:
    """One A query (RFC 1035, section 4), because a resolver library would read the host's configuration."""
    server, _, name = probe.target.partition("/")
    host, _, port = server.rpartition(":")
    ident = secrets.randbits(16)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        # Lost datagrams are normal while proxies write their rules: ask again soon.
        client.settimeout(ASK_TIMEOUT / 10)
        client.connect((host, int(port)))
        client.send(query)
        answer = client.recv(512)
    if len(answer) < 12:
        return "a malformed answer"
    got, bits, _, answers = struct.unpack(">4H", answer[:8])
    if got != ident or bits & 0xF or not answers:
        return f"answer code {bits & 0xF} with {answers} records for {name}"
    return ""


_KINDS: dict[str, Callable[[Probe, AdminApi, Callable[[str], str]], str]] = {
    "http": _http,
    "object": _object,
    "socket": _socket,
    "link": _link,
    "dns": _dns,
}
