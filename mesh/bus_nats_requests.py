"""Shell: requests and their answers over one inbox of a NATS connection.

One subscription (`pattern`) serves all requests; each has a token as the last part of its reply subject. The bus owns that subscription like
any other, so an answer arrives even if the connection was changed in between. A joiner without a credential may only have an inbox of one
token (`shared`), so it asks one thing at a time. Counterpart: `bus_nats.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.msg import Msg as WireMsg

from .errors import BusTimeout, MeshError, NoResponders

__all__ = ["Answers", "NatsRequests", "Send"]

Answers = asyncio.Queue[WireMsg]

Send = Callable[[str, bytes, str, "dict[str, str] | None"], Awaitable[None]]
"""Publishes (subject, data, reply, headers)."""


class NatsRequests:
    """The requests of one bus that wait for answers."""

    def __init__(self, inbox: str, send: Send, *, shared: bool) -> None:
        self.pattern = inbox if shared else f"{inbox}.*"
        """What to subscribe to, with `receive`."""
        self._inbox = inbox
        self._send = send
        self._turn = asyncio.Lock() if shared else None
        self._last = 0
        self._single: dict[str, asyncio.Future[WireMsg]] = {}
        self._many: dict[str, Answers] = {}

    async def receive(self, message: WireMsg) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        token = message.subject[len(self._inbox) + 1 :]
        single = self._single.get(token)
        if single is not None:
            if not single.done():
                single.set_result(message)
            return
        many = self._many.get(token)
        if many is not None:
            many.put_nowait(message)

    async def one(
        self, subject: str, data: bytes, headers: dict[str, str] | None, timeout_s: float
    ) -> WireMsg:
        """Ask and wait for one answer.

        Raises:
            NoResponders: nobody serves the subject.
            BusTimeout: no answer within `timeout_s` seconds.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if self._turn is None:
                    return await self._ask(subject, data, headers)
                async with self._turn:
                    return await self._ask(subject, data, headers)
        except TimeoutError as error:
            raise BusTimeout(f"no answer on {subject} within {timeout_s:g} s") from error

    async def _ask(self, subject: str, data: bytes, headers: dict[str, str] | None) -> WireMsg:
        token, reply = self._new_reply()
        answer: asyncio.Future[WireMsg] = asyncio.get_running_loop().create_future()
        self._single[token] = answer
        try:
            await self._send(subject, data, reply, headers)
            message = await answer
        finally:
            del self._single[token]
        if not message.data and message.headers and message.headers.get("Status") == "503":
            raise NoResponders(subject)
        return message

    @contextlib.asynccontextmanager
    async def many(self, subject: str, data: bytes) -> AsyncIterator[Answers]:
        """Ask what many messages answer; they come in the queue until the context ends."""
        token, reply = self._new_reply()
        answers: Answers = asyncio.Queue()
        self._many[token] = answers
        try:
            await self._send(subject, data, reply, None)
            yield answers
        finally:
            del self._many[token]

    def fail_all(self, error: MeshError) -> None:
        """Nothing will be answered any more: the connection was closed."""
        for answer in self._single.values():
            if not answer.done():
                answer.set_exception(error)

    def _new_reply(self) -> tuple[str, str]:
        if self._turn is not None:
            return "", self._inbox
        self._last += 1
        return str(self._last), f"{self._inbox}.{self._last}"
