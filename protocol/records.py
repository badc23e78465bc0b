"""What is written in a run's journal. All state of a run is folded from these, live and after a crash alike.

Records are persisted, so they are versioned like messages: a field may be added with a default, none may change its meaning. They hold
references and no content: goal, plan parameters and results are artifacts. `at_ms` is the owner's clock, for people, and for budgets of time (SPEC BUD-8).
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, TypeAdapter

from .artifact import ArtifactRef
from .ids import AgentName, NodeHex, RunId, SubtaskId
from .messages.base import Amount, Budget, Code, Item, Millis, Missing, NamedRef, Note, Text, Usage
from .messages.contract import Attempt, Epoch, Round
from .messages.work import Partial, WorkState
from .plan import Skeleton

__all__ = [
    "DEPTH_MAX",
    "NO_LINK",
    "RECORDS_PER_MESSAGE_MAX",
    "RECORDS_VERSION",
    "Accepted",
    "AttemptFailed",
    "AttemptMoved",
    "Awarded",
    "BidNote",
    "BudgetNoted",
    "CancelRequested",
    "Chain",
    "ChildClosed",
    "ChildOpened",
    "DeclineNote",
    "JournalItem",
    "LateResult",
    "Owned",
    "PlanAdopted",
    "PlanRevised",
    "Record",
    "Refused",
    "Rejected",
    "RunClosed",
    "RunOpened",
    "RunPaused",
    "RunResumed",
    "SubtaskCancelRequested",
    "SubtaskCancelled",
    "SubtaskFailed",
    "Unbid",
    "record_adapter",
]

RECORDS_PER_MESSAGE_MAX = 256
"""Group commit: so many records of one run go into one journal message at most."""

DEPTH_MAX = 8
"""Runs inside one another; a coordinator allows fewer by default."""

_NOTHING = Usage()

RECORDS_VERSION = 2
"""Version of the records that this program writes and reads. It grows when a record or field is added that an older reader would refuse."""

NO_LINK = bytes(32)
"""What the first message of a journal names as the one before it."""

AtMs = Annotated[int, Field(ge=0, le=1 << 52)]
BusKey = Annotated[str, StringConstraints(pattern=r"^U[A-Z2-7]{55}$")]


class Chain(Item):
    """The link to the message before: the first item of each journal message. It changes no state and has no number.

    `prev`: SHA-256 of the whole envelope of the run's message before this one; `first`: number of the first record of this message within the run.
    """

    k: Literal["chain"] = "chain"
    at_ms: AtMs
    prev: Annotated[bytes, Field(min_length=32, max_length=32)]
    first: Annotated[int, Field(ge=1, le=1 << 52)]
    version: Annotated[int, Field(ge=1, le=1000)] = 1


class RunOpened(Item):
    """The run exists: what was asked (as an artifact), by whom, over which files."""

    k: Literal["run.opened"] = "run.opened"
    at_ms: AtMs
    run: RunId
    goal: ArtifactRef
    inputs: Annotated[list[NamedRef], Field(max_length=4096)] = []
    skipped: Annotated[list[Missing], Field(max_length=4096)] = []
    by: NodeHex
    epoch: Epoch
    owner: NodeHex
    budget: Budget | None = None
    parent: RunId | None = None
    depth: Annotated[int, Field(ge=0, le=DEPTH_MAX)] = 0
    """How many runs are above it."""


class PlanAdopted(Item):
    """Part `part` of `parts` of the plan's skeleton; the content is in the artifact `plan`."""

    k: Literal["plan.adopted"] = "plan.adopted"
    at_ms: AtMs
    plan: ArtifactRef
    part: Annotated[int, Field(ge=1, le=1000)]
    parts: Annotated[int, Field(ge=1, le=1000)]
    subtasks: Annotated[list[Skeleton], Field(max_length=1000)]


