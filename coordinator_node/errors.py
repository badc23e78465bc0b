"""What a coordinator refuses, and how it says so: `ZwermError` branches with a code, a sentence and a next step.

ZwermError
  ├─ InvalidTransition   a record that cannot follow what the journal holds: a bug or a forged journal, never a user's fault
  ├─ GoalNotUnderstood   no rule fits the goal; the hint lists the shapes that do
  ├─ PlanInvalid         a plan (file) breaks a rule; says where
  └─ RunUnknown          no run with that name here
"""

from __future__ import annotations

from protocol.errors import ZwermError

__all__ = ["GoalNotUnderstood", "InvalidTransition", "PlanInvalid", "RunUnknown"]


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
