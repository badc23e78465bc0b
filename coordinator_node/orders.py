"""What happens to a coordinator, and what it can be told to do: the vocabulary of `engine.Engine`.

    events (verified messages, results of I/O, time)  ->  Engine.handle(event, now)  ->  Step(records, commands)

Rules. Records of a step are durable before any command of the same run is carried out, in this step or a later one. A command may be carried out
twice and must not matter: each is idempotent by (run, subtask, round) or (run, subtask, attempt, epoch). What I/O did, failures too, comes
back as an event. Events are past tense, commands imperative. Counterparts: `engine` decides, `node` carries out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from protocol.artifact import ArtifactRef
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Budget,
    Cancel,
    Cancelled,
    Confirm,
    Decline,
    Failed,
    Missing,
    NamedRef,
    Progress,
    Refuse,
    Reject,
    Result,
    ResultAck,
    Started,
    Usage,
    Withdraw,
)
from protocol.messages.base import JsonObject
from protocol.plan import Plan, Subtask
from protocol.records import Record

from .state import RunState

__all__ = [
    "Answer",
    "AnswersReceived",
    "BeginChild",
    "CancelAsked",
    "CheckResult",
    "ChildEnded",
    "Command",
    "DayDrawn",
    "DrawDay",
    "Event",
    "HaltChanged",
    "NodeInfo",
    "NodeLost",
    "NodeSeen",
    "PauseAsked",
    "PlanStored",
    "ResultChecked",
    "ResumeAsked",
    "RevisePlan",
    "RunAccepted",
    "RunDeposed",
    "RunEnded",
    "RunForgotten",
    "RunRecovered",
    "RunStands",
    "Say",
    "SayAll",
    "ShowProgress",
    "Step",
    "TellParent",
    "Tick",
    "WorkItem",
    "WorkReceived",
]

Answer: TypeAlias = Bid | Decline
WorkItem: TypeAlias = Confirm | Refuse | Started | Progress | Result | Failed | Cancelled


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node as the buyer sees it: who it is, and how many of each capability it does at once."""

    node: str
    bus_key: str
    name: str
    slots: dict[str, int]
    """Capability -> how many subtasks of it the node works on at the same time."""


# --- events ---


@dataclass(frozen=True, slots=True)
class RunAccepted:
    """A goal was planned, and goal and plan are stored: the run begins."""

    run: str
    goal: ArtifactRef
    inputs: list[NamedRef]
    skipped: list[Missing]
    by: str
    plan: Plan
    plan_ref: ArtifactRef
    budget: Budget | None = None
    parent: str | None = None
    depth: int = 0
    replans: bool = False
    """Whether its planner knows other ways (`planner.replan_of`)."""
    funded: bool = False
    """A run below another one: what it may spend is set aside there, and that is in the journal."""


@dataclass(frozen=True, slots=True)
class RunRecovered:
    """An unfinished run was found in the journal: go on with it. `plan` is None when it was never stored.

    `apart_ms`: by how much our clock is ahead of that of its owner so far, as far as is known.
    """

    state: RunState
    plan: Plan | None
    replans: bool = False
    apart_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunDeposed:
    """Another process has taken the run: stop with it, say nothing more about it."""

    run: str


@dataclass(frozen=True, slots=True)
class RunForgotten:
    """A closed run may leave the memory."""

    run: str


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A run that the work of `run` began has ended, durably, and spent so much."""

    run: str
    child: str
    used: Usage


@dataclass(frozen=True, slots=True)
class DayDrawn:
    """So much more of a day's budget is ours, and so much of it is drawn by all; `failed`: the board did not answer."""

    day: str
    granted: dict[str, int]
    failed: bool = False
    total: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the run stopped, or one subtask of it."""

    run: str
    by: str
    reason: str = ""
    subtask: str = ""


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Somebody wants nothing more of the run awarded for now."""

    run: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """Somebody wants a paused run to go on."""

    run: str
    by: str


