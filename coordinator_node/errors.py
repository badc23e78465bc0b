"""What a coordinator refuses, and how it says so: `ZwermError` branches with a code, a sentence and a next step.

ZwermError
  ├─ InvalidTransition   a record that cannot follow what the journal holds: a bug or a forged journal, never a user's fault
  ├─ GoalNotUnderstood   no rule fits the goal; the hint lists the shapes that do
  ├─ PlanInvalid         a plan (file) breaks a rule; says where
  ├─ RunUnknown          no run with that name here
  ├─ JournalBroken       a run's journal is not what its owners wrote, one after the other: the run is halted
  └─ SubtaskUnknown      the run has no subtask of that name
"""

from __future__ import annotations

from difflib import get_close_matches

from protocol.errors import ZwermError

__all__ = [
    "GoalNotUnderstood",
    "InvalidTransition",
    "JournalBroken",
    "PlanInvalid",
    "RunUnknown",
    "SubtaskUnknown",
]


class InvalidTransition(ZwermError):
    """A record does not fit the state that it was applied to. `story` is what is known of the subtask (or run) so far."""

    def __init__(self, message: str, story: list[str]) -> None:
        told = "; ".join(story[-20:])
        super().__init__(
            "E_TRANSITION",
            f"{message}. So far: {told}" if told else message,
            "Keep the journal as it is and report this: `zwerm doctor` shows where the log is.",
        )
        self.story = story


class GoalNotUnderstood(ZwermError):
    """No planner can turn these words into work."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_GOAL", message, hint)


class PlanInvalid(ZwermError):
    """A plan file, or the plan made from it, breaks a rule. The message says where."""

    def __init__(self, message: str, hint: str = "Correct the plan and submit it again.") -> None:
        super().__init__("E_PLAN", message, hint)


class RunUnknown(ZwermError):
    """No run of that name is known here, or the name fits several."""

    def __init__(self, message: str, hint: str = "`zwerm runs ls` shows the runs.") -> None:
        super().__init__("E_NOT_FOUND", message, hint)


class JournalBroken(ZwermError):
    """A run's journal has a gap, a fork, or a message that is not its owners': nothing of it is guessed, the run is halted.

    `seq` is the number, in the journal, of the message where it was noticed; 0 where messages are missing at the end.
    """

    def __init__(self, run: str, seq: int, why: str, hint: str = "") -> None:
        where = f"at message {seq} of its journal" if seq else "at the end of its journal"
        super().__init__(
            "E_JOURNAL",
            f"run {run[-6:]} is halted: {where}, {why}"[:2000],
            hint
            or (
                "Nothing of it is lost that can be read: keep the journal as it is and put the bus's data back from a copy made before"
                " the damage, or submit the goal again as a new run. Other runs go on."
            ),
        )
        self.run = run
        self.seq = seq
        self.why = why


class SubtaskUnknown(ZwermError):
    """A run has no subtask of that name; says which names come near."""

    def __init__(self, run: str, name: str, known: list[str]) -> None:
        near = get_close_matches(name, known, 4) or known[:8]
        short = run[-6:]
        super().__init__(
            "E_NOT_FOUND",
            f"run {short} has no subtask {name!r} ({', '.join(near) or 'its plan is not written yet'})",
            f"`zwerm runs show {short}` lists its subtasks.",
        )
