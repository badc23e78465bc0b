"""What one attempt has used and what it has stored of its unfinished work, held to what it may use. A core.

Rules. Steps, tokens and money are what the agent says; where it counts no steps, those that it showed count. Bytes are what this node stored for
it, which it does not say itself. What would go beyond the caps is refused before it is stored; what an agent says that it used beyond them ends
its work, and is passed on as it was said. Counterparts: `executor` (obeys), `attempt` (says it).
"""

from __future__ import annotations

from protocol.messages import NamedRef, Usage
from protocol.messages.work import PARTIAL_MAX, WorkState

from .errors import WorkError

__all__ = ["NO_BOUND", "Spending", "least"]

NO_BOUND = 1 << 52
"""A cap of this much bounds nothing (SPEC BUD-2)."""
_KINDS = ("money", "tokens", "steps", "bytes_out", "children")


class Spending:
    """Of one attempt. `caps` None: no bound."""

    def __init__(self, caps: Usage | None) -> None:
        self.caps = caps
        self.step = 0
        self.waits: tuple[WorkState, int] | None = None
        """What it waits for, and about how many milliseconds; None: it works."""
        self._counted: Usage | None = None
        self._bytes = 0
        self._kept: dict[str, NamedRef] = {}

    @property
    def used(self) -> Usage | None:
        """All of it so far; None: nothing was counted."""
        if self._bytes == 0:
            return self._counted
        counted = self._counted or Usage(steps=self.step)
        return counted.model_copy(update={"bytes_out": self._bytes})

    @property
    def kept(self) -> list[NamedRef]:
        """Unfinished files that are stored, the newest last; of two with one name the newer."""
        return list(self._kept.values())

    def moved(self, step: int, counted: Usage | None = None) -> None:
        """The agent says that it moved, and perhaps what it has used so far.

        Raises:
            WorkError: E_BUDGET, that is more than it may.
        """
        self.step = max(self.step, step)
        if counted is not None:
            self._counted = counted
        self.check()

    def ended(self, counted: Usage | None) -> None:
        """The agent's last word on what it used."""
        if counted is not None:
            self._counted = counted

    def check(self) -> None:
        """Whether what it has used is what it may use.

        Raises:
            WorkError: E_BUDGET, it is more.
        """
        if self.caps is None:
            return
        used = self._counted or Usage(steps=min(NO_BOUND, self.step))
        for kind in _KINDS:
            amount, most = getattr(used, kind), getattr(self.caps, kind)
            if kind != "bytes_out" and amount > most < NO_BOUND:
                raise _too_much(kind, amount, most)

    def store(self, size: int) -> None:
        """Bytes are about to be stored.

        Raises:
            WorkError: E_BUDGET, they would be more than it may store; nothing was counted.
        """
        most = NO_BOUND if self.caps is None else self.caps.bytes_out
        if self._bytes + size > most < NO_BOUND:
            raise _too_much("bytes_out", self._bytes + size, most)
        self._bytes += size

    def keep(self, named: NamedRef) -> None:
        """An unfinished file is stored."""
        self._kept.pop(named.name, None)
        self._kept[named.name] = named
        while len(self._kept) > PARTIAL_MAX:
            del self._kept[next(iter(self._kept))]


def least(first: Usage | None, second: Usage | None) -> Usage | None:
    """Both bounds at once; None is no bound."""
    if first is None or second is None:
        return first or second
    return Usage(**{kind: min(getattr(first, kind), getattr(second, kind)) for kind in _KINDS})


def _too_much(kind: str, amount: int, most: int) -> WorkError:
    return WorkError(
        "E_BUDGET",
        f"the work would use {amount:,} of {kind}, and {most:,} is what was set aside for it",
        again=True,
    )
