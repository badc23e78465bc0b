"""The bus in one process: what tests and simulated worlds use in place of `bus_nats.py`.

A `MemoryHub` is the server; it owns one task per subscription while its context is open. Deliveries can be dropped, doubled or put off by a given
`random.Random`, so that one seed is one history. With a role, a member is held to the very table that a server enforces
(`bus_accounts.PERMISSIONS`). Nothing here looks at a clock.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from types import TracebackType
from typing import Self

from .bus import MAX_PAYLOAD_BYTES, BusState, BusStats, Handler, Msg, StateCallback, covers, matches
from .bus_accounts import (
    ENROL_INBOX,
    ENROL_PERMISSION,
    Permission,
    Role,
    inbox_prefix,
    permission_for,
)
from .errors import BusTimeout, BusUnreachable, NoResponders, PayloadTooLarge

__all__ = ["MemoryBus", "MemoryHub"]

_log = logging.getLogger(__name__)

_MOST_TURNS = 8
"""A delivery that is put off arrives up to this many turns of the event loop later."""


class _MemorySubscription:
    """A handler and the queue before it."""

    def __init__(self, bus: MemoryBus, pattern: str, queue: str, handler: Handler) -> None:
        self.bus = bus
        self.pattern = pattern
        self.queue = queue
        self.handler = handler
        self.waiting: asyncio.Queue[Msg | None] = asyncio.Queue()

    async def unsubscribe(self) -> None:
        """See `bus.Subscription`."""
        self.bus.hub.remove(self)

    async def read(self) -> None:
        """Handle messages one at a time until told to end."""
        while (msg := await self.waiting.get()) is not None:
            if self not in self.bus.hub.subscriptions:
                continue
            self.bus.stats.received += 1
            try:
                result = self.handler(msg)
                if result is not None:
                    await result
            except Exception:  # noqa: BLE001  # one bad message or handler must not end the subscription
                self.bus.stats.handler_errors += 1
                _log.exception("a handler of %s failed on %s", self.pattern, msg.subject)


class MemoryHub:
    """The server's part. Use it as an async context; members connect with `connect`."""

    def __init__(
        self,
        rng: random.Random | None = None,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        delay: float = 0.0,
    ) -> None:
        """Chances (0.0 to 1.0) that a delivery is lost, doubled, or put off behind later ones; they need `rng`."""
        self._rng = rng or random.Random(0)  # noqa: S311  # a simulation, not a secret
        self.drop = drop
        self.duplicate = duplicate
        self.delay = delay
        self.subscriptions: list[_MemorySubscription] = []
        self._turns: dict[tuple[str, str], itertools.count[int]] = {}
        self._group = asyncio.TaskGroup()
        self._members: list[MemoryBus] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in list(self._members):
            await member.close()
        await self._group.__aexit__(kind, error, trace)

    def connect(self, me: str | None = None, role: Role | None = None) -> MemoryBus:
        """A member with public bus key `me` (None: a joiner); with a role it may do only what that role may."""
        permission = None
        if me is None:
            permission = ENROL_PERMISSION
        elif role is not None:
            permission = permission_for(role, me)
        member = MemoryBus(self, me, permission)
        self._members.append(member)
        return member

    def add(self, subscription: _MemorySubscription) -> None:
        """Start to deliver to a subscription."""
        self.subscriptions.append(subscription)
        self._group.create_task(subscription.read())

    def remove(self, subscription: _MemorySubscription) -> None:
        """Stop to deliver to a subscription."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
            subscription.waiting.put_nowait(None)

    def leave(self, member: MemoryBus) -> None:
        """A member has gone."""
        for subscription in [one for one in self.subscriptions if one.bus is member]:
            self.remove(subscription)
        if member in self._members:
            self._members.remove(member)

    def route(self, msg: Msg) -> int:
        """Deliver a message; how many subscriptions it went to, losses included."""
        receivers = [one for one in self.subscriptions if not one.queue and matches(one.pattern, msg.subject)]
        groups: dict[tuple[str, str], list[_MemorySubscription]] = {}
        for one in self.subscriptions:
            if one.queue and matches(one.pattern, msg.subject):
                groups.setdefault((one.queue, one.pattern), []).append(one)
        for name, members in groups.items():
            turn = next(self._turns.setdefault(name, itertools.count()))
            receivers.append(members[turn % len(members)])
        for receiver in receivers:
            self._deliver(receiver, msg)
        return len(receivers)

    def _deliver(self, receiver: _MemorySubscription, msg: Msg) -> None:
        if msg.reply:
            receiver.bus.may_answer(msg.reply)
        if self.drop and self._rng.random() < self.drop:
            receiver.bus.stats.dropped += 1
            return
        copies = 2 if self.duplicate and self._rng.random() < self.duplicate else 1
        for _ in range(copies):
            turns = self._rng.randint(1, _MOST_TURNS) if self.delay and self._rng.random() < self.delay else 0
            self._put(receiver, msg, turns)

    def _put(self, receiver: _MemorySubscription, msg: Msg, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._put, receiver, msg, turns - 1)
        else:
            receiver.waiting.put_nowait(msg)


class MemoryBus:
    """`bus.Bus` for one member of a hub."""

    def __init__(self, hub: MemoryHub, me: str | None, permission: Permission | None) -> None:
        """Use `MemoryHub.connect`."""
        self.hub = hub
        self.inbox_prefix = ENROL_INBOX if me is None else inbox_prefix(me)
        self.stats = BusStats(connects=1)
        self.recent_refusals: deque[str] = deque(maxlen=50)
        self._permission = permission
        self._answerable: deque[str] = deque(maxlen=10_000)
        self._callbacks: list[StateCallback] = []
        self._closed = False
        self._up = True
        self._tokens = itertools.count(1)

    @property
    def connected(self) -> bool:
        """Whether messages go through."""
        return self._up and not self._closed

    def set_connected(self, up: bool) -> None:
        """Cut this member off, or let it back in (a fault to test with)."""
        self._up = up
        self._tell(BusState.CONNECTED if up else BusState.RECONNECTING, "as the test wants it")

    def on_state(self, callback: StateCallback) -> None:
        """See `bus.Bus.on_state`."""
        self._callbacks.append(callback)

    def may_answer(self, reply: str) -> None:
        """A request was delivered to this member: it may answer it once, if its role answers requests."""
        if self._permission is not None and self._permission.answers:
            self._answerable.append(reply)

    async def publish(self, subject: str, data: bytes, *, reply: str | None = None) -> None:
        """See `bus.Bus.publish`."""
        self._send(subject, data, reply or "")

    def _send(self, subject: str, data: bytes, reply: str) -> int:
        if len(data) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLarge(len(data), MAX_PAYLOAD_BYTES)
        if not self.connected:
            self.stats.dropped += 1
            raise BusUnreachable("there is no connection to the bus")
        self.stats.sent += 1
        if not self._may_publish(subject):
            self._refuse(f'publish to "{subject}"')
            return 0
        return self.hub.route(Msg(subject, bytes(data), reply))

    def _may_publish(self, subject: str) -> bool:
        if self._permission is None or any(matches(allowed, subject) for allowed in self._permission.publish):
            return True
        if subject in self._answerable:
            self._answerable.remove(subject)
            return True
        return False

    def _refuse(self, what: str) -> None:
        self.stats.refusals += 1
        self.recent_refusals.append(f"permissions violation for {what}")

    async def subscribe(self, pattern: str, handler: Handler, *, queue: str = "") -> _MemorySubscription:
        """See `bus.Bus.subscribe`."""
        subscription = _MemorySubscription(self, pattern, queue, handler)
        if self._permission is None or any(
            covers(allowed, pattern) for allowed in self._permission.subscribe
        ):
            self.hub.add(subscription)
        else:
            self._refuse(f'subscription to "{pattern}"')
        return subscription

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `bus.Bus.request`."""
        inbox = f"{self.inbox_prefix}.r{next(self._tokens)}"
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(msg: Msg) -> None:
            if not answer.done():
                answer.set_result(msg.data)

        subscription = await self.subscribe(inbox, take)
        try:
            async with asyncio.timeout(timeout_s):
                if not self._send(subject, data, inbox):
                    raise NoResponders(subject)
                return await answer
        except TimeoutError as error:
            raise BusTimeout(f"no answer on {subject} within {timeout_s:g} s") from error
        finally:
            await subscription.unsubscribe()

    async def flush(self, timeout_s: float = 5.0) -> None:
        """See `bus.Bus.flush`."""
        del timeout_s
        if not self.connected:
            raise BusUnreachable("there is no connection to the bus")
        await asyncio.sleep(0)

    async def close(self) -> None:
        """See `bus.Bus.close`."""
        if not self._closed:
            self._closed = True
            self.hub.leave(self)
            self._tell(BusState.CLOSED, "closed by this device")

    def _tell(self, state: BusState, reason: str) -> None:
        for callback in self._callbacks:
            callback(state, reason)
