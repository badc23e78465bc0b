"""Shell: how much room the journal has, and what may still be written into it.

Rules. From 80 % on no new run is taken, from 95 % on nothing is begun: what is under way ends, and its endings are written. When there is room again (the setting
`journal_mib` was raised, or old runs have run out of their time) everything goes on by itself, a little below the marks, so that it does not flutter.
An append for which there is no room is repeated, never dropped; while one is, nothing is begun either, however much room is said to be left: the server's own disk may be full. Whoever
asks is told (`why`). Counterparts: `service` refuses runs, `engine` begins nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mesh.errors import MeshError

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

__all__ = ["ENDINGS_AT", "FULL_AT", "Level", "Space", "level_at"]

log = logging.getLogger("zwerm.space")

Level: TypeAlias = Literal["room", "no runs", "endings"]
"""What may be written: everything; everything but new runs; only what ends something."""

FULL_AT: Final = 0.80
ENDINGS_AT: Final = 0.95
_BACK: Final = 0.02
"""So far below a mark it is left again."""
_EVERY_S: Final = 5.0
_NEAR_S: Final = 1.0
_NEAR_AT: Final = 0.70


def level_at(share: float, before: Level) -> Level:
    """What may be written when this share of the journal's space is used."""
    if share >= ENDINGS_AT - (_BACK if before == "endings" else 0.0):
        return "endings"
    if share >= FULL_AT - (_BACK if before != "room" else 0.0):
        return "no runs"
    return "room"


class Space:
    """Watches the journal's space.

    Args:
        endpoint: has the journal.
        changed: told each new level.
        refused: whether an append waits for room.
    """

    def __init__(
        self, endpoint: Endpoint, changed: Callable[[Level], None], refused: Callable[[], bool]
    ) -> None:
        self._endpoint = endpoint
        self._changed = changed
        self._refused = refused
        self._wake = asyncio.Event()
        self.level: Level = "room"
        self.share = 0.0

    def look(self) -> None:
        """Look now: an append found no room, or found some again."""
        self._wake.set()

    async def measure(self) -> float:
        """The share of the journal's space that is used, now.

        Raises:
            MeshError: the journal does not answer.
        """
        usage = await self._endpoint.journal.usage()
        self.share = usage.share
        level = "endings" if self._refused() else level_at(usage.share, self.level)
        if level != self.level:
            self.level = level
            say = log.info if level == "room" else log.warning
            say("the journal has used %.0f %% of its space: %s", usage.share * 100, _SAID[level])
            self._changed(level)
        return usage.share

    @property
    def why(self) -> str:
        """What a person is told while not everything may be written; empty while it may."""
        if self.level == "room":
            return ""
        what = "no new run is taken" if self.level == "no runs" else "nothing is begun until there is room"
        if self._refused() and self.share < ENDINGS_AT:
            return (
                f"the server of the bus takes no more of the journal, perhaps since its disk is full: {what}"
            )
        return f"the journal has used {self.share:.0%} of its space: {what}"

    async def run(self) -> None:
        """Measure now and then, more often when it is nearly full; until cancelled."""
        while True:
            with contextlib.suppress(MeshError):
                await self.measure()
            with contextlib.suppress(TimeoutError):
                near = self.share >= _NEAR_AT or self.level != "room"
                async with asyncio.timeout(_NEAR_S if near else _EVERY_S):
                    await self._wake.wait()
            self._wake.clear()


_SAID: Final[dict[Level, str]] = {
    "room": "everything goes on",
    "no runs": "no new run is taken (give it more: `journal_mib` in config.toml of the device that runs the bus)",
    "endings": "nothing is begun until there is room (give it more: `journal_mib` in config.toml of the device that runs the bus)",
}