class Owned(Item):
    """Another process owns the run from here; everything of an older epoch is void unless it is a live attempt."""

    k: Literal["run.owned"] = "run.owned"
    at_ms: AtMs
    epoch: Epoch
    owner: NodeHex
    began_ms: AtMs | None = None
    """When the run began by this owner's clock; None: as by that of the owner before."""


class BidNote(Item):
    """One bid as it was judged; `envelope` is the first 16 bytes of the SHA-256 of the signed bid."""

    node: NodeHex
    agent: AgentName
    price: int
    eta_ms: Millis
    success: float
    load: float
    score: float
    envelope: Annotated[bytes, Field(max_length=32)] = b""


class DeclineNote(Item):
    """One node that was asked and said no."""

    node: NodeHex
    code: Code
    detail: Note = ""


class Awarded(Item):
    """The decision, with all bids and the reason in words. Written before the award is sent."""

    k: Literal["subtask.awarded"] = "subtask.awarded"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    round: Round
    node: NodeHex
    bus_key: BusKey
    agent: AgentName
    lease_ms: Millis
    deadline_ms: Millis
    bids: Annotated[list[BidNote], Field(max_length=64)] = []
    reason: Note = ""
    reserved: Usage | None = None
    """Taken from the run's budget until the attempt ends: it can use no more."""
    hedge: bool = False
    """A second attempt beside one that is late; the first good result of the two counts."""


class Unbid(Item):
    """A round ended without a usable bid: who was asked, and what they said."""

    k: Literal["subtask.unbid"] = "subtask.unbid"
    at_ms: AtMs
    subtask: SubtaskId
    round: Round
    asked: Annotated[int, Field(ge=0, le=1 << 20)]
    declines: Annotated[list[DeclineNote], Field(max_length=64)] = []


class Refused(Item):
    """The winner did not take the award."""

    k: Literal["attempt.refused"] = "attempt.refused"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    code: Code
    detail: Note = ""


class AttemptFailed(Item):
    """An attempt ended without a result: reported, or its lease ran out (`E_LEASE`, indefinite: it may still be running)."""

    k: Literal["attempt.failed"] = "attempt.failed"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    code: Code
    message: Text = ""
    retryable: bool = True
    used: Usage = _NOTHING
    partial: Partial = []
    """What the attempt left of its work: offered to the next one."""
    retry_ms: Millis = 0
    """So long its node takes no more of the capability, as it said."""


class Rejected(Item):
    """A result came and did not pass its check."""

    k: Literal["result.rejected"] = "result.rejected"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    reason: Text
    used: Usage = _NOTHING


class Accepted(Item):
    """Terminal for the subtask: this result counts. There is exactly one per subtask."""

    k: Literal["subtask.accepted"] = "subtask.accepted"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    outputs: Annotated[list[NamedRef], Field(max_length=256)] = []
    wall_ms: Millis
    cpu_ms: Millis = 0
    used: Usage = _NOTHING


class LateResult(Item):
    """A result or failure of an attempt that no longer holds: recorded, never applied."""

    k: Literal["result.late"] = "result.late"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    what: Literal["result", "failed", "cancelled"] = "result"


class SubtaskFailed(Item):
    """Terminal for the subtask: it will not be done. `cause` names the subtask where the trouble began, if it was another."""

    k: Literal["subtask.failed"] = "subtask.failed"
    at_ms: AtMs
    subtask: SubtaskId
    code: Code
    message: Text = ""
    cause: Annotated[str, StringConstraints(max_length=64)] = ""


class SubtaskCancelled(Item):
    """Terminal for the subtask: the run, or this subtask, was cancelled."""

    k: Literal["subtask.cancelled"] = "subtask.cancelled"
    at_ms: AtMs
    subtask: SubtaskId
    used: Usage = _NOTHING
    """By the attempt that held it, if one did."""


class CancelRequested(Item):
    """Somebody asked to stop the run."""

    k: Literal["run.cancelling"] = "run.cancelling"
    at_ms: AtMs
    by: NodeHex
    reason: Note = ""


