"""Shell: the bus on a real NATS server.

nats-py does one connection; everything beyond that is here, because its own reconnecting gives up for good on an expired credential and can
end in a connection that looks alive and receives nothing. Rules: TLS comes before anything else, always; the key signs a nonce and nothing
else; every callback is shielded; subscriptions and outstanding requests belong to the bus and outlive connections; a credential is renewed
at half its life by opening the new connection before the old one is drained, so nothing is lost; when a connection is lost, `run`
dials again with growing, jittered pauses for ever. Without `run` (a short command) a lost connection stays lost. Counterpart: `bus_memory.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg as WireMsg
from nats.aio.subscription import Subscription as WireSubscription

from . import bus_jwt
from .bus import (
    ENROL_INBOX,
    MAX_PAYLOAD_BYTES,
    BusState,
    BusStats,
    Handler,
    Msg,
    StateCallback,
    inbox_prefix,
)
from .bus_nats_dial import Credential, WireError, dial
from .bus_nats_requests import Answers, NatsRequests
from .clock import Clock, SystemClock
from .errors import (
    BusRefused,
    BusTimeout,
    BusUnreachable,
    MeshError,
    PayloadTooLarge,
    PinMismatch,
    TokenRefused,
)
from .nkeys import NKey

__all__ = ["NatsBus", "Renew"]

Renew = Callable[[], Awaitable[str]]
"""Fetches a new credential for the same key."""

_log = logging.getLogger(__name__)

_HELD_BYTES: Final = 2 << 20
"""What is published while there is no connection is held back up to this; most of it would be stale after that anyway."""
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 5.0
_DRAIN_S: Final = 5.0
_CLOSE_S: Final = 5.0
_RENEW_RETRY_S: Final = 30.0


class _Subscribed:
    """A registration: which connection carries it at the moment is the bus's affair."""

    __slots__ = ("_bus", "on_wire", "pattern", "queue", "receive")

    def __init__(
        self, bus: NatsBus, pattern: str, queue: str, receive: Callable[[WireMsg], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self.pattern = pattern
        self.queue = queue
        self.receive = receive
        self.on_wire: WireSubscription | None = None

    async def unsubscribe(self) -> None:
        """See `bus.Subscription`."""
        await self._bus._drop(self)  # noqa: SLF001  # one class in two parts


class NatsBus:
    """A member's (or, without a key, a joiner's) connection to its swarm's bus. Made by `connect`."""

    def __init__(
        self,
        urls: Sequence[str],
        credential: Credential,
        *,
        renew: Renew | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """Use `connect`."""
        self._urls = list(urls)
        self._credential = credential
        self._renew = renew
        self._clock = clock
        self._rng = rng
        self._client: Client | None = None
        self._callbacks: list[StateCallback] = []
        self._state = BusState.RECONNECTING
        self._wake = asyncio.Event()
        self._url = ""
        self._lost_url = ""
        """The server whose connection broke last, until there is another one."""
        self._running = False
        self._flushing: set[asyncio.Timeout] = set()
        self._end = asyncio.Event()
        self._held: deque[tuple[str, bytes, str]] = deque()
        self._held_bytes = 0
        self.stats = BusStats()
        """Counters since `connect`."""
        self.recent_refusals: deque[str] = deque(maxlen=50)
        """What the server lately refused to let this member publish or subscribe, in the server's words."""
        key = credential.key
        self.inbox_prefix = ENROL_INBOX if key is None else inbox_prefix(key.public)
        """Answers come to `<inbox_prefix>.<token>`."""
        inbox = f"{self.inbox_prefix}.{rng.getrandbits(80):020x}"
        self._answers = NatsRequests(inbox, self._send_request, shared=key is None)
        self._registered = [_Subscribed(self, self._answers.pattern, "", self._answers.receive)]

    @classmethod
    async def connect(
        cls,
        urls: Sequence[str],
        ssl_context: ssl.SSLContext,
        key: NKey | None = None,
        jwt: str | None = None,
        *,
        name: str = "",
        renew: Renew | None = None,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> NatsBus:
        """Connect to the first of `urls` that works.

        Args:
            urls: `tls://host:port` each.
            ssl_context: from `tls_pin`.
            key: this device's bus key; None for somebody who joins and has no credential yet.
            jwt: the credential for the key.
            name: shown in the server's monitoring.
            renew: fetches the next credential; without it the connection ends when the credential expires.
            timeout_s: for all addresses together.
            clock: this device's clock.
            rng: for jitter and inbox names.

        Raises:
            BusUnreachable: no server answered.
            PinMismatch: a server answered that is not this swarm's.
            BusRefused: the credential is not accepted.
        """
        credential = Credential(ssl_context, key, jwt, name)
        bus = cls(
            urls, credential, renew=renew, clock=clock or SystemClock(), rng=rng or random.SystemRandom()
        )
        try:
            async with asyncio.timeout(timeout_s):
                await bus._open()
        except TimeoutError as error:
            raise BusUnreachable(f"no answer from {', '.join(urls)} within {timeout_s:g} s") from error
        return bus

    @property
    def connected(self) -> bool:
        """Whether messages go through, as far as is known."""
        return self._alive()

    @property
    def clustered(self) -> bool:
        """Whether the server is one of several, so that the choice of a leader may take seconds."""
        info: dict[str, Any] = getattr(self._client, "_server_info", None) or {}
        return bool(info.get("cluster"))

    def _alive(self) -> bool:
        client = self._client
        if client is None or not client.is_connected:
            return False
        reader = client._reading_task  # noqa: SLF001  # the only sign of a dead reader
        return reader is not None and not reader.done()

    @property
    def state(self) -> BusState:
        """What the connection is doing."""
        return self._state

    def on_state(self, callback: StateCallback) -> None:
        """Be told of every change of state."""
        self._callbacks.append(callback)

    async def publish(self, subject: str, data: bytes, *, reply: str | None = None) -> None:
        """See `bus.Bus.publish`."""
        if len(data) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLarge(len(data), MAX_PAYLOAD_BYTES)
        client = self._client
        if client is None or not client.is_connected:
            self._hold(subject, data, reply or "")
            return
        await client.publish(subject, data, reply or "")
        self.stats.sent += 1

    async def subscribe(self, pattern: str, handler: Handler, *, queue: str = "") -> _Subscribed:
        """See `bus.Bus.subscribe`. A subject that is not allowed shows in `recent_refusals` after a `flush`."""
        registration = _Subscribed(self, pattern, queue, self._shield(pattern, handler))
        self._registered.append(registration)
        if self._client is not None and self._client.is_connected:
            await self._attach(self._client, registration)
        return registration

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `bus.Bus.request`."""
        return (await self.request_wire(subject, data, timeout_s=timeout_s)).data

    async def request_wire(
        self, subject: str, data: bytes, *, timeout_s: float, headers: dict[str, str] | None = None
    ) -> WireMsg:
        """Like `request`, with headers both ways: what the workspace needs."""
        return await self._answers.one(subject, data, headers, timeout_s)

    def request_many(self, subject: str, data: bytes) -> contextlib.AbstractAsyncContextManager[Answers]:
        """Send a request that many messages answer: `async with ... as answers`, then `await answers.get()`."""
        return self._answers.many(subject, data)

    async def flush(self, timeout_s: float = 5.0) -> None:
        """See `bus.Bus.flush`."""
        client = self._client
        if client is None or not self._alive():
            raise self._down()
        scope = asyncio.timeout(timeout_s)
        self._flushing.add(scope)
        try:
            async with scope:
                await _flush(client, timeout_s + 1)
        except TimeoutError as error:
            if not self._alive():
                raise self._down() from error
            raise BusTimeout(f"the bus has not confirmed within {timeout_s:g} s") from error
        except WireError as error:
            raise self._down() from error
        finally:
            self._flushing.discard(scope)

    async def run(self) -> None:
        """Keep the connection: renew the credential, dial again after a loss. A task owns this until `close`."""
        self._running = True
        pause = _FIRST_PAUSE_S
        renew_at = self._renewal_time()
        try:
            while not self._end.is_set():
                if not self._alive():
                    pause = await self._recover(pause)
                    renew_at = self._renewal_time()
                    continue
                pause = _FIRST_PAUSE_S
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(5.0, renew_at - self._clock.now()))):
                        await self._wake.wait()
                if self._clock.now() >= renew_at and self._alive() and not self._end.is_set():
                    renew_at = await self._swap()
        finally:
            self._running = False

    async def close(self) -> None:
        """See `bus.Bus.close`."""
        if self._end.is_set():
            return
        self._end.set()
        self._wake.set()
        client, self._client = self._client, None
        if client is not None:
            await _retire(client, _CLOSE_S)
        self._answers.fail_all(self._down())
        self._set_state(BusState.CLOSED, "closed by this device")

    async def _send_request(
        self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None
    ) -> None:
        if len(data) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLarge(len(data), MAX_PAYLOAD_BYTES)
        client = self._client
        if client is None or not client.is_connected:
            raise self._down()
        await client.publish(subject, data, reply, headers)
        self.stats.sent += 1

    # -- subscriptions ---------------------------------------------------------------------------------------------

    def _shield(self, pattern: str, handler: Handler) -> Callable[[WireMsg], Awaitable[None]]:
        stats = self.stats

        async def receive(message: WireMsg) -> None:
            stats.received += 1
            try:
                result = handler(Msg(message.subject, message.data, message.reply))
                if result is not None:
                    await result
            except Exception:  # noqa: BLE001  # one bad message or handler must not end the subscription
                stats.handler_errors += 1
                _log.exception("a handler of %s failed on %s", pattern, message.subject)

        return receive

    async def _attach(self, client: Client, registration: _Subscribed) -> WireSubscription:
        on_wire = await client.subscribe(
            registration.pattern, queue=registration.queue, cb=registration.receive
        )
        registration.on_wire = on_wire
        return on_wire

    async def _drop(self, registration: _Subscribed) -> None:
        if registration in self._registered:
            self._registered.remove(registration)
        on_wire, registration.on_wire = registration.on_wire, None
        if on_wire is not None:
            # On a connection that has gone, or is being drained, there is nothing left to end.
            with contextlib.suppress(WireError):
                await on_wire.unsubscribe()

    # -- the connection --------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Dial, subscribe everything, and only then make the new connection the one in use."""
        client = await dial(
            self._urls, self._credential, self._rng, self._on_wire_error, self._on_lost, lost=self._lost_url
        )
        try:
            for registration in list(self._registered):
                await self._attach(client, registration)
            await _flush(client, 5.0)
        except BaseException as error:
            await _retire(client, 0)
            if isinstance(error, (WireError, OSError)):
                raise BusUnreachable(f"the connection was lost while subscribing: {error}") from error
            raise
        if self._end.is_set():  # closed meanwhile
            await _retire(client, 0)
            raise self._down()
        self._client = client
        self._lost_url = ""
        netloc = client.connected_url.netloc if client.connected_url else ""
        self._url = next((url for url in self._urls if url.endswith(f"//{netloc}")), "")
        self.stats.connects += 1
        self._set_state(BusState.CONNECTED, str(netloc))
        while self._held:
            subject, data, reply = self._held.popleft()
            self._held_bytes -= len(data)
            await self.publish(subject, data, reply=reply or None)

    async def _recover(self, pause: float) -> float:
        """One try to connect again; returns how long to pause before the next."""
        lost, self._client = self._client, None
        if lost is not None:
            reason = str(lost.last_error or "the connection was lost")
            self._lost_url = self._url
            self._set_state(BusState.RECONNECTING, reason)
            await _retire(lost, 0)
        # Jitter, because after a server's restart all members come back at once.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(pause / 2, pause)):
                await self._end.wait()
        if self._end.is_set():
            return pause
        try:
            await self._refresh_expired()
            async with asyncio.timeout(15):
                await self._open()
        except (BusUnreachable, TimeoutError) as error:
            self._set_state(BusState.RECONNECTING, str(error) or "no answer")
        except (BusRefused, PinMismatch, TokenRefused) as error:
            self._set_state(BusState.REFUSED, error.message)
        return min(pause * 2, _MAX_PAUSE_S)

    async def _refresh_expired(self) -> None:
        credential = self._credential
        expires = bus_jwt.expiry(credential.jwt) if credential.jwt else None
        if expires is not None and expires <= self._clock.now() + 1:
            if self._renew is None:
                raise TokenRefused("this device's bus credential has expired and nothing renews it")
            self._credential = credential.with_jwt(await self._renewed())

    async def _renewed(self) -> str:
        assert self._renew is not None
        try:
            return await self._renew()
        except MeshError:
            raise
        except Exception as error:  # whatever the caller's function does must not end `run`
            raise TokenRefused(f"the bus credential could not be renewed: {error}") from error

    async def _swap(self) -> float:
        """Make-before-break: both connections are subscribed for a moment; a message twice is the verifier's business."""
        try:
            fresh = await self._renewed()
            old, before = self._client, self._credential
            self._credential = before.with_jwt(fresh)
            try:
                async with asyncio.timeout(15):
                    await self._open()
            except BaseException:
                self._credential = before
                raise
            if old is not None:
                await _retire(old, _DRAIN_S)
        except (MeshError, TimeoutError) as error:
            _log.warning("the bus credential could not be renewed: %s", error)
            left = (bus_jwt.expiry(self._credential.jwt or "") or 0) - self._clock.now()
            return self._clock.now() + max(1.0, min(_RENEW_RETRY_S, left / 4))
        return self._renewal_time()

    def _renewal_time(self) -> float:
        """When to renew, in Unix seconds: half-way through what is left, a little earlier for some than for others."""
        jwt = self._credential.jwt
        expires = bus_jwt.expiry(jwt) if jwt and self._renew is not None else None
        if expires is None:
            return float("inf")
        now = self._clock.now()
        return now + (expires - now) * self._rng.uniform(0.4, 0.5)

    def _on_lost(self) -> None:
        # Also called for a connection that was replaced; what matters is whether the present one still lives.
        if not self._alive():
            self._wake.set()
            self._answers.fail_all(self._down())
            for scope in self._flushing:  # nobody will confirm any more
                scope.reschedule(asyncio.get_running_loop().time())

    def _on_wire_error(self, text: str, slow: bool) -> None:
        if slow:
            self.stats.dropped += 1
        elif "permissions violation" in text.lower():
            self.stats.refusals += 1
            self.recent_refusals.append(text)
            _log.warning("the bus refused: %s", text)
        else:
            _log.info("bus: %s", text)

    def _hold(self, subject: str, data: bytes, reply: str) -> None:
        if not self._running or self._held_bytes + len(data) > _HELD_BYTES:
            self.stats.dropped += 1
            raise self._down()
        self._held.append((subject, data, reply))
        self._held_bytes += len(data)

    def _down(self) -> BusUnreachable:
        if self._end.is_set():
            return BusUnreachable("this connection to the bus has been closed")
        last = self._client.last_error if self._client is not None else None
        return BusUnreachable(f"there is no connection to the bus{f': {last}' if last else ''}")

    def _set_state(self, state: BusState, reason: str) -> None:
        if state is self._state and state is not BusState.CONNECTED:
            return
        self._state = state
        for callback in self._callbacks:
            try:
                callback(state, reason)
            except Exception:  # noqa: BLE001  # a listener's trouble is not the connection's
                _log.exception("a listener to the bus's state failed")


async def _flush(client: Client, timeout_s: float) -> None:
    # The library's ping overtakes what is still waiting to be written, so its flush alone proves nothing.
    await client._flush_pending(force_flush=True)  # noqa: SLF001
    await client.flush(timeout_s)  # type: ignore[arg-type]  # seconds; a float works


async def _retire(client: Client, drain_s: float) -> None:
    """End a connection for good; with `drain_s` let it first finish what it has received."""
    try:
        async with asyncio.timeout(drain_s + 2):
            if drain_s and client.is_connected:
                with contextlib.suppress(WireError, OSError, TimeoutError):
                    async with asyncio.timeout(drain_s):
                        await client.drain()
            await client.close()
    except (TimeoutError, WireError, OSError) as error:
        _log.info("a connection did not end cleanly: %r", error)
