"""The bus as a port: publish, subscribe, request, and what a message is.

Rules, the same for every implementation (`bus_memory.py`, `bus_nats.py`; one set of contract tests runs on both):
messages of one sender to one subject arrive in order, at most once, or not at all; publishing does not wait for the network; handlers of one
subscription run one at a time in order, and one that raises is counted and reported, never fatal; a message's subject is what the server
says, so receivers look at `msg.subject` and never at which subscription it came by.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

__all__ = [
    "ENROL_INBOX",
    "MAX_PAYLOAD_BYTES",
    "Bus",
    "BusState",
    "BusStats",
    "Handler",
    "Msg",
    "StateCallback",
    "Subscription",
    "covers",
    "inbox_prefix",
    "matches",
    "safe_reply",
]

MAX_PAYLOAD_BYTES: Final = 960 * 1024
"""Largest payload: the server cuts a connection for more than 1 MiB of headers and payload together."""


ENROL_INBOX: Final = "_E"
"""Where a joiner gets its answers, as `_E.<random>`: joiners may see each other's, which are sealed."""


def inbox_prefix(public: str) -> str:
    """The subject prefix under which alone a member receives answers."""
    return f"_I.{public}"


class Msg(NamedTuple):
    """One message as it came in: nothing in it is trusted before its envelope has been verified."""

    subject: str
    data: bytes
    reply: str = ""


Handler = Callable[[Msg], Awaitable[None] | None]
"""Plain functions are preferred: they run in the reader, without a task. A coroutine function is awaited before the next message."""


class BusState(Enum):
    """What the connection is doing."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    REFUSED = "refused"
    """The server is there and does not accept the credential; it is still tried again, now and then."""
    CLOSED = "closed"


StateCallback = Callable[[BusState, str], None]
"""Called with the new state and the reason in words."""


@dataclass(slots=True)
class BusStats:
    """Counters since the bus was opened."""

    sent: int = 0
    received: int = 0
    handler_errors: int = 0
    """Handlers that raised; each was logged with its subject."""
    dropped: int = 0
    """Messages that came faster than a handler took them, or were published while there was no connection."""
    connects: int = 0
    refusals: int = 0
    """Subjects that the server refused to publish or subscribe."""


class Subscription(Protocol):
    """A handler's registration."""

    async def unsubscribe(self) -> None:
        """No message is handled any more after this returns."""
        ...


class Bus(Protocol):
    """One member's connection to its swarm."""

    @property
    def inbox_prefix(self) -> str:
        """Answers come to `<inbox_prefix>.<token>`."""
        ...

    @property
    def connected(self) -> bool:
        """Whether messages go through at this moment, as far as is known."""
        ...

    @property
    def stats(self) -> BusStats:
        """Counters for status and doctor."""
        ...

    async def publish(self, subject: str, data: bytes, *, reply: str | None = None) -> None:
        """Send a message; returns before it has left.

        Raises:
            PayloadTooLarge: it is over `MAX_PAYLOAD_BYTES`.
            BusUnreachable: there is no connection and nothing more can be held back.
        """
        ...

    async def subscribe(self, pattern: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Have `handler` called for every message to `pattern` (`*` one token, `>` the rest).

        With `queue`, each message goes to one member of the group of that name.
        """
        ...

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send a request and wait for one answer.

        Raises:
            NoResponders: nobody serves the subject.
            BusTimeout: no answer in `timeout_s` seconds; the request may have been acted upon.
            BusUnreachable: there is no connection.
            PayloadTooLarge: it is over `MAX_PAYLOAD_BYTES`.
        """
        ...

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Wait until the server has everything that was published and subscribed so far.

        Raises:
            BusTimeout: it has not confirmed in time.
            BusUnreachable: there is no connection.
        """
        ...

    def on_state(self, callback: StateCallback) -> None:
        """Be told of every change of state."""
        ...

    async def close(self) -> None:
        """Send what is waiting, stop all handlers and leave; takes a few seconds at most."""
        ...


def safe_reply(msg: Msg, me: str) -> str | None:
    """The subject to answer to, if the requester may have answers there; None: do not answer.

    A server lets a service answer to whatever reply subject a request names, so a member could have answers sent into another's inbox. Hence
    the reply must begin with the inbox of `me`, the bus key that the request's subject names (SPEC SUB-4).
    """
    return msg.reply if msg.reply.startswith(f"_I.{me}.") else None


def matches(pattern: str, subject: str) -> bool:
    """Whether a message to `subject` goes to subscribers of `pattern`."""
    wanted, found = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(found) > index
        if index >= len(found) or part not in {"*", found[index]}:
            return False
    return len(wanted) == len(found)


def covers(allowed: str, pattern: str) -> bool:
    """Whether every subject within `pattern` is also within `allowed`."""
    wide, narrow = allowed.split("."), pattern.split(".")
    for index, part in enumerate(wide):
        if part == ">":
            return len(narrow) > index
        if index >= len(narrow) or narrow[index] == ">":
            return False
        if part not in {"*", narrow[index]}:
            return False
    return len(wide) == len(narrow)
