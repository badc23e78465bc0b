"""How a client decides that it talks to its own swarm's server: by the invite's pin once, by the saved CA ever after.

`pinned_context` trusts no certificate authority; it completes the TLS 1.3 handshake, looks at the chain that the server showed and demands a CA
whose SubjectPublicKeyInfo hash begins with the pin and which really signed the server's certificate. A mismatch raises inside the handshake,
before a byte of ours is sent. `ca_context` is an ordinary verifying context for the name `swarm.internal`. Both need the bus
client to speak TLS first: a client that waits for the server's greeting can be talked out of TLS altogether. Counterpart: `pki.py`.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .clock import Clock, SystemClock
from .errors import PinMismatch
from .tls_names import PIN_BYTES, SERVER_NAME

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["PinFailure", "ca_context", "pinned_context"]


class PinFailure(ssl.SSLCertVerificationError):
    """The handshake was stopped because of the pin; the bus client turns it into `PinMismatch`."""


def ca_context(ca_der: bytes) -> ssl.SSLContext:
    """Trusts exactly the swarm's CA, checks the name, speaks TLS 1.3 only.

    Raises:
        PinMismatch: `ca_der` is not a certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca_der)
    except (ssl.SSLError, ValueError) as error:
        raise PinMismatch("the saved certificate of the swarm's bus is damaged") from error
    return context


def pinned_context(pin: bytes, clock: Clock | None = None) -> PinnedContext:
    """Trusts whatever server shows a chain to the CA with this 16-byte pin; `.ca_der` has that CA after a connection."""
    if len(pin) != PIN_BYTES:
        raise PinMismatch(f"a pin is {PIN_BYTES} bytes, not {len(pin)}")
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The chain is checked below, against the pin: the system's authorities have no say.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.ca_der = None
    used_clock = clock or SystemClock()

    class PinnedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            context.ca_der = _check(_shown_chain(self), pin, used_clock.now())

    context.sslobject_class = PinnedObject
    return context


class PinnedContext(ssl.SSLContext):
    """A context of `pinned_context`."""

    ca_der: bytes | None
    """The CA that the last good handshake showed, to be saved for `ca_context`; None before one."""


def _shown_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server sent, unverified, its own first."""
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # Python 3.13 and later: DER
        return list(public() or ())
    # The same call, before it was public, returns certificate objects.
    internal = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]  # noqa: SLF001
    return [cert if isinstance(cert, bytes) else cert.public_bytes(2) for cert in internal]


def _check(shown: list[bytes], pin: bytes, now: float) -> bytes:
    """The CA's DER if the chain leads from the server's certificate to the pinned CA; raises `PinFailure` otherwise."""
    # Imported here: only a joining device looks into certificates, and a node that has joined need not carry the code.
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    from .pki import pin_of

    try:
        chain = [x509.load_der_x509_certificate(der) for der in shown]
        moment = datetime.fromtimestamp(now, UTC)
        for index, certificate in enumerate(chain):
            if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
                raise PinFailure(
                    "the server's certificate is not valid at this time; is this device's clock right?"
                )
            if index:
                chain[index - 1].verify_directly_issued_by(certificate)
                if not _is_authority(certificate):
                    raise PinFailure("the server's certificate was signed by one that is no authority")
            else:
                names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                if SERVER_NAME not in names.get_values_for_type(x509.DNSName):
                    raise PinFailure("the server's certificate is not for a swarm's bus")
            if index and pin_of(shown[index]) == pin:
                return shown[index]
    except PinFailure:  # which is a ValueError, too
        raise
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise PinFailure("the server showed a chain of certificates that does not hold together") from error
    raise PinFailure("the server's certificate does not lead to the one that the invite pins")


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    return constraints.ca
