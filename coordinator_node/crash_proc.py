"""Shell: dying on purpose at a named point, so that a test can end a coordinator exactly where it may hurt.

Rules. Off unless the environment variable `ZWERM_CRASH_AT` names a point, or `point:nth` for the nth time that it is passed. The process then kills
itself with SIGKILL: nothing is flushed, closed or said, as in a power cut. Points are spelled here and nowhere else; one that is not known
ends the start, since a test that kills nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable
from typing import Final

from mesh.errors import BadSettings

__all__ = ["CRASH_AT", "POINTS", "Fuse", "crash_point", "crash_points", "crash_soon"]

CRASH_AT: Final = "ZWERM_CRASH_AT"

_SOON_S: Final = 0.0005
"""What was just published is on the wire by then, and its answer has not come."""
_RECORDS: Final = (
    "run.opened",
    "plan.adopted",
    "run.owned",
    "subtask.awarded",
    "subtask.accepted",
    "run.closed",
)
_ITEMS: Final = ("Announce", "Award", "ResultAck", "Event")

POINTS: Final = (
    "submit.planned",  # the plan is stored, nothing is in the journal
    "submit.stands",  # the run is in the journal, its client has not been told
    "recover.read",  # the journal was read back, nothing was taken up
    "recover.taken",  # runs were taken up in memory, nobody is listened to
    "event.before",  # something was heard, the engine does not know it
    "event.folded",  # it was decided and folded, nothing is written
    "append.before",  # records are sealed, not published
    "append.flying",  # published, not acknowledged
    "append.acked",  # durable, and we do not act on it
    "append.released",  # durable and carried out
    "command.before",
    "command.after",
    "check.before",  # a result is to be checked
    "check.after",  # it was checked, the engine does not know how
    *(f"{when}.{kind}" for kind in _RECORDS for when in ("before", "durable")),
    *(f"{when}.{item}" for item in _ITEMS for when in ("say", "said")),
)
"""Every point, in no order."""


class Fuse:
    """Counts how often its point is passed, and calls `end` at the nth time.

    Args:
        setting: `point` or `point:nth`.
        end: what ends the process.

    Raises:
        BadSettings: there is no such point.
    """

    def __init__(self, setting: str, end: Callable[[], None]) -> None:
        name, _, nth = setting.partition(":")
        if name not in POINTS or not (nth or "1").isdigit():
            raise BadSettings(
                f"{CRASH_AT}={setting}: there is no such point to crash at",
                f"Unset it (it is for tests), or use one of: {', '.join(POINTS)}, with :nth behind it.",
            )
        self._name = name
        self._left = int(nth or "1")
        self._end = end

    def passed(self, name: str) -> None:
        """A point is passed."""
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                self._end()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _off(name: str) -> None:
    """No point is set."""


_setting: Final = os.environ.get(CRASH_AT, "")
crash_point: Callable[[str], None] = Fuse(_setting, _die).passed if _setting else _off
"""Call it with the name of the point that is passed."""


def crash_points(prefix: str, names: Iterable[str]) -> None:
    """Pass one point for each name, if any point is set at all."""
    if _setting:
        for name in names:
            crash_point(f"{prefix}.{name}")


def crash_soon(name: str) -> None:
    """Pass a point a moment later, while what the caller does next is under way."""
    if _setting:
        asyncio.get_running_loop().call_later(_SOON_S, crash_point, name)