class SubtaskCancelRequested(Item):
    """Somebody asked to stop one subtask; what needs it fails with it, unless it is tolerant."""

    k: Literal["subtask.cancelling"] = "subtask.cancelling"
    at_ms: AtMs
    subtask: SubtaskId
    by: NodeHex
    reason: Note = ""


class RunPaused(Item):
    """Nothing more is awarded until `run.resumed`; attempts that hold go on."""

    k: Literal["run.paused"] = "run.paused"
    at_ms: AtMs
    by: NodeHex
    reason: Note = ""


class RunResumed(Item):
    """The run goes on."""

    k: Literal["run.resumed"] = "run.resumed"
    at_ms: AtMs
    by: NodeHex


class AttemptMoved(Item):
    """An attempt began to wait (for a limit of use, for a person), or works again."""

    k: Literal["attempt.state"] = "attempt.state"
    at_ms: AtMs
    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    node: NodeHex
    state: WorkState
    wait_ms: Millis = 0
    note: Note = ""


class BudgetNoted(Item):
    """So much of a budget is used or reserved that people should know (`warn`), or nothing more is awarded (`stop`)."""

    k: Literal["budget.noted"] = "budget.noted"
    at_ms: AtMs
    kind: Literal["money", "tokens", "steps", "bytes_out", "children", "wall_ms"]
    level: Literal["warn", "stop"]
    used: Amount
    limit: Amount
    scope: Note = ""
    """Whose budget: empty for the run's own."""


class PlanRevised(Item):
    """`subtask` cannot be done as planned: `subtasks` has its new form under its old id, and what it newly needs; `plan` is the whole new plan."""

    k: Literal["plan.revised"] = "plan.revised"
    at_ms: AtMs
    plan: ArtifactRef
    subtask: SubtaskId
    subtasks: Annotated[list[Skeleton], Field(min_length=1, max_length=100)]
    reason: Note = ""


class ChildOpened(Item):
    """The run's work began a run of its own: what that one may spend is taken from this one's budget first."""

    k: Literal["child.opened"] = "child.opened"
    at_ms: AtMs
    run: RunId
    by: NodeHex
    reserved: Usage


class ChildClosed(Item):
    """A run that this one's work began has ended: what it did not spend is free again."""

    k: Literal["child.closed"] = "child.closed"
    at_ms: AtMs
    run: RunId
    used: Usage


class RunClosed(Item):
    """Terminal for the run. `partial`: delivered, but something failed on the way; `unbid`: nobody could do it."""

    k: Literal["run.closed"] = "run.closed"
    at_ms: AtMs
    outcome: Literal["done", "partial", "failed", "cancelled", "unbid"]
    code: Annotated[str, StringConstraints(max_length=48)] = "OK"
    message: Text = ""
    hint: Text = ""
    deliverables: Annotated[list[NamedRef], Field(max_length=1024)] = []


Record = Annotated[
    RunOpened
    | PlanAdopted
    | Owned
    | Awarded
    | Unbid
    | Refused
    | AttemptFailed
    | Rejected
    | Accepted
    | LateResult
    | SubtaskFailed
    | SubtaskCancelled
    | CancelRequested
    | SubtaskCancelRequested
    | RunPaused
    | RunResumed
    | AttemptMoved
    | BudgetNoted
    | PlanRevised
    | ChildOpened
    | ChildClosed
    | RunClosed,
    Field(discriminator="k"),
]
"""Any record, told apart by `k`."""

JournalItem = Annotated[Chain | Record, Field(discriminator="k")]
"""What a journal message is made of: perhaps the link, then records."""


@functools.cache
def record_adapter() -> TypeAdapter[list[JournalItem]]:
    """The validator of the body of a journal message."""
    return TypeAdapter(Annotated[list[JournalItem], Field(min_length=1, max_length=RECORDS_PER_MESSAGE_MAX)])
