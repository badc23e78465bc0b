"""What comes while a coordinator's lease is out, and is decided when it has it again. A core.

Rules. An order to halt goes before everything else that waits, since the device has known it while the rest came; of several the newest says how it is. A bid is
not kept: it is made again when its subtask is announced again. Counterparts: `takeover_store`, `sim_takeover`.
"""

from __future__ import annotations

from typing import Final

from .orders import AnswersReceived, Event, HaltChanged

__all__ = ["HELD_MAX", "Waiting"]

HELD_MAX: Final = 10_000
"""Messages that wait; what is lost beyond that is said again."""


class Waiting:
    """All that waits of one coordinator."""

    def __init__(self) -> None:
        self._halts: dict[str, HaltChanged] = {}
        self._events: list[Event] = []

    def __len__(self) -> int:
        return len(self._halts) + len(self._events)

    def put(self, event: Event) -> None:
        """One more."""
        if isinstance(event, HaltChanged):
            self._halts[event.why] = event
        elif not isinstance(event, AnswersReceived) and len(self._events) < HELD_MAX:
            self._events.append(event)

    def overtaken_by(self, event: Event) -> bool:
        """Whether an event that comes now goes before what waits: then it waits in front of it, to be taken with it."""
        if not len(self) or not isinstance(event, HaltChanged):
            return False
        self.put(event)
        return True

    def take(self) -> list[Event]:
        """All of it, in the order in which it is to be decided; nothing waits any more."""
        found: list[Event] = [*self._halts.values(), *self._events]
        self._halts, self._events = {}, []
        return found
