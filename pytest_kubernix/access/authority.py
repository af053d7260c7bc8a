"""An authority: keys, and the certificates that it signs for clients and for servers. Made fresh for each cluster.
Pure but for the randomness that keys are; the time is handed in."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A test cluster lives for minutes; a kept one for days. Clocks of machines differ a little.
VALID_FOR = datetime.timedelta(days=30)
CLOCK_TOLERANCE = datetime.timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    cert: str
    key: str


class Authority:
    """Signs certificates.

    Args:
        pair: Its own certificate and key.
    """

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair

    @classmethod
    def new(cls, name: str, now: datetime.datetime) -> Authority:
        """A fresh one.

        Args:
            name: Its common name.
            now: Time of issue, with a time zone.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, subject, key, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pair(certificate, key))

    @cached_property
    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pair.cert.encode())

    @cached_property
    def _key(self) -> Key:
        key = serialization.load_pem_private_key(self.pair.key.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not an elliptic curve key")
        return key

    def client(self, name: str, groups: Sequence[str] = (), *, now: datetime.datetime) -> KeyPair:
        """The certificate of a user.

        Args:
            name: User name (the certificate's CN).
            groups: Groups (its Os).
            now: Time of issue, with a time zone.
        """
        return self.issue(name, groups, now=now)

    def server(self, hosts: Sequence[str], *, now: datetime.datetime) -> KeyPair:
        """The certificate of a server.

        Args:
            hosts: The names and addresses that clients reach it by, at least one; the first is its common name.
            now: Time of issue, with a time zone.

        Raises:
            ValueError: There is no host.
        """
        if not hosts:
            raise ValueError("hosts=(): allowed is at least one name or address")
        return self.issue(hosts[0], hosts=hosts, now=now)

    def issue(
        self, name: str, groups: Sequence[str] = (), hosts: Sequence[str] = (), *, now: datetime.datetime
    ) -> KeyPair:
        """A certificate for a client, and for a server too if it has hosts; see `client` and `server`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self._certificate.subject, key, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(signer, critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def signing_keys() -> tuple[str, str]:
    """A private key that signs tokens, and its public half, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _key_pem(key), public.decode()


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


def _pair(certificate: x509.Certificate, key: Key) -> KeyPair:
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key))


def _key_pem(key: Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
