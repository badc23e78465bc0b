"""One run as the engine holds it: its folded state, its plan's content, and the number of its next round."""

from __future__ import annotations

from collections.abc import Iterator

from protocol.records import AttemptFailed, Record, RunClosed, SubtaskFailed

from .offers import Brief
from .state import RunState

__all__ = ["Desk"]

_ROUND_BITS = 20


class Desk:
    """What is at hand about one run. `content` is None when the plan could not be read back after a restart."""

    def __init__(self, state: RunState, content: Brief | None, *, replans: bool = False) -> None:
        self.run = state.run
        self.state = state
        self.content = content
        self.replans = replans
        """Whether its planner knows other ways to what cannot be done as planned."""
        self._rounds = 0

    @property
    def content_known(self) -> Brief:
        """The plan's content, where the run could not have come so far without it."""
        assert self.content is not None, f"run {self.run} goes on without its plan"
        return self.content

    @property
    def deliver(self) -> list[tuple[str, str]]:
        """What is to be delivered: (subtask, output name or "" for all)."""
        if self.content is None:
            return []
        return [(item.subtask, item.output) for item in self.content.plan.deliver]

    def next_round(self) -> int:
        """A round number that was never used, not by an earlier owner either: the epoch is its upper part."""
        self._rounds += 1
        return (self.state.epoch << _ROUND_BITS) + self._rounds

    def abandoned(self, at_ms: int) -> Iterator[Record]:
        """The ends of all that is unfinished in a run whose plan is lost; read it one by one, the state changes meanwhile."""
        for name, subtask in list(self.state.subtasks.items()):
            for current in subtask.held:
                yield AttemptFailed(
                    at_ms=at_ms,
                    subtask=name,
                    attempt=current.number,
                    epoch=current.epoch,
                    node=current.node,
                    code="E_PLAN_LOST",
                    retryable=False,
                )
            if not subtask.terminal:
                yield SubtaskFailed(at_ms=at_ms, subtask=name, code="E_PLAN_LOST", message="the plan is lost")

    def without_plan(self, at_ms: int) -> RunClosed:
        """The end of a run whose plan cannot be read back."""
        return RunClosed(
            at_ms=at_ms,
            outcome="failed",
            code="E_PLAN_LOST",
            message="the plan of this run is no longer in the workspace, so it cannot go on after the restart",
            hint="Submit the goal again.",
        )
