from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pytest_kubernix.access.authority import Authority
from pytest_kubernix.plan.identities import Pki, make_pki
from pytest_kubernix.plan.network import Network

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return make_pki(Network(ipaddress.IPv4Network("10.10.0.0/16"), 2), NOW)


def load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def test_every_certificate_is_signed_by_its_own_authority(pki: Pki) -> None:
    """The aggregator's client is signed by the authority kept for it, everything else by the cluster's."""
    for identity, pair in pki.pairs.items():
        authority = pki.front_proxy_ca if identity == "front-proxy-client" else pki.ca
        load(pair.cert).verify_directly_issued_by(load(authority.cert))


def test_authorities_can_sign_and_nothing_else_can(pki: Pki) -> None:
    """A leaked leaf key issues no identities."""
    for pair, is_authority in [(pki.ca, True), (pki.front_proxy_ca, True), *((p, False) for p in pki.pairs.values())]:
        assert load(pair.cert).extensions.get_extension_for_class(x509.BasicConstraints).value.ca is is_authority


def test_servers_name_every_address_they_are_reached_by(pki: Pki) -> None:
    """The API server is verified by loopback, by the nodes' address, by ClusterIP and by name; kubelets by node IP."""
    names = load(pki.pairs["kube-apiserver"].cert).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    addresses = {str(address) for address in names.value.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "10.10.0.1", "10.10.16.1"}
    assert "kubernetes.default.svc.cluster.local" in names.value.get_values_for_type(x509.DNSName)
    kubelet = load(pki.pairs["kubelet/node-2"].cert).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(a) for a in kubelet.value.get_values_for_type(x509.IPAddress)] == ["10.10.0.11"]


def test_kubelets_are_nodes_to_the_node_authorizer(pki: Pki) -> None:
    """A kubelet's certificate has the name and the group that the node authorizer goes by."""
    subject = load(pki.pairs["kubelet/node-1"].cert).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:node-1"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_clusters_share_no_key(pki: Pki) -> None:
    """Two clusters never have a key in common."""
    other = make_pki(Network(ipaddress.IPv4Network("10.10.0.0/16"), 2), NOW)
    keys = [
        [p.key for p in (x.ca, x.front_proxy_ca, *x.pairs.values())] + [x.service_account_key] for x in (pki, other)
    ]
    assert not set(keys[0]) & set(keys[1])
    assert len(set(keys[0])) == len(keys[0])


def test_users_get_client_certificates_only(pki: Pki) -> None:
    """A user's certificate carries name and groups, is signed by the cluster's authority, and can't serve."""
    certificate = load(Authority(pki.ca).client("jane", ["dev", "ops"], now=NOW).cert)
    certificate.verify_directly_issued_by(load(pki.ca.cert))
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [group.value for group in groups] == ["dev", "ops"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_servers_get_certificates_of_the_cluster_too(pki: Pki) -> None:
    """A server of a test gets a certificate for its addresses that the cluster's authority signed."""
    certificate = load(Authority(pki.ca).server(["hook.test", "127.0.0.1"], now=NOW).cert)
    certificate.verify_directly_issued_by(load(pki.ca.cert))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hook.test"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in usages
    with pytest.raises(ValueError, match="allowed is at least one name or address"):
        Authority(pki.ca).server([], now=NOW)


def test_certificates_hold_on_a_clock_that_is_behind(pki: Pki) -> None:
    """A certificate is valid an hour before it was made, since clocks of machines differ a little."""
    certificate = load(pki.pairs["admin"].cert)
    assert certificate.not_valid_before_utc == NOW - datetime.timedelta(hours=1)
