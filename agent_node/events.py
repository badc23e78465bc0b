"""What happens to a node that sells work, and what it decides to do: the vocabulary of `agent.Agent`.

    events (verified messages, results of I/O, time)  ->  Agent.handle(event, now)  ->  Step(records, commands)

Rules. `Step.records` are written to the node's own file before any of `Step.commands` is carried out; those that are `DURABLE` must have
reached the disk first. A command may be carried out twice and must not matter. What I/O did, failures too, comes back as an event.
Counterparts: `agent` (decides), `node` (carries out), `outbox_file` (keeps the records).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from protocol.messages import (
    Announce,
    Award,
    Cancel,
    Cancelled,
    Failed,
    Item,
    NamedRef,
    Reject,
    Result,
    ResultAck,
    Usage,
    Withdraw,
)
from protocol.messages.work import WorkState

__all__ = [
    "Acked",
    "Announced",
    "AttemptKey",
    "Awarded",
    "BidsRejected",
    "CancelAsked",
    "Command",
    "Connected",
    "DrainAsked",
    "Ended",
    "Event",
    "Fenced",
    "Forgot",
    "HaltAsked",
    "HaltLifted",
    "InputsCached",
    "LoadMeasured",
    "LocalRecord",
    "RoomMeasured",
    "Say",
    "Start",
    "Step",
    "Stop",
    "StopAsked",
    "Terminal",
    "Tick",
    "Took",
    "Withdrawn",
    "WorkDone",
    "WorkFailed",
    "WorkProgress",
    "WorkStopped",
]

Terminal: TypeAlias = Result | Failed | Cancelled


class AttemptKey(NamedTuple):
    """The fence: what makes a late or repeated message harmless."""

    run: str
    subtask: str
    attempt: int
    epoch: int


# --- events: messages from coordinators, already verified; each carries all items of one envelope ---


@dataclass(frozen=True, slots=True)
class Announced:
    """Subtasks are open for bids. `data_class` is the envelope's (0 public, 1 internal, ...)."""

    run: str
    items: Sequence[Announce]
    data_class: int = 1


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Announcements that no longer hold."""

    run: str
    items: Sequence[Withdraw]


@dataclass(frozen=True, slots=True)
class BidsRejected:
    """Bids of ours that did not win."""

    run: str
    items: Sequence[Reject]


@dataclass(frozen=True, slots=True)
class Awarded:
    """Subtasks that are ours to do."""

    run: str
    items: Sequence[Award]
    data_class: int = 1


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Attempts that must stop."""

    run: str
    items: Sequence[Cancel]


@dataclass(frozen=True, slots=True)
class Acked:
    """Endings that are in the run's journal; nobody needs them from us any more."""

    run: str
    items: Sequence[ResultAck]


# --- events: what became of commands, and of the world ---


@dataclass(frozen=True, slots=True)
class WorkProgress:
    """The work has moved: `step` counts real steps and only grows. Or it waits, has used more, has stored something unfinished.

    `used` and `partial` are all of it so far; None: as before.
    """

    key: AttemptKey
    step: int
    fraction: float = 0.0
    note: str = ""
    state: WorkState = "working"
    wait_ms: int = 0
    used: Usage | None = None
    partial: Sequence[NamedRef] | None = None


@dataclass(frozen=True, slots=True)
class WorkDone:
    """The work is done and its outputs are stored in the workspace."""

    key: AttemptKey
    outputs: Sequence[NamedRef] = ()
    wall_ms: int = 0
    cpu_ms: int = 0
    used: Usage | None = None


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """The work ended without a result, and nothing of it runs any more."""

    key: AttemptKey
    code: str
    message: str = ""
    retryable: bool = True
    used: Usage | None = None
    partial: Sequence[NamedRef] | None = None
    retry_ms: int = 0


@dataclass(frozen=True, slots=True)
class WorkStopped:
    """The work was stopped on our command, and nothing of it runs any more."""

    key: AttemptKey
    used: Usage | None = None
    partial: Sequence[NamedRef] | None = None


@dataclass(frozen=True, slots=True)
class LoadMeasured:
    """How busy the device's processors are, 0 to 1."""

    load: float


@dataclass(frozen=True, slots=True)
class RoomMeasured:
    """Whether the disk has room for new work."""

    room: bool


@dataclass(frozen=True, slots=True)
class InputsCached:
    """Artifacts that this node holds a copy of, by the first 8 bytes of their digest -> size; `gone` were evicted."""

    held: dict[bytes, int]
    gone: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Connected:
    """The bus is there (again): say once more what nobody has acknowledged."""


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Take nothing new; what runs may finish."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Stop everything that runs: the node is going down now."""


@dataclass(frozen=True, slots=True)
class HaltAsked:
    """Stop everything that runs and take nothing, until it is lifted: an admin, or the device's owner, has ordered it."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class HaltLifted:
    """Work may be taken again."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that `deadline()` named has come."""


Event: TypeAlias = (
    Announced
    | Withdrawn
    | BidsRejected
    | Awarded
    | CancelAsked
    | Acked
    | WorkProgress
    | WorkDone
    | WorkFailed
    | WorkStopped
    | LoadMeasured
    | RoomMeasured
    | InputsCached
    | Connected
    | DrainAsked
    | StopAsked
    | HaltAsked
    | HaltLifted
    | Tick
)


# --- records: what the node must still know after a crash ---


@dataclass(frozen=True, slots=True)
class Took:
    """An award was taken. Without an `Ended` behind it, a restart reports it as failed(E_RESTARTED)."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended; kept, and said again, until it is acknowledged."""

    key: AttemptKey
    item: Terminal
    at: float


@dataclass(frozen=True, slots=True)
class Forgot:
    """The ending was acknowledged (or the award given back); nothing is left to say."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class Fenced:
    """The highest epoch of a run that was seen: lower ones are refused, after a restart too."""

    run: str
    epoch: int


LocalRecord: TypeAlias = Took | Ended | Forgot | Fenced


# --- commands ---


@dataclass(frozen=True, slots=True)
class Say:
    """Send an item to the run's owner; its type decides the subject. What is said together travels together."""

    run: str
    item: Item


@dataclass(frozen=True, slots=True)
class Start:
    """Carry out an award with the agent called `agent`; exactly one of WorkDone, WorkFailed, WorkStopped comes back."""

    key: AttemptKey
    agent: str
    award: Award
    deadline_at: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop what carries this attempt out: ask, then kill. Harmless when it has ended."""

    key: AttemptKey


Command: TypeAlias = Say | Start | Stop


@dataclass(slots=True)
class Step:
    """What one event led to."""

    records: list[LocalRecord] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    @property
    def durable(self) -> bool:
        """Whether the records must be on the disk (not only written) before the commands: an ending is among them."""
        return any(type(record) is Ended for record in self.records)
