"""Kubeconfigs of users: one file for one identity by one address."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from pytest_kubernix.access.authority import Authority
from pytest_kubernix.access.users import Users
from pytest_kubernix.layout import Layout

SERVER = "https://127.0.0.1:6443"
RELAY = "https://127.0.0.2:7000"


@pytest.fixture
def users(tmp_path: Path) -> Users:
    """Of a cluster of which there is only the authority."""
    layout = Layout(tmp_path)
    layout.pki.mkdir()
    pair = Authority.new("test", datetime.datetime.now(datetime.UTC)).pair
    (layout.pki / "ca.crt").write_text(pair.cert)
    (layout.pki / "ca.key").write_text(pair.key)
    return Users(layout, SERVER)


def content(path: Path) -> dict[str, Any]:
    text: dict[str, Any] = yaml.safe_load(path.read_text())
    return text


def test_a_user_reaches_the_server_by_the_address_that_was_given(users: Users) -> None:
    """With a server of its own, a user and an account are asked to go there; without, to the API server."""
    for server in (None, RELAY):
        for path in (users.certificate("jane", server=server), users.service_account("ns", "sa", "t", server=server)):
            assert content(path)["clusters"][0]["cluster"]["server"] == (server or SERVER)
            assert path.stat().st_mode & 0o077 == 0


def test_one_identity_has_one_file(users: Users) -> None:
    """The same user gets the same path again, and no other gets it, whatever its names look like."""
    assert users.certificate("jane", ["dev"]) == users.certificate("jane", ["dev"])
    different = [
        users.certificate("jane"),
        users.certificate("jane", ["dev"]),
        users.certificate("jane dev"),
        users.certificate("jane", [RELAY]),
        users.certificate("jane", server=RELAY),
        users.service_account("jane", RELAY, "t"),
    ]
    assert len(set(different)) == len(different)


def test_a_server_certificate_is_for_its_hosts(users: Users) -> None:
    """What a relay or a webhook shows is signed by the cluster's authority, for names and addresses alike."""
    authority = users.authority()
    pair = authority.server(["relay.test", "127.0.0.2"], now=datetime.datetime.now(datetime.UTC))
    certificate = x509.load_pem_x509_certificate(pair.cert.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.cert.encode()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["relay.test"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.2"]
