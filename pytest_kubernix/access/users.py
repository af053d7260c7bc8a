"""Users and service accounts of a running cluster: for each a kubeconfig of its own, which RBAC really limits.
The same identity gets the same file; any of them can reach the API server by another address."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..layout import Layout
from . import kubeconfig
from .authority import Authority, KeyPair

# What the common name and the organization of a certificate hold (RFC 5280, ub-common-name).
NAME_LIMIT = 64


class Users:
    """Makes kubeconfigs for one cluster.

    Args:
        layout: The cluster's directory, which has its authority.
        server: URL of its API server.
    """

    def __init__(self, layout: Layout, server: str) -> None:
        self._layout = layout
        self._server = server

    def authority(self) -> Authority:
        """The cluster's authority, which signs clients and servers."""
        return Authority(KeyPair(self._ca(), (self._layout.pki / "ca.key").read_text(encoding="utf-8")))

    def certificate(self, name: str, groups: Sequence[str] = (), *, server: str | None = None) -> Path:
        """A user with a client certificate.

        Args:
            name: The user's name.
            groups: The groups it is in.
            server: URL to reach the API server by; None is the usual one.

        Returns:
            Its kubeconfig.

        Raises:
            ValueError: A name is empty or longer than 64 bytes, which a certificate can't say; or `groups` is a text.
        """
        if isinstance(groups, str):
            # Every letter would be a group, and RBAC would say no for a reason that no user sees.
            raise ValueError(f"groups={groups!r}: allowed is a list of names, such as [{groups!r}]")
        for text in (name, *groups):
            if not 1 <= len(text.encode()) <= NAME_LIMIT:
                raise ValueError(f"{text!r}: a user or a group has a name of 1 to {NAME_LIMIT} bytes")
        authority = self.authority()
        pair = authority.client(name, groups, now=datetime.now(UTC))
        text = kubeconfig.render(
            server=server or self._server, ca_pem=authority.pair.cert, user=name, cert_pem=pair.cert, key_pem=pair.key
        )
        return self._write("user", server, (name, *groups), text)

    def service_account(self, namespace: str, name: str, token: str, *, server: str | None = None) -> Path:
        """A service account with a token.

        Args:
            namespace: The namespace of the account; it is the kubeconfig's default namespace too.
            name: The account's name.
            token: A token of it.
            server: URL to reach the API server by; None is the usual one.

        Returns:
            Its kubeconfig.
        """
        text = kubeconfig.render(
            server=server or self._server, ca_pem=self._ca(), user=name, token=token, namespace=namespace
        )
        return self._write("serviceaccount", server, (namespace, name), text)

    def _ca(self) -> str:
        return (self._layout.pki / "ca.crt").read_text(encoding="utf-8")

    def _write(self, kind: str, server: str | None, identity: tuple[str, ...], text: str) -> Path:
        """Keep a kubeconfig where only this user reads it."""
        folder = self._layout.users
        folder.mkdir(mode=0o700, exist_ok=True)
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(identity))[:60]
        # Names may hold anything, so what tells two files apart is a digest of the whole identity.
        digest = hashlib.sha256("\0".join((kind, server or "", *identity)).encode()).hexdigest()[:8]
        path = folder / f"{readable}-{digest}.kubeconfig"
        # mkstemp makes it 0600 from the first byte; the rename keeps readers from half a file.
        descriptor, unfinished = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(unfinished).replace(path)
        return path
