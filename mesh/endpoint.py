"""A member's mouth and ears: signs on the way out, verifies on the way in, hands typed items to handlers.

Rules. This is the only place where bus bytes become messages: every one passes `protocol.verify` first, and what is refused is counted by code, told to nobody
outside, and reaches no handler. A handler that raises is counted and logged; the reader goes on. A message from an unknown sender waits (at most 64 of
them, 2 s) while the sender's certificate is fetched once. Answers are tied to their request by the request's digest in the answer's context.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from protocol import subjects
from protocol.envelope import FLAG_JOURNAL, Header, Sealer, audience_hash, parse_header
from protocol.errors import Rejected, ZwermError
from protocol.ids import NO_RUN, run_bytes, run_text
from protocol.messages import Head, Item, Reply, Type
from protocol.registry import body_adapter, types_on
from protocol.verify import Accepted, Directory, Member, Verifier

from .bus import Bus, Msg, Subscription
from .clock import Clock
from .errors import BusTimeout, MeshError, NoResponders
from .halting import Halts
from .roster import Roster
from .wire import Pack, decode, open_pack, packed, seal_items, seal_pack
from .workspace import Workspace

if TYPE_CHECKING:
    from protocol.records import Chain, Record

__all__ = ["AnswerRefused", "CallFailed", "CertificateSource", "Endpoint", "NoAnswer", "Pack", "Received"]

log = logging.getLogger("zwerm.endpoint")

_HELD_MAX = 64
_HELD_S = 2.0
_APPEAR_S = 3.0
"""How long a service that nobody serves is waited for: it may be on its way up, and what reached nobody may be asked again."""
_AGAIN_S = 0.1
_REQUESTS_MAX = 256
"""Requests that are answered at one time; more than this is a flood, and waiting for their turn would only make all of them late."""


class CallFailed(MeshError):
    """The service understood the request and said no; code, message and hint are its own."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)


class NoAnswer(MeshError):
    """Nobody answered in time; unless nobody was `there`, the request may have been carried out all the same."""

    definite = False
    retryable = True

    def __init__(self, service: str, timeout_s: float, *, there: bool = True) -> None:
        who = {"runs": "coordinator", "enroll": "enroller"}.get(service, service)
        super().__init__(
            "E_NO_ANSWER",
            f"no {who} answered within {timeout_s:.0f} s" if there else f"no {who} is up",
            f"Is the device with the role {who} on? `zwerm nodes` on it shows; `zwerm up` starts it.",
        )


class AnswerRefused(CallFailed):
    """An answer came that does not hold: it is forged, changed, late, or from somebody who may not answer."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(
            code,
            f"an answer came that does not hold: {why}",
            "Try again; if it lasts, check both devices' clocks and run `zwerm doctor`.",
        )


@dataclass(frozen=True, slots=True)
class Received:
    """One verified, decoded envelope."""

    subject: str
    route: subjects.Route
    header: Header
    items: list[Item]
    member: Member
    raw: bytes
    reply: str | None

    @property
    def run(self) -> str:
        """The run that this belongs to (26 characters): the subject's, where it names one, since the signed audience holds it (MSG-5)."""
        return self.route.run or run_text(self.header.context)

    @property
    def node(self) -> str:
        """The sender's node id, hex."""
        return self.header.sender.hex()


class CertificateSource(Protocol):
    """Where an unknown sender's certificate comes from."""

    async def fetch(self, serial: bytes) -> Member | None:
        """Get, verify and remember the certificate of this serial; None when there is none that holds."""
        ...

    def node_of(self, bus_key: str) -> str | None:
        """The node id, hex, of the member with this bus key."""
        ...


Handler = Callable[[Received], Awaitable[None] | None]
Wanted = Callable[[subjects.Route], bool]


class _Listened:
    """All handlers of one pattern, which share one subscription."""

    __slots__ = ("handlers", "key", "subscription")

    def __init__(self, key: tuple[str, str], subscription: Subscription | None = None) -> None:
        self.key = key
        self.handlers: list[Handler] = []
        self.subscription = subscription


