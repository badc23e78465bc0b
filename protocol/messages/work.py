"""Carrying out an award: from `started` to exactly one of `result`, `failed`, `cancelled`.

Each names (subtask, attempt, epoch): the fence that makes a late message harmless.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..ids import SubtaskId
from .base import Code, Fraction, Item, Millis, NamedRef, Note, Text, Usage
from .contract import Attempt, Epoch

__all__ = [
    "PARTIAL_MAX",
    "Cancel",
    "Cancelled",
    "Failed",
    "Partial",
    "Progress",
    "Result",
    "ResultAck",
    "Started",
    "WorkState",
]


PARTIAL_MAX = 16
"""Files of unfinished work that are kept: enough for what one attempt made so far, too few to fill a message."""

Partial = Annotated[list[NamedRef], Field(max_length=PARTIAL_MAX)]
WorkState = Literal["working", "limited", "person"]
"""What an attempt is doing: it works, it waits for somebody's limit of use to pass, or it waits for a person."""

_NOTHING = Usage()


class Fenced(Item):
    """What every message about an attempt carries."""

    subtask: SubtaskId
    attempt: Attempt
    epoch: Epoch


class Started(Fenced):
    """0120: work has begun (and so the award was taken)."""


class Progress(Fenced):
    """0121: the work has moved; this, and nothing else, renews the lease."""

    step: Annotated[int, Field(ge=0, le=1 << 40)]
    fraction: Fraction = 0.0
    note: Note = ""
    state: WorkState = "working"
    wait_ms: Millis = 0
    """About how long it will wait, when it does."""
    used: Usage = _NOTHING
    """By this attempt, so far."""
    partial: Partial = []
    """What it has stored of its work so far; each message has all of it."""


class Result(Fenced):
    """0122: done. The outputs were stored before this was sent."""

    outputs: Annotated[list[NamedRef], Field(max_length=256)] = []
    wall_ms: Millis
    cpu_ms: Millis = 0
    used: Usage = _NOTHING


class Failed(Fenced):
    """0123: not done. `retryable` says whether another try could go otherwise."""

    code: Code
    message: Text = ""
    retryable: bool = True
    used: Usage = _NOTHING
    partial: Partial = []
    retry_ms: Millis = 0
    """Another try makes no sense earlier than this."""


class Cancelled(Fenced):
    """0124: stopped as asked; nothing of it runs any more."""

    used: Usage = _NOTHING
    partial: Partial = []


class Cancel(Fenced):
    """0114: stop this attempt."""

    reason: Note = ""


class ResultAck(Fenced):
    """0115: the result (or failure) is in the journal; the worker may forget it."""

    applied: bool
    """False: it was recorded as late and changed nothing."""
