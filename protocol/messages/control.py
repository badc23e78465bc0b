"""Requests between a client and a service of the swarm, and the one form of answer.

The command is a member like any other: it signs with the device's key and asks over the bus (services `runs` on coordinators, `enroll`
on enrollers). A request is idempotent by its run id or its content, since an answer may be lost.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from ..ids import RunId
from .base import Budget, Item, JsonObject, Missing, NamedRef, Note, Text

__all__ = [
    "CancelRun",
    "CreateInvite",
    "Leave",
    "ListInvites",
    "ListNodes",
    "ListRuns",
    "PauseRun",
    "Ping",
    "Renew",
    "Reply",
    "ResumeRun",
    "RevokeInvite",
    "RevokeNode",
    "RunEvents",
    "ShowRun",
    "SubmitRun",
]

RunOrShort = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{4,26}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class SubmitRun(Item):
    """0301: do this goal. The run id is the envelope's context, minted by the client, so that a repeat is the same run."""

    goal: Annotated[str, StringConstraints(min_length=1, max_length=8000)]
    inputs: Annotated[list[NamedRef], Field(max_length=4096)] = []
    skipped: Annotated[list[Missing], Field(max_length=4096)] = []
    """Files that the client could not read, so that the report can name them."""
    planner: Word = "rule"
    plan: JsonObject | None = None
    """A plan file's content, for planner `file`."""
    budget: Budget | None = None
    parent: RunId | None = None
    """The run whose work asked for this one; what this one spends is that one's, too."""


class CancelRun(Item):
    """0302: stop a run, or one subtask of it."""

    run: RunOrShort
    reason: Note = ""
    subtask: Annotated[str, StringConstraints(max_length=64)] = ""


class PauseRun(Item):
    """030D: award nothing more of a run until it is resumed; what is at work goes on."""

    run: RunOrShort
    reason: Note = ""


class ResumeRun(Item):
    """030E: go on with a paused run."""

    run: RunOrShort


class RunEvents(Item):
    """030F: what happened in a run since its event number `after`, from its journal."""

    run: RunOrShort
    after: Annotated[int, Field(ge=0, le=1 << 52)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


class ListRuns(Item):
    """0303: past and present runs, newest first."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 50


class ShowRun(Item):
    """0304: one run in full: subtasks, bids, attempts, artifacts."""

    run: RunOrShort


class ListNodes(Item):
    """0305: the roster as this coordinator sees it."""


class CreateInvite(Item):
    """0306: enter an invite; only an admin may. The asking device mints the secret and keeps it: the swarm learns the public half."""

    id: Annotated[bytes, Field(min_length=8, max_length=8)]
    proof_pub: Annotated[bytes, Field(min_length=32, max_length=32)]
    role: Literal["agent", "coordinator", "client", "bus", "admin"] = "agent"
    uses: Annotated[int, Field(ge=1, le=1000)] = 1
    ttl_s: Annotated[int, Field(ge=60, le=7 * 86400)] = 3600
    label: Note = ""


class ListInvites(Item):
    """0307: invites and what became of them."""


class RevokeInvite(Item):
    """0308: an invite that must not be used any more."""

    invite: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class Leave(Item):
    """0309: the sender leaves the swarm; its membership ends now."""


class RevokeNode(Item):
    """030A: another node must go; only an admin may ask."""

    node: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    reason: Note = ""


class Renew(Item):
    """030B: a fresh certificate and fresh bus credentials, before the old ones end."""


class Ping(Item):
    """030C: are you there?"""


class Reply(Item):
    """0380: the answer to any request. `ok` false: code, message and hint say what happened and what to do."""

    ok: bool
    code: Annotated[str, StringConstraints(max_length=48)] = "OK"
    message: Text = ""
    hint: Text = ""
    data: JsonObject = {}
    blobs: Annotated[dict[str, bytes], Field(max_length=16)] = {}
