"""Shell: one connection to one NATS server, made safely, with failures in our own words.

TLS is spoken before the server says anything (`tls_handshake_first`): nats-py otherwise sends credentials in clear to whoever does not ask
for TLS. Reconnecting is left out on purpose: `bus_nats.py` does that. The callbacks given to nats-py never raise, since that kills its reader.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nats import errors as wire
from nats.aio.client import Client

from .bus import ENROL_INBOX, inbox_prefix
from .errors import BusRefused, BusUnreachable, MeshError, PinMismatch
from .nkeys import NKey
from .tls_names import SERVER_NAME
from .tls_pin import PinFailure

__all__ = ["Credential", "WireError", "dial"]

_PING_S = 3.0
"""How often the server is asked for a sign of life; after two without one the connection is given up: within 9 s. Left to itself, TCP
would wait after an outage about as long again as the outage was, since its pauses double."""

WireError = wire.Error
"""What nats-py raises."""

# nats-py's stream protocol returns "keep open" at the end of a TLS stream, of which asyncio warns at every disconnect.
logging.getLogger("asyncio").addFilter(
    lambda record: not str(record.msg).startswith("returning true from eof_received")
)

ErrorListener = Callable[[str, bool], None]
"""Takes an error in the library's words, and whether it was a message dropped because its handler is too slow."""


@dataclass(frozen=True, slots=True)
class Credential:
    """How a client shows who it is, and decides whom it talks to."""

    ssl_context: ssl.SSLContext
    key: NKey | None
    jwt: str | None
    name: str

    def with_jwt(self, jwt: str) -> Credential:
        """The same with a renewed token."""
        return replace(self, jwt=jwt)


async def dial(
    urls: Sequence[str],
    credential: Credential,
    rng: random.Random,
    on_error: ErrorListener,
    on_lost: Callable[[], None],
    connect_s: float = 5.0,
    *,
    lost: str = "",
) -> Client:
    """Connect to any of `urls`, each tried once, in random order; `on_lost` is called when the connection ends.

    The one that was `lost` comes last: a host without power does not refuse, it costs the whole of `connect_s`.

    Raises:
        PinMismatch: a server answered that is not this swarm's.
        BusRefused: a server did not accept the credential.
        BusUnreachable: none answered.
    """
    failures: list[MeshError] = []
    for url in sorted(rng.sample(list(urls), len(urls)), key=lambda url: url == lost):
        try:
            return await _connect(url, credential, on_error, on_lost, connect_s)
        except MeshError as error:
            failures.append(error)
    if not failures:
        raise BusUnreachable(
            "no address of the bus is known", "Give one, or be on the same network as a member."
        )
    # A refusal or a foreign certificate tells more than a silent address does.
    failures.sort(key=lambda error: isinstance(error, BusUnreachable))
    raise failures[0]


async def _connect(
    url: str, credential: Credential, on_error: ErrorListener, on_lost: Callable[[], None], connect_s: float
) -> Client:
    client = Client()
    seen: list[Exception] = []
    options: dict[str, Any] = {}
    key, jwt = credential.key, credential.jwt
    if key is not None:
        options = {
            "user_jwt_cb": lambda: (jwt or "").encode("ascii"),
            "signature_cb": key.sign_nonce,
            "inbox_prefix": inbox_prefix(key.public),
        }
    else:
        options = {"inbox_prefix": ENROL_INBOX}

    async def failed(error: Exception) -> None:
        seen.append(error)
        del seen[:-3]
        on_error(str(error) or repr(error), isinstance(error, wire.SlowConsumerError))

    async def ended() -> None:
        on_lost()

    try:
        async with asyncio.timeout(3 * connect_s):
            await client.connect(
                url,
                name=credential.name or None,
                tls=credential.ssl_context,
                tls_hostname=SERVER_NAME,
                tls_handshake_first=True,
                allow_reconnect=False,
                # The library tries an address once more than this says, at once.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=connect_s,  # type: ignore[arg-type]  # seconds; a float works
                ping_interval=_PING_S,  # type: ignore[arg-type]  # seconds; a float works
                max_outstanding_pings=2,
                drain_timeout=4,
                flush_timeout=10,
                error_cb=failed,
                closed_cb=ended,
                disconnected_cb=ended,
                **options,
            )
    except BaseException as error:
        # Where the library has given up it leaves the socket open.
        _discard(client)
        if not isinstance(error, (wire.Error, OSError, TimeoutError, EOFError, MeshError)):
            raise
        raise _explain(url, error, seen) from error
    reader = client._reading_task  # noqa: SLF001  # a reader that dies leaves the client "connected"
    if reader is not None:
        reader.add_done_callback(lambda _: on_lost())
    return client


def _discard(client: Client) -> None:
    # Closing politely would wait for the end of a TLS session that never began.
    transport = client._transport  # noqa: SLF001
    for name in ("_io_writer", "_bare_io_writer"):
        writer = getattr(transport, name, None)
        if writer is not None:
            writer.transport.abort()


def _explain(url: str, error: Exception, seen: list[Exception]) -> MeshError:
    """The library's error, or the cause it reported before giving up, as one of ours."""
    cause = seen[-1] if isinstance(error, wire.NoServersError) and seen else error
    text = str(cause) or type(cause).__name__
    lowered = text.lower()
    where = url.split("://", 1)[-1]
    if isinstance(cause, MeshError):
        return cause
    if isinstance(cause, PinFailure):
        return PinMismatch(f"{where}: {cause.args[-1]}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return PinMismatch(f"{where} shows a certificate that is not this swarm's: {cause.verify_message}")
    if "authorization violation" in lowered or "authentication" in lowered:
        return BusRefused(f"the bus at {where} does not accept this device's credential")
    if "maximum" in lowered and "connections" in lowered:
        return BusUnreachable(f"the bus at {where} has no free connection", "Try again in half a minute.")
    if isinstance(cause, ssl.SSLError):
        return BusUnreachable(
            f"what answers at {where} is not a swarm's bus ({cause.reason or text})",
            "Check the address and the port.",
        )
    if isinstance(cause, TimeoutError):
        text = "no answer"
    elif isinstance(cause, (ConnectionResetError, EOFError)):
        text = "it ended the connection before TLS was set up; is it a swarm's bus?"
    elif isinstance(cause, socket.gaierror):
        text = "no such host name"
    elif isinstance(cause, OSError) and cause.errno:
        text = os.strerror(cause.errno).lower()
    return BusUnreachable(f"the bus at {where} cannot be reached: {text}")