@dataclass(frozen=True, slots=True)
class AnswersReceived:
    """Bids or declines of one node, from one envelope; `digest` is the first 16 bytes of the envelope's SHA-256."""

    run: str
    node: str
    bus_key: str
    items: Sequence[Answer]
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class WorkReceived:
    """What one node says about its attempts, from one envelope."""

    run: str
    node: str
    bus_key: str
    items: Sequence[WorkItem]


@dataclass(frozen=True, slots=True)
class ResultChecked:
    """A result was checked; `reason` is empty when it is good."""

    run: str
    subtask: str
    attempt: int
    epoch: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlanStored:
    """The answer to `RevisePlan`: the new plan, where it is stored, and the subtasks with a new form; `ref` is None when none could be stored."""

    run: str
    plan: Plan | None
    ref: ArtifactRef | None
    forms: dict[str, list[Subtask]]
    """Subtask -> its new form, and what is new for its sake."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node is here, is back, or offers something else."""

    info: NodeInfo


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node said goodbye or was not heard for long."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class HaltChanged:
    """Nothing may be begun from here (`on`), or no longer for this reason: an admin has halted every agent, or the journal has room for endings only."""

    on: bool
    why: Literal["halt", "space"] = "halt"


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `deadline()` named has come."""


Event: TypeAlias = (
    RunAccepted
    | RunRecovered
    | RunDeposed
    | RunForgotten
    | ChildEnded
    | DayDrawn
    | CancelAsked
    | PauseAsked
    | ResumeAsked
    | AnswersReceived
    | WorkReceived
    | ResultChecked
    | PlanStored
    | NodeSeen
    | NodeLost
    | HaltChanged
    | Tick
)


# --- commands ---

ToNode: TypeAlias = Announce | Withdraw | Award | Reject | Cancel | ResultAck


@dataclass(frozen=True, slots=True)
class SayAll:
    """Tell everybody who offers the capability."""

    run: str
    capability: str
    item: Announce | Withdraw


@dataclass(frozen=True, slots=True)
class Say:
    """Tell one node."""

    run: str
    to: str
    """The node's public bus key."""
    item: ToNode


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Fetch a result's outputs, check them, and answer with `ResultChecked`."""

    run: str
    subtask: str
    attempt: int
    epoch: int
    outputs: list[NamedRef]
    schema: JsonObject | None


@dataclass(frozen=True, slots=True)
class RevisePlan:
    """Look for another way for these subtasks (with why they are given up), store the new plan, and answer with `PlanStored`."""

    run: str
    plan: Plan
    wanted: dict[str, str]


@dataclass(frozen=True, slots=True)
class ShowProgress:
    """Something to watch that is not worth a record: an attempt started, or moved."""

    run: str
    subtask: str
    node: str
    kind: str
    data: JsonObject


@dataclass(frozen=True, slots=True)
class RunStands:
    """What was asked for (the run, its pause, its end) is in the journal: whoever asked may be told so."""

    run: str


@dataclass(frozen=True, slots=True)
class BeginChild:
    """What a run below `run` may spend is set aside, durably: now it may begin."""

    run: str
    accepted: RunAccepted


@dataclass(frozen=True, slots=True)
class TellParent:
    """The run is closed, durably: the run above it may have back what it did not spend."""

    run: str
    parent: str
    used: Usage


@dataclass(frozen=True, slots=True)
class DrawDay:
    """Take a slice of a day's budget, and answer with `DayDrawn`. `day`: the date; for one node `DATE.NODE`, for one agent `DATE.NODE.AGENT`."""

    run: str
    day: str
    wanted: dict[str, int]


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is closed, durably."""

    run: str


Command: TypeAlias = (
    SayAll
    | Say
    | CheckResult
    | ShowProgress
    | RunStands
    | RunEnded
    | BeginChild
    | TellParent
    | DrawDay
    | RevisePlan
)


@dataclass(slots=True)
class Step:
    """What one event led to, in order, by run."""

    records: list[tuple[str, Record]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