class _Listening:
    """One handler's registration: the subscription ends with the last of them."""

    __slots__ = ("_endpoint", "_handler", "_listened")

    def __init__(self, endpoint: Endpoint, listened: _Listened, handler: Handler) -> None:
        self._endpoint = endpoint
        self._listened = listened
        self._handler = handler

    async def unsubscribe(self) -> None:
        """This handler is not called any more; harmless when repeated."""
        await self._endpoint._forget(self._listened, self._handler)  # noqa: SLF001 - one class in two parts


class Endpoint:
    """One role's connection to the swarm. Use as an async context manager: it owns the tasks that fetch certificates and answer calls."""

    def __init__(
        self,
        *,
        bus: Bus,
        sealer: Sealer,
        verifier: Verifier,
        clock: Clock,
        me: str,
        node: str,
        name: str,
        home: Path,
        workspace: Workspace,
        certificates: CertificateSource,
        directory: Directory,
        roster: Roster | None = None,
    ) -> None:
        self.bus = bus
        self.me = me
        self.node = node
        self.name = name
        self.clock = clock
        self.home = home
        self.workspace = workspace
        self.artifacts = workspace.artifacts
        self.journal = workspace.journal
        self.kv = workspace.board
        self.roster = roster or Roster()
        self.verifier = verifier
        self.halts = Halts()
        """Whether this device may work; the daemon puts one for all of its connections here."""
        self.handler_errors: Counter[str] = Counter()
        self._sealer = sealer
        self._certificates = certificates
        self._directory = directory
        self._handlers: dict[tuple[str, str], _Listened] = {}
        self._listening = asyncio.Lock()
        self._held: dict[bytes, list[tuple[Msg, list[Handler]]]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            for task in list(self._running):
                task.cancel()
            await tasks.__aexit__(None, None, None)

    # --- out -------------------------------------------------------------------------------------------------------------------

    async def send(
        self,
        subject: str,
        items: Sequence[Item],
        *,
        run: str | None = None,
        ttl_s: int = 30,
        reply: str | None = None,
    ) -> None:
        """Sign items of one type and publish them, in as few envelopes as the limits allow.

        Raises:
            BusUnreachable: the connection is down and its buffer is full.
        """
        if not items:
            return
        for raw in self._seal_all(subject, items, NO_RUN if run is None else run_bytes(run), ttl_s):
            await self.bus.publish(subject, raw, reply=reply)

    def _seal_all(self, subject: str, items: Sequence[Item], context: bytes, ttl_s: int) -> list[bytes]:
        return seal_items(
            self._sealer,
            self._audience(subjects.route(subject)),
            items,
            context=context,
            now_ms=int(self.clock.now() * 1000),
            ttl_s=ttl_s,
        )

    async def call(self, service: str, item: Item, *, timeout_s: float, run: str | None = None) -> Reply:
        """Ask a service and wait for its answer.

        Raises:
            CallFailed: the service said no (`AnswerRefused`: or an answer came that does not hold).
            NoAnswer: nobody answered in time (it may have happened all the same), or nobody serves it.
            BusUnreachable: no connection.
        """
        subject = subjects.request(service, self.me)
        [raw] = self._seal_all(subject, [item], NO_RUN if run is None else run_bytes(run), int(timeout_s) + 1)
        bound = hashlib.sha256(raw).digest()[:16]
        data = await self._ask(service, subject, raw, timeout_s)
        try:
            accepted = await self._verify_answer(data)
            if accepted.header.context != bound:
                raise AnswerRefused("E_REFUSED", "it belongs to another question")
            [reply] = self._decode(accepted)
        except Rejected as error:
            raise AnswerRefused(error.code, error.message) from None
        except ValueError:
            raise AnswerRefused("E_SCHEMA", "it is not exactly one answer") from None
        assert isinstance(reply, Reply)
        if not reply.ok:
            raise CallFailed(reply.code, reply.message, reply.hint)
        return reply

    async def _ask(self, service: str, subject: str, raw: bytes, timeout_s: float) -> bytes:
        time = asyncio.get_running_loop().time
        end = time() + timeout_s
        appears = time() + min(_APPEAR_S, timeout_s)
        while True:
            try:
                return await self.bus.request(subject, raw, timeout_s=max(0.01, end - time()))
            except BusTimeout:
                raise NoAnswer(service, timeout_s) from None
            except NoResponders:
                if time() + _AGAIN_S > appears:
                    raise NoAnswer(service, timeout_s, there=False) from None
            await asyncio.sleep(_AGAIN_S)

    async def _verify_answer(self, data: bytes) -> Accepted:
        audience = audience_hash(subjects.audience_node(self.node))
        now_ms = int(self.clock.now() * 1000)
        types = frozenset({int(Type.REPLY)})
        try:
            return self.verifier.verify(data, audience=audience, types=types, now_ms=now_ms)
        except Rejected as error:
            header = parse_header(data) if error.code in ("E_SENDER", "E_REVOKED") else None
            if header is None or await self._certificates.fetch(header.serial) is None:
                raise
            self.verifier.counts[error.code] -= 1  # not refused yet
            return self.verifier.verify(data, audience=audience, types=types, now_ms=now_ms)

    # --- in --------------------------------------------------------------------------------------------------------------------

    async def listen(
        self, pattern: str, handler: Handler, *, queue: str = "", wanted: Wanted | None = None
    ) -> Subscription:
        """Call `handler` for each verified envelope on `pattern`.

        A plain function is called at once, in the reader; a coroutine function is awaited there too, so it must be quick. Several handlers of one pattern share one subscription, since an envelope
        passes the replay window once. What `wanted` (of the first of them) says no to is dropped unread, before its signature costs anything.
        """
        key = (pattern, queue)
        async with self._listening:  # subscribing takes a while, and two may want the same pattern
            listened = self._handlers.get(key)
            if listened is None:
                listened = _Listened(key)
                handlers = listened.handlers

                def on_message(msg: Msg) -> Awaitable[None] | None:
                    return self._receive(msg, handlers, wanted)

                handlers.append(handler)  # before the first message can come
                listened.subscription = await self.bus.subscribe(
                    pattern, cast("Any", on_message), queue=queue
                )
                self._handlers[key] = listened
            else:
                listened.handlers.append(handler)
        return _Listening(self, listened, handler)

    async def _forget(self, listened: _Listened, handler: Handler) -> None:
        async with self._listening:
            if handler not in listened.handlers:
                return
            listened.handlers.remove(handler)
            if not listened.handlers and self._handlers.get(listened.key) is listened:
                del self._handlers[listened.key]
                assert listened.subscription is not None
                await listened.subscription.unsubscribe()

    async def serve(
        self, service: str, handler: Callable[[Received], Awaitable[Reply | None]], *, shared: bool = True
    ) -> Subscription:
        """Answer a service's requests, one task each. A named error becomes the answer; any other one becomes `E_INTERNAL`.

        Of several that serve, one gets each request; all of them if it is not `shared`: who is not meant returns None, and says nothing.
        """

        def on_request(received: Received) -> None:
            # The bus lets anybody name any inbox as the reply address: answer only into the requester's own.
            if received.reply is None or not received.reply.startswith(f"_I.{received.route.me}."):
                self.verifier.counts["E_REPLY"] += 1
                return
            if len(self._running) >= _REQUESTS_MAX:
                self.verifier.counts["E_RATE"] += 1
                return
            self._spawn(self._answer(received, handler))

        return await self.listen(subjects.requests_of(service), on_request, queue=service if shared else "")

    async def _answer(
        self, received: Received, handler: Callable[[Received], Awaitable[Reply | None]]
    ) -> None:
        try:
            reply = await handler(received)
            if reply is None:
                return
        except ZwermError as error:
            reply = Reply(
                ok=False, code=error.code[:48], message=error.message[:2000], hint=error.hint[:2000]
            )
        except Exception:
            log.exception("service handler failed")
            self.handler_errors["service"] += 1
            reply = Reply(
                ok=False,
                code="E_INTERNAL",
                message="the service failed at this request",
                hint="Its log has the reason: `zwerm doctor` on that device.",
            )
        assert received.reply is not None
        adapter = body_adapter(Type.REPLY)
        try:
            body = packed(Type.REPLY, adapter.dump_python([reply], by_alias=True, exclude_defaults=True))
        except MeshError as error:
            reply = Reply(ok=False, code=error.code, message=error.message[:2000], hint="Ask for less.")
            body = packed(Type.REPLY, adapter.dump_python([reply], by_alias=True, exclude_defaults=True))
        raw = self._sealer.seal(
            Type.REPLY,
            subjects.audience_node(received.node),
            body,
            now_ms=int(self.clock.now() * 1000),
            ttl_s=30,
            context=hashlib.sha256(received.raw).digest()[:16],
        )
        with contextlib.suppress(MeshError):  # the connection is down: the requester asks again
            await self.bus.publish(received.reply, raw)

    def _receive(
        self, msg: Msg, handlers: list[Handler], wanted: Wanted | None = None
    ) -> Awaitable[None] | None:
        try:
            route = subjects.route(msg.subject)
            if wanted is not None and not wanted(route):
                return None
            received = self._open(msg, route)
        except Rejected as error:
            # E_REVOKED also says: a serial that is not the current one. It may be a renewal that has not been seen here yet.
            if error.code in ("E_SENDER", "E_REVOKED") and self._hold(msg, handlers):
                self.verifier.counts[error.code] -= 1  # not refused yet: counted when it is
                return None
            log.debug("refused %s on %s", error.code, msg.subject)
            return None
        return self._hand_over(received, handlers)

    def _open(self, msg: Msg, route: subjects.Route) -> Received:
        text = self._audience(route)
        accepted = self.verifier.verify(
            msg.data,
            audience=audience_hash(text),
            types=types_on(route.kind),
            now_ms=int(self.clock.now() * 1000),
            bus_key=route.me or None,
        )
        items = self._decode(accepted)
        return Received(
            msg.subject, route, accepted.header, items, accepted.member, msg.data, msg.reply or None
        )

    def _decode(self, accepted: Accepted) -> list[Item]:
        return decode(self.verifier, accepted)

    def _hand_over(self, received: Received, handlers: list[Handler]) -> Awaitable[None] | None:
        outcomes: list[Awaitable[None]] = []
        for handler in handlers:
            try:
                outcome = handler(received)
            except Exception:
                log.exception("handler of %s failed", received.subject)
                self.handler_errors[received.route.kind] += 1
                continue
            if outcome is not None:
                outcomes.append(outcome)
        return self._guard(outcomes, received) if outcomes else None

    async def _guard(self, outcomes: list[Awaitable[None]], received: Received) -> None:
        for outcome in outcomes:
            try:
                await outcome
            except Exception:
                log.exception("handler of %s failed", received.subject)
                self.handler_errors[received.route.kind] += 1

    # --- unknown senders -------------------------------------------------------------------------------------------------------

    def _hold(self, msg: Msg, handlers: list[Handler]) -> bool:
        """Keep a message while its sender's certificate is fetched; False when there is no room or no point."""
        if self._tasks is None:
            return False
        header = parse_header(msg.data)
        known = self._directory.get(header.sender)
        if known is not None and header.serial in known.grants:
            return False
        if sum(map(len, self._held.values())) >= _HELD_MAX:
            return False
        held = self._held.get(header.serial)
        if held is not None:
            held.append((msg, handlers))
            return True
        self._held[header.serial] = [(msg, handlers)]
        self._spawn(self._fetch_sender(header.serial))
        return True

    async def _fetch_sender(self, serial: bytes) -> None:
        member: Member | None = None
        try:
            async with asyncio.timeout(_HELD_S):
                member = await self._certificates.fetch(serial)
        except (TimeoutError, ZwermError) as error:
            log.warning("certificate %s not fetched: %s", serial.hex(), error)
        held = self._held.pop(serial, [])
        if member is None:
            self.verifier.counts["E_SENDER"] += len(held)
            return
        for msg, handlers in held:
            try:
                received = self._open(msg, subjects.route(msg.subject))
            except Rejected as error:
                log.debug("refused %s on %s", error.code, msg.subject)
                continue
            outcome = self._hand_over(received, handlers)
            if outcome is not None:
                await outcome

    def _spawn(self, coroutine: Any) -> None:
        if self._tasks is None:
            coroutine.close()
            return
        task = self._tasks.create_task(self._contained(coroutine))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _contained(self, coroutine: Awaitable[None]) -> None:
        try:
            await coroutine
        except Exception:
            log.exception("endpoint task failed")
            self.handler_errors["task"] += 1

    # --- stored ----------------------------------------------------------------------------------------------------------------

    def seal_record(self, run: str, records: Sequence[Record], chain: Chain | None = None) -> bytes:
        """One journal message: the link to the one before, and up to 255 records of one run (256 without a link), signed, flagged as stored."""
        return seal_pack(self._sealer, run, records, chain, now_ms=int(self.clock.now() * 1000))

    def open_record(self, run: str, data: bytes, at_ms: int) -> tuple[Header, list[Record]]:
        """The records of a journal message: `open_pack` without the link.

        Raises:
            Rejected: as `open_pack`.
        """
        pack = self.open_pack(run, data, at_ms)
        return pack.header, pack.records

    def open_pack(self, run: str, data: bytes, at_ms: int) -> Pack:
        """A journal message back: verified as of the time at which it was stored.

        Raises:
            Rejected: it is not what a coordinator of this swarm wrote for this run; E_VERSION: it was, and a newer zwerm is needed to read it.
        """
        return open_pack(self.verifier, run, data, at_ms)

    def seal_head(self, head: Head) -> bytes:
        """The checkpoint of a run's journal, signed, flagged as stored."""
        body = packed(Type.HEAD, body_adapter(Type.HEAD).dump_python([head], by_alias=True))
        return self._sealer.seal(
            Type.HEAD,
            subjects.audience_journal(head.run),
            body,
            now_ms=int(self.clock.now() * 1000),
            ttl_s=0,
            context=run_bytes(head.run),
            flags=FLAG_JOURNAL,
        )

    def open_head(self, run: str, data: bytes, at_ms: int) -> Head:
        """A checkpoint back: verified as of the time at which it was stored.

        Raises:
            Rejected: it is not what a coordinator of this swarm wrote about this run.
        """
        accepted = self.verifier.verify_stored(
            data,
            audience=audience_hash(subjects.audience_journal(run)),
            types=frozenset({int(Type.HEAD)}),
            at_ms=at_ms,
        )
        items = self._decode(accepted)
        if len(items) != 1 or not isinstance(items[0], Head) or items[0].run != run:
            raise self.verifier.refuse_accepted(accepted, "E_SCHEMA", "it is not the head of this run")
        return items[0]

    def use_certificate(self, serial: bytes) -> None:
        """From now on sign under a renewed certificate."""
        self._sealer.serial = serial

    def refused(self) -> int:
        """How many envelopes were refused so far."""
        return sum(self.verifier.counts.values())

    def _audience(self, route: subjects.Route) -> str:
        if route.kind not in ("to", "inbox"):
            return subjects.audience(route)
        node = self.node if route.to == self.me else self._certificates.node_of(route.to)
        if node is None:
            raise Rejected("E_SENDER", f"no member is known by the bus key {route.to}")
        return subjects.audience(route, node)
