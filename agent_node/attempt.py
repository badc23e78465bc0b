r"""One try at a subtask, from award to acknowledgement: its phase, and what may be said in it.

    queued -> running -> reporting -> (acknowledged, forgotten)
       \         \-> stopping -/
        \-> given back (refused), or ended without having run

Rules. Every award ends in exactly one of result, failed, cancelled, or is given back with refuse. `cancelled` is said only when nothing of the
attempt runs any more. Progress is said only when a step was made since it was last said, at most twice a
second; that the work begins or ceases to wait is said at once. It knows no slots, no
bids and no other attempt: `agent` composes those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from protocol.messages import Award, Cancelled, Failed, NamedRef, Progress, Result, Started, Usage
from protocol.messages.work import PARTIAL_MAX, WorkState

from .errors import CODE, plain
from .events import AttemptKey, Terminal, WorkDone, WorkFailed, WorkProgress, WorkStopped

__all__ = ["GIVE_BACK", "PROGRESS_EVERY_S", "Attempt", "Phase", "Why"]

PROGRESS_EVERY_S: Final = 0.5
"""At most two progress messages a second for one attempt."""
WAIT_AGAIN_S: Final = 3.0
WAIT_AGAIN_MOST_S: Final = 60.0
"""That it waits is said again after so long, and then after twice the time: a message may be lost, and the lease with it."""
NOTHING: Final = Usage()
PERSON_MOST_S: Final = 7 * 86_400.0
"""How long a person may take."""
GIVE_BACK: Final = 0.7
"""Share of its lease after which an award that still waits for a slot goes back."""
_NOTE_MAX: Final = 200
_MS_MAX: Final = 10 * 24 * 3600 * 1000


class Phase(Enum):
    """Where an attempt is."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    REPORTING = "reporting"


class Why(Enum):
    """Why an attempt was told to stop."""

    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    HALTED = "halted"


