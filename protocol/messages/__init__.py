"""Every message that may be said, by type code (SPEC MSG-2).

One table, `MESSAGES`, ties the code in the envelope's header to the model of one item of the body. Reading order: `presence` (who is
here), `contract` (offer, bid, award), `work` (carrying out), `control` (requests), `events`.
"""

from __future__ import annotations

from enum import IntEnum

from .base import Budget, Item, Missing, NamedRef, Usage
from .contract import Announce, Award, Bid, Confirm, Decline, Offer, Refuse, Reject, Withdraw
from .control import (
    CancelRun,
    CreateInvite,
    Leave,
    ListInvites,
    ListNodes,
    ListRuns,
    PauseRun,
    Ping,
    Renew,
    Reply,
    ResumeRun,
    RevokeInvite,
    RevokeNode,
    RunEvents,
    ShowRun,
    SubmitRun,
)
from .events import CharterNotice, Event, Halt, Revocation
from .ownership import ForRun, Head
from .presence import AgentCard, Goodbye, Heartbeat, Hello, Who
from .work import Cancel, Cancelled, Failed, Progress, Result, ResultAck, Started

__all__ = [
    "BATCH_MAX",
    "MESSAGES",
    "AgentCard",
    "Announce",
    "Award",
    "Bid",
    "Budget",
    "Cancel",
    "CancelRun",
    "Cancelled",
    "CharterNotice",
    "Confirm",
    "CreateInvite",
    "Decline",
    "Event",
    "Failed",
    "ForRun",
    "Goodbye",
    "Halt",
    "Head",
    "Heartbeat",
    "Hello",
    "Item",
    "Leave",
    "ListInvites",
    "ListNodes",
    "ListRuns",
    "Missing",
    "NamedRef",
    "Offer",
    "PauseRun",
    "Ping",
    "Progress",
    "Refuse",
    "Reject",
    "Renew",
    "Reply",
    "Result",
    "ResultAck",
    "ResumeRun",
    "Revocation",
    "RevokeInvite",
    "RevokeNode",
    "RunEvents",
    "ShowRun",
    "Started",
    "SubmitRun",
    "Type",
    "Usage",
    "Who",
    "Withdraw",
    "type_of",
]

BATCH_MAX = 250
"""Most items in one body: 1,000 would break the bound on decoded values (10,000) for the larger messages."""


class Type(IntEnum):
    """Type codes of the envelope's header (SPEC MSG-2). A code is never used again for something else."""

    ANNOUNCE = 0x0101
    BID = 0x0102
    DECLINE = 0x0103
    OFFER = 0x0104
    WITHDRAW = 0x0105
    AWARD = 0x0110
    REJECT = 0x0111
    CONFIRM = 0x0112
    REFUSE = 0x0113
    CANCEL = 0x0114
    RESULT_ACK = 0x0115
    STARTED = 0x0120
    PROGRESS = 0x0121
    RESULT = 0x0122
    FAILED = 0x0123
    CANCELLED = 0x0124
    HELLO = 0x0201
    HEARTBEAT = 0x0202
    GOODBYE = 0x0203
    WHO = 0x0204
    SUBMIT_RUN = 0x0301
    CANCEL_RUN = 0x0302
    LIST_RUNS = 0x0303
    SHOW_RUN = 0x0304
    LIST_NODES = 0x0305
    CREATE_INVITE = 0x0306
    LIST_INVITES = 0x0307
    REVOKE_INVITE = 0x0308
    LEAVE = 0x0309
    REVOKE_NODE = 0x030A
    RENEW = 0x030B
    PING = 0x030C
    PAUSE_RUN = 0x030D
    RESUME_RUN = 0x030E
    RUN_EVENTS = 0x030F
    FOR_RUN = 0x0310
    REPLY = 0x0380
    EVENT = 0x0401
    REVOCATION = 0x0501
    CHARTER = 0x0502
    HALT = 0x0503
    JOURNAL = 0x0601
    HEAD = 0x0602


MESSAGES: dict[Type, type[Item]] = {
    Type.ANNOUNCE: Announce,
    Type.BID: Bid,
    Type.DECLINE: Decline,
    Type.OFFER: Offer,
    Type.WITHDRAW: Withdraw,
    Type.AWARD: Award,
    Type.REJECT: Reject,
    Type.CONFIRM: Confirm,
    Type.REFUSE: Refuse,
    Type.CANCEL: Cancel,
    Type.RESULT_ACK: ResultAck,
    Type.STARTED: Started,
    Type.PROGRESS: Progress,
    Type.RESULT: Result,
    Type.FAILED: Failed,
    Type.CANCELLED: Cancelled,
    Type.HELLO: Hello,
    Type.HEARTBEAT: Heartbeat,
    Type.GOODBYE: Goodbye,
    Type.WHO: Who,
    Type.SUBMIT_RUN: SubmitRun,
    Type.CANCEL_RUN: CancelRun,
    Type.LIST_RUNS: ListRuns,
    Type.SHOW_RUN: ShowRun,
    Type.LIST_NODES: ListNodes,
    Type.CREATE_INVITE: CreateInvite,
    Type.LIST_INVITES: ListInvites,
    Type.REVOKE_INVITE: RevokeInvite,
    Type.LEAVE: Leave,
    Type.REVOKE_NODE: RevokeNode,
    Type.RENEW: Renew,
    Type.PING: Ping,
    Type.PAUSE_RUN: PauseRun,
    Type.RESUME_RUN: ResumeRun,
    Type.RUN_EVENTS: RunEvents,
    Type.FOR_RUN: ForRun,
    Type.REPLY: Reply,
    Type.EVENT: Event,
    Type.REVOCATION: Revocation,
    Type.CHARTER: CharterNotice,
    Type.HALT: Halt,
    Type.HEAD: Head,
}
"""The model of one item, for every type but the journal's (whose items are records, see `protocol.records`)."""

_TYPES: dict[type[Item], Type] = {model: kind for kind, model in MESSAGES.items()}


def type_of(item: Item) -> Type:
    """The type code under which an item travels."""
    return _TYPES[type(item)]
