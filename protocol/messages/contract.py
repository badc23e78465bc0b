"""The contract net: offer of a subtask, answers to it, the decision (FIPA SC00029H's call for proposals, with a confirmation step).

Counterpart: `work` says how an award is carried out. A message names (subtask, round) while bids are open and (subtask, attempt, epoch)
once something was awarded; the run is in the envelope's context.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ids import AgentName, CapabilityName, SubtaskId
from .base import Code, Fraction, Item, JsonObject, Millis, Missing, NamedRef, Note, Usage

__all__ = [
    "Announce",
    "Attempt",
    "Award",
    "Bid",
    "Confirm",
    "Decline",
    "Epoch",
    "Offer",
    "Refuse",
    "Reject",
    "Round",
    "Withdraw",
]

_NOTHING = Usage()

Round = Annotated[int, Field(ge=1, le=1 << 52)]
Attempt = Annotated[int, Field(ge=1, le=1 << 20)]
Epoch = Annotated[int, Field(ge=1, le=1 << 32)]


class Announce(Item):
    """0101: a subtask is open for bids. Carries no content: only what a bidder needs to price it."""

    subtask: SubtaskId
    round: Round
    capability: CapabilityName
    input_bytes: Annotated[int, Field(ge=0, le=1 << 50)] = 0
    input_count: Annotated[int, Field(ge=0, le=100_000)] = 0
    inputs: Annotated[list[Annotated[bytes, Field(min_length=8, max_length=8)]], Field(max_length=32)] = []
    """First 8 bytes of the inputs' digests (at most 32 of them), so that a node which has them can say so."""
    window_ms: Millis
    """How long bids are taken, from receipt."""
    deadline_ms: Millis
    """How long an attempt may take."""


class Withdraw(Item):
    """0105: the announcement no longer holds."""

    subtask: SubtaskId
    round: Round


class Bid(Item):
    """0102: an offer to do it. Every number comes from measurement (load, queue, history), never from a constant or a claim.

    `price` is in micro-credits: 1,000,000 = one second of one processor at this node's rate. `quiet_ms` is the longest silence that
    the agent's adapter needs while it works.
    """

    subtask: SubtaskId
    round: Round
    agent: AgentName
    price: Annotated[int, Field(ge=0, le=1 << 52)]
    eta_ms: Millis
    success: Fraction
    load: Fraction
    queue: Annotated[int, Field(ge=0, le=1 << 20)]
    free_slots: Annotated[int, Field(ge=0, le=1 << 16)]
    local_bytes: Annotated[int, Field(ge=0, le=1 << 50)] = 0
    quiet_ms: Millis = 10_000
    valid_ms: Millis = 10_000
    """How long the slot stays softly reserved for this bid."""
    unpriced: bool = False
    """The agent cannot say what it will cost: that is unknown, and never nothing; `price` then has no meaning."""
    estimate: Usage = _NOTHING
    """What it will use at most, money left aside; 0 says nothing."""


class Decline(Item):
    """0103: no bid, and why."""

    subtask: SubtaskId
    round: Round
    code: Code
    detail: Note = ""


class Offer(Item):
    """0104: a standing offer: slots at a price for a while, awarded without a round trip."""

    capability: CapabilityName
    agent: AgentName
    slots: Annotated[int, Field(ge=0, le=1 << 16)]
    price: Annotated[int, Field(ge=0, le=1 << 52)]
    eta_ms: Millis
    success: Fraction
    load: Fraction
    valid_ms: Millis


class Award(Item):
    """0110: the decision. Idempotent by (subtask, attempt, epoch): it may arrive twice."""

    subtask: SubtaskId
    round: Round
    attempt: Attempt
    epoch: Epoch
    capability: CapabilityName
    agent: AgentName
    params: JsonObject = {}
    inputs: Annotated[list[NamedRef], Field(max_length=4096)] = []
    missing: Annotated[list[Missing], Field(max_length=4096)] = []
    """What a tolerant subtask has to do without (its needs that failed)."""
    lease_ms: Millis
    """Silence longer than this loses the award; progress renews it."""
    deadline_ms: Millis
    confirm: bool = False
    """Answer with `confirm` at once, because the work is long; otherwise `started` is answer enough."""
    caps: Usage | None = None
    """What the attempt may use and no more; None: no bound."""
    partial: Annotated[list[NamedRef], Field(max_length=16)] = []
    """What earlier attempts left of their work."""
    output_schema: JsonObject | None = None
    """JSON Schema (2020-12) by which the first output will be judged."""


class Reject(Item):
    """0111: this bid did not win."""

    subtask: SubtaskId
    round: Round
    reason: Literal["late", "outbid", "policy", "withdrawn"]


class Confirm(Item):
    """0112: the award is taken."""

    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch


class Refuse(Item):
    """0113: the award is not taken; the next-best bid gets it."""

    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch
    code: Code
    detail: Note = ""
