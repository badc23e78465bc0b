"""Shell: what a coordinator says, put together: one message for everything of one kind, run and subject that is said at about the same time.

Rules. What somebody waits for leaves with the next turn of the loop. What nobody waits for (rejects, acknowledgements, most events) waits a little for
company, and goes along at once when something urgent goes the same way, so the order on one way is kept. What cannot be sent is not kept:
whatever still holds is said again by its own clock (awards and cancels by the watch, announcements by the next round).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mesh.errors import MeshError
from protocol.errors import ZwermError
from protocol.messages import Announce, Award, Cancel, Event, Item, Withdraw

from .crash_proc import crash_points
from .offers import award_values, values

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

__all__ = ["Speaker"]

log = logging.getLogger("zwerm.coordinator")

_LAZY_S: Final = 0.05
"""How long what nobody waits for may wait for company."""
_TTL_S: Final = 30
_SHORT_TTL_S: Final = 10
"""For what is of use only now."""
_VALUES_MAX: Final = 8_000
"""Values in one message, by estimate; it may hold 10,000 (`protocol.limits.MSGPACK_NODES`)."""

_Way = tuple[str, str, type[Item]]


class Speaker:
    """Everything that is to be said."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._out: dict[_Way, list[Item]] = {}
        self._lazy: dict[_Way, list[Item]] = {}
        self._something = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def say(self, subject: str, run: str, item: Item, *, lazy: bool = False) -> None:
        """Say an item of a run; `lazy`: nobody waits for it."""
        way = (subject, run, type(item))
        if lazy:
            self._lazy.setdefault(way, []).append(item)
            if self._timer is None and not self._closing:
                self._timer = asyncio.get_running_loop().call_later(_LAZY_S, self.flush)
            return
        before = self._lazy.pop(way, None)
        items = self._out.setdefault(way, [])
        if before is not None:
            items += before
        items.append(item)
        self._something.set()

    def flush(self) -> None:
        """What was put off has waited long enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for way, items in self._lazy.items():
            self._out.setdefault(way, []).extend(items)
        self._lazy.clear()
        self._something.set()

    def close(self) -> None:
        """Say what is left; then `run` ends."""
        self._closing = True
        self.flush()

    async def run(self) -> None:
        """Say things until `close`."""
        while self._out or not self._closing:
            await self._something.wait()
            self._something.clear()
            batch, self._out = self._out, {}
            for (subject, run, _), items in batch.items():
                for part in _parts(items):
                    await self._send(subject, run, part)

    async def _send(self, subject: str, run: str, items: list[Item]) -> None:
        ttl_s = _SHORT_TTL_S if isinstance(items[0], (Announce, Cancel, Withdraw)) else _TTL_S
        kind = (type(items[0]).__name__,)
        crash_points("say", kind)
        try:
            await self._endpoint.send(subject, items, run=run, ttl_s=ttl_s)
        except MeshError as error:
            log.warning("%d %s of run %s not sent: %s", len(items), type(items[0]).__name__, run[-6:], error)
        except ZwermError:
            log.exception("%d %s of run %s not sent", len(items), type(items[0]).__name__, run[-6:])
        crash_points("said", kind)


def _parts(items: list[Item]) -> Iterator[list[Item]]:
    """Items in lots that fit into a message."""
    part: list[Item] = []
    total = 0
    for item in items:
        weight = _weight(item)
        if part and total + weight > _VALUES_MAX:
            yield part
            part, total = [], 0
        part.append(item)
        total += weight
    yield part


def _weight(item: Item) -> int:
    """About how many values an item is."""
    if isinstance(item, Award):
        return award_values(item)
    if isinstance(item, Event):
        return 8 + values(item.data)
    if isinstance(item, Announce):
        return 10 + len(item.inputs)
    return 8
