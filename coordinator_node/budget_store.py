"""Shell: the budgets of a day, of the swarm, a node or an agent, on the board, shared among coordinators by compare-and-set.

Rules. The entry `budget.<date>` (`budget.<date>.<node>`, and behind that the agent's name in hex) says how much of the day each coordinator has drawn; their sum never exceeds the limit. What was drawn is gone for everybody else, whatever
becomes of the coordinator: one that dies with a slice has spent it, one that goes down in order gives back what it did not use. A write whose outcome is
not known counts as done. Slices are a small part of the day, so that little is lost and few ask. Counterpart: `budget_purse` asks and spends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final, Protocol

from mesh.errors import WriteConflict
from mesh.workspace import Entry

from .budget import Kind

__all__ = ["Board", "DayBudget"]

log = logging.getLogger("zwerm.budget")

_SLICES: Final = 64
"""A coordinator draws a 64th of the day's budget at a time, or what it needs if that is more."""
_TRIES: Final = 200


class Board(Protocol):
    """The part of `mesh.workspace.KeyValue` that is used."""

    async def get(self, key: str) -> Entry | None:
        """The present value."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Set a key that has none."""
        ...

    async def put(self, key: str, value: bytes, expected: int) -> int:
        """Replace the value at a revision."""
        ...


class DayBudget:
    """One coordinator's access to the days' budgets.

    Args:
        board: where they are kept.
        node: who draws.
        limits: what the swarm may spend in a day; then what may be spent at one node, and with one agent.
    """

    def __init__(self, board: Board, node: str, *limits: dict[Kind, int]) -> None:
        self._board = board
        self._node = node
        self._limits = limits

    async def draw(self, day: str, wanted: dict[Kind, int]) -> tuple[dict[Kind, int], dict[Kind, int]]:
        """Take a slice of each kind that is wanted; what is granted, which may be less or nothing, and what all have drawn now.

        `day`: the date, or `DATE.NODE`, or `DATE.NODE.AGENT`.

        Raises:
            MeshError: the board does not answer; a slice may have been taken all the same, and is lost.
        """
        granted: dict[Kind, int] = {}
        total: dict[Kind, int] = {}
        limits = self._limits[len(day.split(".", 2)) - 1]

        def change(drawn: dict[str, dict[str, int]]) -> None:
            granted.clear()
            mine = drawn.setdefault(self._node, {})
            for kind, amount in wanted.items():
                limit = limits[kind]
                before = sum(one.get(kind, 0) for one in drawn.values())
                left = limit - before
                granted[kind] = min(max(0, left), max(amount, limit // _SLICES))
                mine[kind] = mine.get(kind, 0) + granted[kind]
                total[kind] = before + granted[kind]

        await self._change(day, change)
        return granted, total

    async def give_back(self, day: str, unused: dict[Kind, int]) -> None:
        """Return what was drawn and not used.

        Raises:
            MeshError: the board does not answer: it may or may not have been returned, and is not used any more.
        """

        def change(drawn: dict[str, dict[str, int]]) -> None:
            mine = drawn.setdefault(self._node, {})
            for kind, amount in unused.items():
                mine[kind] = max(0, mine.get(kind, 0) - amount)

        await self._change(day, change)

    async def _change(self, day: str, change: _Change) -> None:
        date, *whose = day.split(".", 2)
        key = ".".join(["budget", date, *whose[:1], *(agent.encode().hex() for agent in whose[1:])])
        entry = await self._board.get(key)
        for number in range(_TRIES):
            drawn: dict[str, dict[str, int]] = json.loads(entry.value)["drawn"] if entry else {}
            change(drawn)
            value = json.dumps({"schema": "zwerm.day/1", "drawn": drawn}, sort_keys=True).encode()
            try:
                if entry is None:
                    await self._board.create(key, value)
                else:
                    await self._board.put(key, value, entry.revision)
            except WriteConflict:
                await asyncio.sleep(min(0.05, 0.001 * number))
                entry = await self._board.get(key)
            else:
                return
        raise WriteConflict(f"{key} is written by others all the time")


class _Change(Protocol):
    def __call__(self, drawn: dict[str, dict[str, int]]) -> None: ...
