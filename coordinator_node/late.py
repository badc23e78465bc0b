"""What is said of attempts that do not hold (any more), and of runs that are not here. A part of the engine.

Rules. An ending that was dealt with before is acknowledged as it was then. One of an attempt that no longer holds is late: written once, acknowledged, never
applied; who goes on with such an attempt is told to stop. What was never awarded to its sender is counted, and writes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from protocol.messages import Cancel, Cancelled, Failed, Progress, Result, ResultAck, Started
from protocol.records import LateResult

from .desk import Desk
from .orders import Say, WorkReceived
from .state import SubtaskState

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Late"]

_What = Literal["result", "failed", "cancelled"]


class Late:
    """The part of an engine that answers what comes too late. It keeps nothing of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stale(self, desk: Desk, event: WorkReceived, item: Any) -> None:
        """About an attempt that does not hold (any more)."""
        subtask = desk.state.subtasks.get(item.subtask)
        if subtask is None:
            return
        if isinstance(item, (Result, Failed, Cancelled)):
            applied = self._repeated(subtask, event.node, item)
            if applied is None:
                applied = False
                self._note_late(desk, subtask, event.node, item)
            ack = ResultAck(subtask=item.subtask, attempt=item.attempt, epoch=item.epoch, applied=applied)
            self._engine.command(Say(event.run, event.bus_key, ack))
        elif isinstance(item, (Started, Progress)):
            # It works on something that it no longer holds: spare it the effort.
            stop = Cancel(
                subtask=item.subtask, attempt=item.attempt, epoch=item.epoch, reason="no longer yours"
            )
            self._engine.command(Say(event.run, event.bus_key, stop))

    @staticmethod
    def _repeated(subtask: SubtaskState, node: str, item: Result | Failed | Cancelled) -> bool | None:
        """How an ending that was dealt with before was acknowledged then; None when it was not."""
        if not 0 < item.attempt <= len(subtask.attempts):
            return None
        attempt = subtask.attempts[item.attempt - 1]
        if (attempt.epoch, attempt.node) != (item.epoch, node):
            return None
        if isinstance(item, Result):
            return {"accepted": True, "rejected": False}.get(attempt.status)
        if attempt.status == "cancelled":
            return True
        code = item.code if isinstance(item, Failed) else "E_CANCELLED"
        return True if attempt.status == "failed" and attempt.code == code else None

    def _note_late(
        self, desk: Desk, subtask: SubtaskState, node: str, item: Result | Failed | Cancelled
    ) -> None:
        what: _What = (
            "result" if isinstance(item, Result) else "failed" if isinstance(item, Failed) else "cancelled"
        )
        attempt = subtask.attempts[item.attempt - 1] if 0 < item.attempt <= len(subtask.attempts) else None
        if attempt is None or (attempt.epoch, attempt.node) != (item.epoch, node):
            # It was never awarded to this node: counted, and nothing more, for the journal is not for rent.
            self._engine.refused["E_FENCE"] += 1
            return
        if (item.attempt, item.epoch, what) in subtask.late:
            return
        self._engine.emit(
            desk,
            LateResult(
                at_ms=self._engine.at_ms,
                subtask=item.subtask,
                attempt=item.attempt,
                epoch=item.epoch,
                node=node,
                what=what,
            ),
        )

    def unknown(self, event: WorkReceived) -> None:
        """About a run that is not in memory: one that has ended needs nothing more; of others we say nothing."""
        if not self._engine.is_closed(event.run):
            return
        for item in event.items:
            if isinstance(item, (Result, Failed, Cancelled)):
                ack = ResultAck(subtask=item.subtask, attempt=item.attempt, epoch=item.epoch, applied=False)
                self._engine.command(Say(event.run, event.bus_key, ack))
