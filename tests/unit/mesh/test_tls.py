"""The bus's certificates, and how a client tells its own swarm's server from others."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mesh.clock import SystemClock
from mesh.errors import BadSettings, PinMismatch
from mesh.pki import SERVER_NAME, CertAuthority, ServerCert, found_ca, pin_of, spki_sha256
from mesh.tls_pin import PinFailure, ca_context, pinned_context

NOW = SystemClock().now()


@pytest.fixture(scope="module")
def ca() -> CertAuthority:
    return found_ca(NOW)


class FixedClock:
    def __init__(self, now):
        self._now = now

    def now(self):
        return self._now

    def monotonic(self):
        return 0.0


@contextlib.asynccontextmanager
async def tls_server(cert: ServerCert, tmp_path, version=ssl.TLSVersion.TLSv1_3):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(cert.chain_pem)
    key.write_bytes(cert.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.maximum_version = version
    received = asyncio.Queue()

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            received.put_nowait(await reader.read(100))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def speak(port, context):
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME)
    writer.write(b"hello")
    await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def test_the_pin_is_the_start_of_the_hash_of_the_cas_public_key(ca):
    assert ca.pin == spki_sha256(ca.cert_der)[:16] == pin_of(ca.cert_der)
    assert len(ca.pin) == 16
    again = CertAuthority(ca.key_pem, ca.cert_pem)
    assert again.pin == ca.pin
    assert found_ca(NOW).pin != ca.pin


def test_a_server_certificate_names_the_swarm_and_all_addresses(ca):
    cert = x509.load_pem_x509_certificates(
        ca.issue_server(NOW, addresses=("10.0.0.1", "fd00::1"), names=("pi.lan",)).chain_pem
    )
    assert len(cert) == 2
    names = cert[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME, "localhost", "pi.lan"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "fd00::1"]
    cert[0].verify_directly_issued_by(cert[1])


@pytest.mark.parametrize("bad", [{"addresses": ("not-an-ip",)}, {"names": ("ä.example",)}])
def test_an_address_that_is_none_is_refused_in_words(ca, bad):
    with pytest.raises(BadSettings):
        ca.issue_server(NOW, **bad)


async def test_the_right_pin_lets_the_connection_through_and_keeps_the_ca(ca, tmp_path):
    async with tls_server(ca.issue_server(NOW), tmp_path) as (port, received):
        context = pinned_context(ca.pin)
        await speak(port, context)
        assert context.ca_der == ca.cert_der
        assert await received.get() == b"hello"
        await speak(port, ca_context(ca.cert_der))
        assert await received.get() == b"hello"


async def test_a_wrong_pin_ends_the_handshake_before_a_byte_is_sent(ca, tmp_path):
    async with tls_server(ca.issue_server(NOW), tmp_path) as (port, received):
        context = pinned_context(found_ca(NOW).pin)
        with pytest.raises(PinFailure):
            await speak(port, context)
        assert context.ca_der is None
        await speak(port, pinned_context(ca.pin))
        assert await received.get() == b"hello"
        assert received.empty()


def other_chain(ca, kind):
    """Chains a liar could show: the true CA's certificate is public."""
    stranger = found_ca(NOW)
    if kind == "the true CA beside a certificate that it did not sign":
        lie = stranger.issue_server(NOW)
        first = lie.chain_pem.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
        return ServerCert(first + ca.cert_pem, lie.key_pem, NOW)
    if kind == "no CA at all":
        good = ca.issue_server(NOW)
        first = good.chain_pem.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
        return ServerCert(first, good.key_pem, NOW)
    # A member's server certificate used as if it were an authority.
    member = ca.issue_server(NOW)
    member_cert = x509.load_pem_x509_certificates(member.chain_pem)[0]
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    member_key = load_pem_private_key(member.key_pem, None)
    key = ec.generate_private_key(ec.SECP256R1())
    forged = (
        x509.CertificateBuilder()
        .subject_name(member_cert.subject)
        .issuer_name(member_cert.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(member_cert.not_valid_before_utc)
        .not_valid_after(member_cert.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .sign(member_key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ServerCert(forged.public_bytes(Encoding.PEM) + member.chain_pem, pem, NOW)


@pytest.mark.parametrize(
    "kind",
    [
        "the true CA beside a certificate that it did not sign",
        "no CA at all",
        "a member that plays authority",
    ],
)
async def test_a_chain_that_does_not_really_lead_to_the_pinned_ca_is_refused(ca, tmp_path, kind):
    async with tls_server(other_chain(ca, kind), tmp_path) as (port, _):
        with pytest.raises(PinFailure):
            await speak(port, pinned_context(ca.pin))
        with pytest.raises(ssl.SSLCertVerificationError):
            await speak(port, ca_context(found_ca(NOW).cert_der))


@pytest.mark.parametrize("days", [-2, 91])
async def test_a_certificate_outside_its_time_is_refused(ca, tmp_path, days):
    async with tls_server(ca.issue_server(NOW), tmp_path) as (port, _):
        with pytest.raises(PinFailure) as caught:
            await speak(port, pinned_context(ca.pin, FixedClock(NOW + days * 86_400)))
        assert "clock" in str(caught.value)


async def test_a_certificate_for_another_name_is_refused_by_both_ways(ca, tmp_path, monkeypatch):
    monkeypatch.setattr("mesh.pki.SERVER_NAME", "elsewhere.internal")
    async with tls_server(ca.issue_server(NOW), tmp_path) as (port, _):
        with pytest.raises(PinFailure):
            await speak(port, pinned_context(ca.pin))
        with pytest.raises(ssl.SSLCertVerificationError):
            await speak(port, ca_context(ca.cert_der))


async def test_an_older_tls_is_refused(ca, tmp_path):
    async with tls_server(ca.issue_server(NOW), tmp_path, ssl.TLSVersion.TLSv1_2) as (port, _):
        for context in (pinned_context(ca.pin), ca_context(ca.cert_der)):
            with pytest.raises(OSError):  # a TLS alert or a reset, whichever is first
                await speak(port, context)


def test_a_pin_or_a_saved_ca_that_is_damaged_is_refused_in_words(ca):
    with pytest.raises(PinMismatch):
        pinned_context(ca.pin[:8])
    with pytest.raises(PinMismatch):
        ca_context(b"junk")
    with pytest.raises(PinMismatch):
        ca_context(b"")
