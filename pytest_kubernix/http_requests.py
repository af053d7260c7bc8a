"""Requests over HTTP that need no library: to a Unix socket, and to the API server as its administrator.
Boots and rollbacks make hundreds of them, and a library's import alone would take a part of a boot."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# One question's limit in seconds; a caller that waits asks again until its own limit.
ASK_TIMEOUT = 2.0


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a Unix socket.

    Args:
        path: The socket.
        timeout: Limit in seconds for each step.
    """

    def __init__(self, path: str | Path, timeout: float = ASK_TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class AdminApi:
    """The few requests that boots and rollbacks make of the API server, as its administrator.

    Args:
        server: URL of the API server.
        ca: Path of the cluster's authority.
        cert: Path of the administrator's certificate.
        key: Path of its key.
    """

    def __init__(self, server: str, ca: str, cert: str, key: str) -> None:
        self._server = server
        self._files = (ca, cert, key)
        self._context: ssl.SSLContext | None = None
        # One connection per thread and server: a handshake for each question costs both sides more than the answer.
        self._local = threading.local()

    @property
    def context(self) -> ssl.SSLContext:
        """Verifies by our own authority only, and presents the administrator's certificate."""
        if self._context is None:
            ca, cert, key = self._files
            context = ssl.create_default_context(cafile=ca)
            context.load_cert_chain(cert, key)
            self._context = context
        return self._context

    def request(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> tuple[int, bytes]:
        """One request; `url` is whole, or a path on the API server.

        Raises:
            OSError, http.client.HTTPException: There was no answer.
        """
        parts = urlsplit(url if "://" in url else self._server + url)
        assert parts.hostname
        connections: dict[str, http.client.HTTPSConnection] = self._local.__dict__
        fresh = parts.netloc not in connections
        connection = connections.setdefault(
            parts.netloc,
            http.client.HTTPSConnection(parts.hostname, parts.port, timeout=ASK_TIMEOUT, context=self.context),
        )
        try:
            connection.request(
                method,
                f"{parts.path}?{parts.query}" if parts.query else parts.path,
                body=json.dumps(body) if body is not None else None,
                headers={"Content-Type": "application/json", "Accept": accept},
            )
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            del connections[parts.netloc]
            # A server that was restarted has closed what was kept open; a fresh connection tells the truth.
            if fresh:
                raise
            return self.request(method, url, body, accept=accept)

    def close(self) -> None:
        """Hang up, as far as this thread is concerned."""
        for connection in self._local.__dict__.values():
            connection.close()
        self._local.__dict__.clear()
