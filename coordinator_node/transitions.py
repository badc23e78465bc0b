"""Which record may follow which state: one table for runs, one for subtasks; read by the fold, by tests and by the drawing in the documentation.

A pair that is not in its table is illegal. What the table cannot say the fold checks: numbers that must match (attempt, epoch, node), and that a subtask
with two attempts stays awarded when one of them comes to nothing.
"""

from __future__ import annotations

from typing import Final

from .state import AttemptStatus, RunStatus, SubtaskStatus

__all__ = ["ATTEMPT_END", "RUN", "SUBTASK", "TERMINAL_RECORDS", "diagram"]

RUN: Final[dict[tuple[RunStatus | None, str], RunStatus]] = {
    (None, "run.opened"): "open",
    ("open", "plan.adopted"): "open",
    ("open", "run.owned"): "open",
    ("open", "run.cancelling"): "cancelling",
    ("open", "plan.revised"): "open",
    ("open", "run.paused"): "open",
    ("open", "run.resumed"): "open",
    ("open", "budget.noted"): "open",
    ("open", "child.opened"): "open",
    ("open", "child.closed"): "open",
    ("open", "run.closed"): "closed",
    ("cancelling", "plan.adopted"): "cancelling",
    ("cancelling", "run.owned"): "cancelling",
    ("cancelling", "budget.noted"): "cancelling",
    ("cancelling", "child.closed"): "cancelling",
    ("cancelling", "run.closed"): "closed",
}
"""State of a run and kind of record -> its next state. None: before the first record."""

SUBTASK: Final[dict[tuple[SubtaskStatus, str], SubtaskStatus]] = {
    ("open", "subtask.awarded"): "awarded",
    ("awarded", "subtask.awarded"): "awarded",
    ("open", "subtask.unbid"): "open",
    ("open", "subtask.failed"): "failed",
    ("open", "plan.revised"): "open",
    ("open", "subtask.cancelling"): "open",
    ("open", "subtask.cancelled"): "cancelled",
    ("open", "result.late"): "open",
    ("awarded", "attempt.refused"): "open",
    ("awarded", "attempt.failed"): "open",
    ("awarded", "result.rejected"): "open",
    ("awarded", "subtask.accepted"): "accepted",
    ("awarded", "attempt.state"): "awarded",
    ("awarded", "subtask.cancelling"): "awarded",
    ("awarded", "subtask.cancelled"): "cancelled",
    ("awarded", "result.late"): "awarded",
    ("accepted", "result.late"): "accepted",
    ("failed", "result.late"): "failed",
    ("cancelled", "result.late"): "cancelled",
}
"""State of a subtask and kind of record -> its next state."""

TERMINAL_RECORDS: Final = frozenset({"subtask.accepted", "subtask.failed", "subtask.cancelled"})
"""Exactly one of these ends a subtask."""

ATTEMPT_END: Final[dict[str, AttemptStatus]] = {
    "attempt.refused": "refused",
    "attempt.failed": "failed",
    "result.rejected": "rejected",
    "subtask.accepted": "accepted",
    "subtask.cancelled": "cancelled",
}
"""What a record makes of the attempt that held the subtask."""


def diagram() -> str:
    """The subtask table as a Mermaid state diagram, for the documentation; loops are left out."""
    lines = ["stateDiagram-v2", "    [*] --> open"]
    lines += [f"    {start} --> {end}: {kind}" for (start, kind), end in SUBTASK.items() if start != end]
    lines += [f"    {end} --> [*]" for end in ("accepted", "failed", "cancelled")]
    return "\n".join(lines)