@dataclass(slots=True)
class Attempt:
    """State of one attempt. Times are Unix seconds, `quoted_s` what its work was thought to take, `load` the device's load at its start."""

    key: AttemptKey
    award: Award
    agent: str
    size: int
    awarded_at: float
    deadline_at: float
    quoted_s: float = 0.0
    load: float = 0.0
    phase: Phase = Phase.QUEUED
    why: Why | None = None
    step: int = 0
    said_step: int = 0
    said_at: float = float("-inf")
    fraction: float = 0.0
    note: str = ""
    state: WorkState = "working"
    waits_until: float = 0.0
    waits_said: int = 0
    """How often this state was said."""
    said_state: WorkState = "working"
    used: Usage = NOTHING
    partial: list[NamedRef] = field(default_factory=list)
    person_since: float | None = None
    """Since when it waits for a person: meanwhile its deadline does not run (SPEC MSG-13)."""
    changed: bool = False
    """Something was used or stored since it was last said."""
    ending: Terminal | None = None

    @property
    def give_back_at(self) -> float:
        """While it waits for a slot there is no progress, so it goes back before its lease runs out."""
        return self.awarded_at + GIVE_BACK * self.award.lease_ms / 1000

    def started(self) -> Started:
        """What says that the work has begun."""
        return Started(subtask=self.key.subtask, attempt=self.key.attempt, epoch=self.key.epoch)

    def moved(self, event: WorkProgress, now: float) -> bool:
        """The work made a step (a number that does not grow is none), or waits; returns whether its deadline has moved."""
        if event.step > self.step:
            self.step = event.step
            self.fraction = min(1.0, max(0.0, event.fraction))
            self.note = plain(event.note, _NOTE_MAX) if event.note else ""
        elif event.state != "working" and event.note:
            self.note = plain(event.note, _NOTE_MAX)
        if event.state != "working" or self.state != "working":
            self.state = event.state
            self.waits_until = now + min(_MS_MAX, max(0, event.wait_ms)) / 1000
        if event.used is not None or event.partial is not None:
            self._keep(event.used, event.partial)
        if (self.state == "person") == (self.person_since is not None):
            return False
        if self.person_since is None:
            self.person_since = now
            self.deadline_at += PERSON_MOST_S
        else:
            self.deadline_at += min(PERSON_MOST_S, now - self.person_since) - PERSON_MOST_S
            self.person_since = None
        return True

    def _keep(self, used: Usage | None, partial: Sequence[NamedRef] | None) -> None:
        if used is not None and used != self.used:
            self.used, self.changed = used, True
        if partial is not None and list(partial) != self.partial:
            self.partial, self.changed = list(partial)[-PARTIAL_MAX:], True

    def _used(self) -> Usage:
        """What it has used; where the agent does not count steps, those that it showed count."""
        if self.step > 0 and self.used.steps == 0:
            return self.used.model_copy(update={"steps": min(1 << 52, self.step)})
        return self.used

    def progress_due(self) -> float | None:
        """When progress may be said next, or None when there is nothing new to say."""
        if self.phase is not Phase.RUNNING:
            return None
        if self.state != self.said_state:
            return float("-inf")
        if self.step > self.said_step or self.changed:
            return self.said_at + PROGRESS_EVERY_S
        if self.state == "working":
            return None
        return self.said_at + min(WAIT_AGAIN_MOST_S, WAIT_AGAIN_S * 2.0 ** min(self.waits_said - 1, 10))

    def progress(self, now: float) -> Progress:
        """The progress to say now."""
        self.waits_said = self.waits_said + 1 if self.state == self.said_state else 1
        self.said_step, self.said_at = self.step, now
        self.said_state, self.changed = self.state, False
        return Progress(
            subtask=self.key.subtask,
            attempt=self.key.attempt,
            epoch=self.key.epoch,
            step=self.step,
            fraction=self.fraction,
            note=self.note,
            state=self.state,
            wait_ms=max(0, round((self.waits_until - now) * 1000)) if self.state == "limited" else 0,
            used=self._used(),
            partial=self.partial,
        )

    def end(self, event: WorkDone | WorkFailed | WorkStopped | None) -> Terminal:
        """The one ending, from what became of the work (None: it never ran) and why it was stopped, if it was."""
        subtask, attempt, epoch = self.key.subtask, self.key.attempt, self.key.epoch
        self.phase = Phase.REPORTING
        if event is not None:
            self._keep(event.used, None if isinstance(event, WorkDone) else event.partial)
        used, partial = self._used(), self.partial
        if self.why in (Why.CANCELLED, Why.SUPERSEDED):
            self.ending = Cancelled(subtask=subtask, attempt=attempt, epoch=epoch, used=used, partial=partial)
        elif isinstance(event, WorkDone):
            self.ending = Result(
                subtask=subtask,
                attempt=attempt,
                epoch=epoch,
                outputs=list(event.outputs),
                wall_ms=min(_MS_MAX, max(0, event.wall_ms)),
                cpu_ms=min(_MS_MAX, max(0, event.cpu_ms)),
                used=used,
            )
        else:
            code, message, retryable = self._failure(event)
            self.ending = Failed(
                subtask=subtask,
                attempt=attempt,
                epoch=epoch,
                code=code if CODE.match(code) else "E_WORK",
                message=plain(message),
                retryable=retryable,
                used=used,
                partial=partial,
                retry_ms=min(_MS_MAX, max(0, event.retry_ms)) if isinstance(event, WorkFailed) else 0,
            )
        return self.ending

    def _failure(self, event: WorkFailed | WorkStopped | WorkDone | None) -> tuple[str, str, bool]:
        if self.why is Why.DEADLINE:
            return "E_DEADLINE", f"not done within {self.award.deadline_ms / 1000:g} s; it was stopped", True
        if self.why is Why.HALTED:
            return "E_HALTED", "the agents of this node were stopped by order", True
        if self.why is Why.SHUTDOWN and not isinstance(event, WorkFailed):
            return "E_SHUTDOWN", "the node was shut down before the work was done", True
        if isinstance(event, WorkFailed):
            return event.code, event.message, event.retryable
        return "E_STOPPED", "the work was stopped for an unknown reason", True
