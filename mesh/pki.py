"""The bus's own certificate authority: one self-made P-256 CA a swarm and short-lived server certificates under it.

P-256 because browsers refuse Ed25519 certificates. Every server certificate carries the name `swarm.internal`, under which clients check it
whatever address they dialled. A swarm is recognised by `pin`: the first 16 bytes of SHA-256 over the CA's SubjectPublicKeyInfo,
which invites carry (SPEC INV-1). Pure: `now` is given, randomness is the library's own. Counterpart: `tls_pin.py`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .errors import BadSettings
from .tls_names import PIN_BYTES, SERVER_NAME

__all__ = ["PIN_BYTES", "SERVER_NAME", "CertAuthority", "ServerCert", "found_ca", "pin_of", "spki_sha256"]

_CA_YEARS: Final = 20
_SKEW: Final = timedelta(days=1)
"""Validity starts a day early, for devices whose clock is behind."""


class ServerCert(NamedTuple):
    """What a server shows: `chain_pem` (its own certificate and the CA's, which a pinning client needs) and its key."""

    chain_pem: bytes
    key_pem: bytes
    not_after: float
    """Unix seconds."""


class CertAuthority(NamedTuple):
    """The CA: `key_pem` is secret and lives only on enrolling devices, `cert_pem` is public."""

    key_pem: bytes
    cert_pem: bytes

    @property
    def cert_der(self) -> bytes:
        """The certificate as enrolment hands it to members."""
        return x509.load_pem_x509_certificate(self.cert_pem).public_bytes(Encoding.DER)

    @property
    def pin(self) -> bytes:
        """What invites carry."""
        return pin_of(self.cert_der)

    def issue_server(
        self,
        now: float,
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        names: Sequence[str] = (),
        days: int = 90,
    ) -> ServerCert:
        """A server certificate.

        Args:
            now: Unix seconds.
            addresses: IP addresses under which the server is reached.
            names: DNS names besides `swarm.internal` and `localhost`.
            days: how long it is valid.

        Raises:
            BadSettings: an address is not an IP address, or a name is not a DNS name.
        """
        try:
            alt = [x509.DNSName(name) for name in dict.fromkeys((SERVER_NAME, "localhost", *names))]
            ips = [x509.IPAddress(ipaddress.ip_address(text)) for text in dict.fromkeys(addresses)]
        except ValueError as error:
            raise BadSettings(f"a server certificate cannot be made for these addresses: {error}") from error
        authority = x509.load_pem_x509_certificate(self.cert_pem)
        authority_key = load_pem_private_key(self.key_pem, None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise BadSettings("the swarm's certificate authority key is not a P-256 key")
        key = ec.generate_private_key(ec.SECP256R1())
        until = _date(now) + timedelta(days=days)
        certificate = (
            _builder(SERVER_NAME, authority.subject, key.public_key(), now, until)
            .add_extension(x509.SubjectAlternativeName([*alt, *ips]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            # A server is also a client of other servers, by routes with mutual TLS.
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        return ServerCert(
            certificate.public_bytes(Encoding.PEM) + self.cert_pem, _key_pem(key), until.timestamp()
        )


def found_ca(now: float, name: str = "swarm") -> CertAuthority:
    """A new certificate authority; `name` is for people, `now` is Unix seconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    until = _date(now) + timedelta(days=365 * _CA_YEARS)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertAuthority(_key_pem(key), certificate.public_bytes(Encoding.PEM))


def spki_sha256(cert_der: bytes) -> bytes:
    """SHA-256 of a certificate's SubjectPublicKeyInfo, in DER."""
    public = x509.load_der_x509_certificate(cert_der).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def pin_of(cert_der: bytes) -> bytes:
    """The 16-byte pin of a CA certificate."""
    return spki_sha256(cert_der)[:PIN_BYTES]


def _builder(
    common_name: str, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: float, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_date(now) - _SKEW)
        .not_valid_after(until)
    )


def _date(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
