"""What a coordinator knows of a run: plain data, made only by `fold.apply` from the records of the run's journal.

Rules. Nothing but `fold` sets a field here; everybody else reads. What is derived (`unmet`, `ready`, `doomed`, `unfinished`) is kept up to date by the
fold, so that no question about a run of 4,000 subtasks walks over all of them. Two folds of the same records compare equal.
Counterparts: `transitions` says which record may follow which state; `views` turns a state into what people see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from protocol.artifact import ArtifactRef
from protocol.messages import Budget, Missing, NamedRef, Usage
from protocol.messages.work import WorkState
from protocol.plan import Skeleton
from protocol.records import Awarded, BidNote, BudgetNoted, Unbid

__all__ = [
    "AttemptState",
    "AttemptStatus",
    "ChildState",
    "RunState",
    "RunStatus",
    "SubtaskState",
    "SubtaskStatus",
    "bid_of",
]

RunStatus = Literal["open", "cancelling", "closed"]
_NOTHING = Usage()

SubtaskStatus = Literal["open", "awarded", "accepted", "failed", "cancelled"]
AttemptStatus = Literal["awarded", "refused", "failed", "rejected", "accepted", "cancelled"]


@dataclass(slots=True)
class AttemptState:
    """One award and what became of it. Times are the owner's Unix milliseconds, for people and for history."""

    number: int
    epoch: int
    round: int
    node: str
    bus_key: str
    agent: str
    lease_ms: int
    deadline_ms: int
    awarded_ms: int
    bids: list[BidNote]
    reason: str
    status: AttemptStatus = "awarded"
    ended_ms: int = 0
    ended_after_ms: int = 0
    """The same, counted from the run's beginning by the clock of its owner then: it can be told by another clock."""
    code: str = ""
    message: str = ""
    retryable: bool = True
    retry_ms: int = 0
    wall_ms: int = 0
    cpu_ms: int = 0
    reserved: Usage | None = None
    used: Usage = _NOTHING
    partial: list[NamedRef] = field(default_factory=list)
    hedge: bool = False
    state: WorkState = "working"
    wait_ms: int = 0
    note: str = ""


def bid_of(award: AttemptState | Awarded) -> BidNote | None:
    """What the node that an award went to had bid; None in journals of before awards after a refusal had their bids."""
    return next((bid for bid in award.bids if bid.node == award.node), None)


@dataclass(slots=True)
class SubtaskState:
    """One subtask. `unmet` counts needs that have not ended; it is biddable when that is 0, it is `open` and nothing dooms it."""

    skeleton: Skeleton
    status: SubtaskStatus = "open"
    unmet: int = 0
    dependents: list[str] = field(default_factory=list)
    attempts: list[AttemptState] = field(default_factory=list)
    outputs: list[NamedRef] = field(default_factory=list)
    code: str = ""
    message: str = ""
    cause: str = ""
    unbid: Unbid | None = None
    unbid_rounds: int = 0
    late: set[tuple[int, int, str]] = field(default_factory=set)
    """(attempt, epoch, what) of results that came too late: recorded once each."""
    ended_ms: int = 0
    cancelling: bool = False
    """Somebody asked to stop this subtask."""
    cancel_reason: str = ""
    revisions: int = 0
    """How often its plan was revised."""
    past_attempts: int = 0
    """Attempts before its plan was revised last: they say nothing about its present form."""

    @property
    def held(self) -> list[AttemptState]:
        """The attempts that hold the subtask: one, or two when the first is late."""
        if self.status != "awarded":
            return []
        return [attempt for attempt in self.attempts if attempt.status == "awarded"]

    @property
    def hedged(self) -> bool:
        """Whether it was given to a second node in its present form, since the first was late."""
        return any(attempt.hedge for attempt in self.tried)

    @property
    def tried(self) -> list[AttemptState]:
        """The attempts at its present form."""
        return self.attempts[self.past_attempts :]

    def failures(self) -> dict[str, int]:
        """Node -> how often it failed this subtask in its present form."""
        counts: dict[str, int] = {}
        for attempt in self.tried:
            if attempt.status in ("failed", "rejected") and attempt.code != "E_HALTED":
                counts[attempt.node] = counts.get(attempt.node, 0) + 1
        return counts

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.status not in ("open", "awarded")


@dataclass(slots=True)
class ChildState:
    """A run that this one's work began. `used` is None until it has ended."""

    reserved: Usage
    used: Usage | None = None


@dataclass(slots=True)
class RunState:
    """One run, folded so far."""

    run: str
    goal: ArtifactRef
    by: str
    epoch: int
    owner: str
    opened_ms: int
    inputs: list[NamedRef] = field(default_factory=list)
    skipped: list[Missing] = field(default_factory=list)
    status: RunStatus = "open"
    plan: ArtifactRef | None = None
    revisions: int = 0
    """How many plans it had after the first."""
    parts: int = 0
    parts_seen: int = 0
    subtasks: dict[str, SubtaskState] = field(default_factory=dict)
    ready: dict[str, None] = field(default_factory=dict)
    """Subtasks that may be bid out now, in the order in which they became so."""
    doomed: dict[str, str] = field(default_factory=dict)
    """Open subtasks that cannot be done, because a need failed -> the subtask where the trouble began."""
    unfinished: int = 0
    """Subtasks without a terminal record."""
    records: int = 0
    """Records folded so far; events carry it as their sequence number."""
    last_ms: int = 0
    """`at_ms` of the last of them."""
    began_ms: int = 0
    """When it began by the clock of its present owner; `opened_ms` is by that of its first."""
    cancelled_by: str = ""
    cancel_reason: str = ""
    outcome: str = ""
    code: str = ""
    message: str = ""
    hint: str = ""
    deliverables: list[NamedRef] = field(default_factory=list)
    closed_ms: int = 0
    budget: Budget | None = None
    parent: str | None = None
    depth: int = 0
    paused: bool = False
    paused_by: str = ""
    pause_reason: str = ""
    budget_notes: list[BudgetNoted] = field(default_factory=list)
    children: dict[str, ChildState] = field(default_factory=dict)

    @property
    def planned(self) -> bool:
        """Whether the whole plan is in the journal."""
        return self.parts > 0 and self.parts_seen == self.parts
