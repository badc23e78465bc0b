"""A bad cable: a TCP proxy in front of one server that delays, throttles, loses time as TCP does on loss, or stops and later delivers all at once.

    async with SlowLink("127.0.0.1", port, rng) as link:
        link.quality = Quality(delay_s=0.075, jitter_s=0.05)
        ...                       # clients connect to link.port
        link.stall()              # nothing passes, nobody is told
        link.go_on()              # everything that came meanwhile, at once

Bytes keep their order and none is lost: TCP sees to that on a bad cable, too. What is on its way is bounded, so that a sender is held up as by a full buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["GOOD", "Quality", "SlowLink"]

_CHUNK = 4 * 1448
_FLYING_MAX = 256
"""Chunks on their way in one direction."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What the cable does to each packet, both ways."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more or less."""
    bytes_s: float = 0.0
    """What passes in a second; 0: as much as comes."""
    loss: float = 0.0
    """Share of packets that are sent again: what is behind them waits as well."""
    again_s: float = 0.2
    """How long it takes until a lost packet is sent again; double each further time."""


GOOD = Quality()


class SlowLink:
    """The cable between its clients and one server."""

    def __init__(self, host: str, port: int, rng: random.Random) -> None:
        self._to = (host, port)
        self._rng = rng
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.quality = GOOD
        self.port = 0
        self.accepted = 0
        """Connections that were tried."""
        self.carried = 0
        """Bytes that came through, both ways."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stall(self) -> None:
        """Nothing passes any more; connections stay, and new ones get no answer."""
        self._open.clear()

    def go_on(self) -> None:
        """Deliver what has gathered, at once."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        far: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            far_reader, far = await asyncio.open_connection(*self._to)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._way(reader, far))
                ways.create_task(self._way(far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()

    async def _way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """One direction. The end of one is the end of both: a bus's client and server speak all the time."""
        flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_FLYING_MAX)

        async def deliver() -> None:
            while True:
                due, data = await flying.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                again = self.quality.again_s
                while (
                    self._rng.random() < self.quality.loss
                ):  # by what the cable is like when it is sent again
                    await asyncio.sleep(again)
                    again *= 2
                await self._open.wait()
                if not data:
                    raise ConnectionResetError
                sink.write(data)
                self.carried += len(data)
                await sink.drain()

        async def take() -> None:
            due = free = 0.0
            while True:
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = await source.read(_CHUNK)
                quality, now = self.quality, time.monotonic()
                if quality.bytes_s:
                    free = max(free, now) + len(data) / quality.bytes_s
                late = quality.delay_s + self._rng.uniform(-quality.jitter_s, quality.jitter_s)
                due = max(due, now + late, free)
                await flying.put((due, data))
                if not data:
                    return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(deliver())
            tasks.create_task(take())
