"""Keys and certificates of one cluster: made fresh for each, never stored beyond its run directory.
Pure but for the randomness that keys are; the time is handed in."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..plan.network import Network

# A test cluster lives for minutes; a kept one for days. Clocks of machines differ a little.
VALID_FOR = datetime.timedelta(days=30)
CLOCK_TOLERANCE = datetime.timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    cert: str
    key: str


@dataclass(frozen=True)
class Pki:
    """All of a cluster's keys.

    Attributes:
        ca: The cluster's authority; signs clients and servers.
        front_proxy_ca: Authority of the aggregator only, as Kubernetes demands it apart.
        service_account_key: Private key that signs service account tokens, PEM.
        service_account_pub: Its public half, PEM.
        pairs: Identity → its certificate; see `make_pki` for the names.
    """

    ca: KeyPair
    front_proxy_ca: KeyPair
    service_account_key: str
    service_account_pub: str
    pairs: dict[str, KeyPair]


def make_pki(network: Network, now: datetime.datetime) -> Pki:
    """Make every key and certificate that the components present or check.

    Identities: "kube-apiserver" (server), "kube-apiserver-kubelet-client", "front-proxy-client", "admin",
    "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", and "kubelet/<node>" for each node.

    Args:
        network: Where the names and addresses in server certificates come from.
        now: Time of issue, with a time zone.
    """
    ca, ca_key = _authority("kubernix-ca", now)
    proxy_ca, proxy_ca_key = _authority("kubernix-front-proxy-ca", now)
    account = ec.generate_private_key(ec.SECP256R1())

    def issue(name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> KeyPair:
        return _issue(ca, ca_key, name, groups, hosts, now)

    api_names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    api_hosts = (*api_names, "localhost", "127.0.0.1", network.host_ip, network.api_service_ip)
    pairs = {
        "kube-apiserver": issue("kube-apiserver", hosts=api_hosts),
        "kube-apiserver-kubelet-client": issue("kube-apiserver-kubelet-client", ["system:masters"]),
        "front-proxy-client": _issue(proxy_ca, proxy_ca_key, "front-proxy-client", (), (), now),
        "admin": issue("kubernetes-admin", ["system:masters"]),
        # In system:masters because its own roles come with --use-service-account-credentials,
        # which holds the controllers back for five seconds at every boot.
        "kube-controller-manager": issue(
            "system:kube-controller-manager", ["system:masters"], ["localhost", "127.0.0.1"]
        ),
        "kube-scheduler": issue("system:kube-scheduler", (), ["localhost", "127.0.0.1"]),
        "kube-proxy": issue("system:kube-proxy", ["system:node-proxier"]),
        "coredns": issue("system:coredns"),
    }
    for node in network.nodes:
        name = network.node_name(node)
        # One pair is client and server: the node authorizer goes by the name, the API server by the address.
        pairs[f"kubelet/{name}"] = issue(f"system:node:{name}", ["system:nodes"], [name, network.node_ip(node)])
    return Pki(
        ca=KeyPair(_pem(ca), _key_pem(ca_key)),
        front_proxy_ca=KeyPair(_pem(proxy_ca), _key_pem(proxy_ca_key)),
        service_account_key=_key_pem(account),
        service_account_pub=account.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
        pairs=pairs,
    )


def issue_client(
    ca_cert_pem: str, ca_key_pem: str, *, name: str, groups: Sequence[str], now: datetime.datetime
) -> tuple[str, str]:
    """A client certificate for a user of the cluster.

    Args:
        ca_cert_pem: The cluster's authority, PEM.
        ca_key_pem: Its private key, PEM.
        name: User name (the certificate's CN).
        groups: Groups (its Os).
        now: Time of issue, with a time zone.

    Returns:
        Certificate and private key, both PEM.
    """
    ca = x509.load_pem_x509_certificate(ca_cert_pem.encode())
    key = serialization.load_pem_private_key(ca_key_pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic curve key")
    pair = _issue(ca, key, name, groups, (), now)
    return pair.cert, pair.key


def _authority(name: str, now: datetime.datetime) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _issue(
    ca: x509.Certificate,
    ca_key: Key,
    name: str,
    groups: Sequence[str],
    hosts: Sequence[str],
    now: datetime.datetime,
) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
    builder = (
        _builder(subject, ca.subject, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative_name(host) for host in hosts]), critical=False
        )
    return KeyPair(_pem(builder.sign(ca_key, hashes.SHA256())), _key_pem(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, now: datetime.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_TOLERANCE)
        .not_valid_after(now + VALID_FOR)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
