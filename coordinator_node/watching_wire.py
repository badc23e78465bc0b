"""Shell: what watchers hear and ask over one connection: events as they come, and pages of a run's journal.

Rule. Every watcher of a connection hears through one `Ears`: an envelope passes the verifier once, whatever number of subscriptions brings it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from mesh.bus import BusState, Subscription
from mesh.endpoint import AnswerRefused, CallFailed, Endpoint, Received
from mesh.errors import MeshError
from protocol import subjects
from protocol.ids import RUN_ID_CHARS
from protocol.messages import Event, RunEvents

from .watching import Page, PageDamaged, read_page

__all__ = ["ASK_S", "Ears", "fetch_page", "find_run", "passing"]

ASK_S: Final = 5.0
"""How long one question waits for its answer."""
_PAGE: Final = 500
_PASSING: Final = frozenset(
    {"E_STORE", "E_TIMEOUT", "E_BUS_UNREACHABLE", "E_NO_RESPONDERS", "E_NO_ANSWER", "E_INTERNAL"}
)
"""What a coordinator says while it, or the bus, is on its way up or down."""


def passing(error: MeshError) -> bool:
    """Whether an answer, or its absence, is one of those that pass while a bus or a coordinator comes up: asking again may help."""
    if isinstance(error, CallFailed) and not isinstance(error, AnswerRefused):
        return error.code in _PASSING
    return error.retryable or isinstance(error, AnswerRefused)


@dataclass(slots=True)
class _Ear:
    """One watcher's interest."""

    run: str | None
    on_events: Callable[[str, list[Event]], None]
    on_connected: Callable[[], None]


class Ears:
    """What all watchers of one connection hear."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._ears: list[_Ear] = []
        self._listening: dict[str, tuple[int, Subscription]] = {}
        self._lock = asyncio.Lock()
        endpoint.bus.on_state(self._on_state)

    @contextlib.asynccontextmanager
    async def open(
        self, run: str | None, on_events: Callable[[str, list[Event]], None], on_connected: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Hear the events of a run, or of all (None), inside the block."""
        ear = _Ear(run, on_events, on_connected)
        pattern = subjects.events_all() if run is None else subjects.events(run)
        self._ears.append(ear)
        try:
            await self._listen(pattern)
            try:
                yield
            finally:
                await self._unlisten(pattern)
        finally:
            self._ears.remove(ear)

    async def _listen(self, pattern: str) -> None:
        async with self._lock:
            if pattern in self._listening:
                count, listening = self._listening[pattern]
            else:
                count, listening = 0, await self.endpoint.listen(pattern, self._on_received)
            self._listening[pattern] = (count + 1, listening)

    async def _unlisten(self, pattern: str) -> None:
        async with self._lock:
            count, listening = self._listening.pop(pattern)
            if count > 1:
                self._listening[pattern] = (count - 1, listening)
            else:
                await listening.unsubscribe()

    def _on_received(self, received: Received) -> None:
        events = [item for item in received.items if isinstance(item, Event)]
        for ear in list(self._ears):
            if ear.run is None or ear.run == received.run:
                ear.on_events(received.run, events)

    def _on_state(self, state: BusState, _reason: str) -> None:
        if state is BusState.CONNECTED:
            for ear in list(self._ears):
                ear.on_connected()


async def fetch_page(
    endpoint: Endpoint, run: str, after: int, *, limit: int = _PAGE, timeout_s: float = ASK_S
) -> Page:
    """One page of a run's events; `run` may be the end of its id.

    Raises:
        CallFailed: there is no such run, or it cannot be read. NoAnswer: no coordinator is up.
    """
    reply = await endpoint.call("runs", RunEvents(run=run, after=after, limit=limit), timeout_s=timeout_s)
    try:
        return read_page(reply.data)
    except PageDamaged as error:
        raise CallFailed(
            "E_SCHEMA",
            f"the coordinator's answer is no page of events: {error}",
            "Update zwerm so that both sides have one version.",
        ) from None


async def find_run(endpoint: Endpoint, name: str, *, timeout_s: float = 10.0) -> str:
    """The whole id of the run that `name` is, or is the end of.

    Raises:
        CallFailed: none or several fit. NoAnswer: no coordinator is up.
    """
    if len(name) == RUN_ID_CHARS:
        return name
    return (await fetch_page(endpoint, name, 0, limit=1, timeout_s=timeout_s)).run
