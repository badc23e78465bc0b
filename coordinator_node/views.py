"""From state to what people and programs see: plain JSON-like data for `runs show`, lists, and events.

Pure, and the only place where field names of such answers are chosen; they are public (`zwerm.run/1`, and the `data` of `zwerm.event/1`, whose other fields
are those of `protocol.messages.Event`): add fields, never rename one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocol.artifact import ArtifactRef
from protocol.messages import Event, NamedRef
from protocol.messages.base import JsonObject
from protocol.records import (
    Accepted,
    AttemptFailed,
    AttemptMoved,
    Awarded,
    BudgetNoted,
    CancelRequested,
    ChildClosed,
    ChildOpened,
    LateResult,
    Owned,
    PlanAdopted,
    PlanRevised,
    Record,
    Refused,
    Rejected,
    RunClosed,
    RunOpened,
    RunPaused,
    RunResumed,
    SubtaskCancelRequested,
    SubtaskFailed,
    Unbid,
)

from .budget_view import budget_view, note_text, usage_view
from .errors import JournalBroken
from .offers import Brief
from .state import AttemptState, RunState, SubtaskState, bid_of
from .watch import Live

__all__ = [
    "counts",
    "event_data",
    "event_of",
    "file_view",
    "halted_view",
    "live_view",
    "ref_view",
    "run_view",
    "subtask_view",
    "summary_view",
]

Namer = Callable[[str], str]
"""Node id -> what people call the node."""


def ref_view(ref: ArtifactRef) -> dict[str, Any]:
    """An artifact's reference."""
    return {"sha256": ref.digest, "bytes": ref.size, "chunks": ref.chunks, "writer": ref.writer}


def file_view(named: NamedRef) -> dict[str, Any]:
    """A file of a run."""
    return {"name": named.name, "media_type": named.media_type, **ref_view(named.ref)}


def counts(state: RunState) -> dict[str, int]:
    """How many subtasks are in which state."""
    found = dict.fromkeys(("open", "awarded", "accepted", "failed", "cancelled"), 0)
    for subtask in state.subtasks.values():
        found[subtask.status] += 1
    return found


def summary_view(state: RunState, goal: str, name: Namer, planner: str = "") -> dict[str, Any]:
    """A run in a few fields, as lists show it."""
    return {
        "run": state.run,
        "goal": goal[:500],
        "planner": planner,
        "status": state.status,
        "outcome": state.outcome,
        "code": state.code,
        "message": state.message,
        "hint": state.hint,
        "by": state.by,
        "by_name": name(state.by),
        "owner": state.owner,
        "epoch": state.epoch,
        "paused": state.paused,
        "paused_by_name": name(state.paused_by) if state.paused else "",
        "pause_reason": state.pause_reason,
        "opened_ms": state.opened_ms,
        "closed_ms": state.closed_ms,
        "records": state.records,
        "subtasks": len(state.subtasks),
        "counts": dict(counts(state)),
        "inputs": len(state.inputs),
        "deliverables": [file_view(named) for named in state.deliverables],
    }


def halted_view(error: JournalBroken) -> dict[str, Any]:
    """A run whose journal is broken, in the same fields: nothing is known of it but that."""
    return {
        "run": error.run,
        "goal": "",
        "planner": "",
        "status": "halted",
        "outcome": "",
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "by": "",
        "by_name": "",
        "owner": "",
        "epoch": 0,
        "opened_ms": 0,
        "closed_ms": 0,
        "subtasks": 0,
        "counts": dict.fromkeys(("open", "awarded", "accepted", "failed", "cancelled"), 0),
        "inputs": 0,
        "deliverables": [],
    }


def run_view(
    state: RunState,
    content: Brief | None,
    name: Namer,
    live: Mapping[str, list[dict[str, Any]]] | None = None,
    waiting: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A run in full: every subtask with its bids, attempts and digests; who made what, from what, and why that one.

    `live`: what `live_view` says of the subtasks that are at work. `waiting`: why others that are ready are not put up.
    """
    goal = content.plan.goal if content else ""
    planner = content.plan.planner if content else ""
    return {
        "schema": "zwerm.run/1",
        **summary_view(state, goal, name, planner),
        "goal": goal,
        "goal_ref": ref_view(state.goal),
        "plan_ref": ref_view(state.plan) if state.plan else None,
        "input_files": [file_view(named) for named in state.inputs],
        "skipped": [item.model_dump() for item in state.skipped],
        "budget": budget_view(state, name),
        "parent": state.parent or "",
        "cancelled_by": state.cancelled_by,
        "subtask_list": [
            {
                **subtask_view(state, subtask, content, name),
                "live": (live or {}).get(subtask.skeleton.id, []),
                "waits": (waiting or {}).get(subtask.skeleton.id, ""),
            }
            for subtask in state.subtasks.values()
        ],
    }


def live_view(live: Live, now: float, name: Namer) -> dict[str, Any]:
    """How an attempt stands that is out: seconds, so that two clocks need not agree."""
    return {
        "attempt": live.attempt,
        "node": live.node,
        "node_name": name(live.node),
        "state": live.state if live.taken else "awarded",
        "state_s": round(max(0.0, now - live.state_at), 1),
        "since_s": round(max(0.0, now - live.awarded_at), 1),
        "silent_s": round(max(0.0, now - live.moved_at), 1),
        "lease_s": live.lease_s,
        "wait_s": round(max(0.0, live.wait_until - now), 1),
        "checking": live.checking,
        "step": max(0, live.step),
        "fraction": live.fraction,
        "note": live.note,
    }


def subtask_view(
    state: RunState, subtask: SubtaskState, content: Brief | None, name: Namer
) -> dict[str, Any]:
    """One subtask."""
    skeleton = subtask.skeleton
    plan = content.of(skeleton.id) if content else None
    inputs = set(plan.inputs) if plan else set()
    unbid = subtask.unbid
    return {
        "id": skeleton.id,
        "label": plan.label if plan else "",
        "capability": skeleton.capability,
        "params": plan.params if plan else {},
        "needs": list(skeleton.needs),
        "tolerant": skeleton.tolerant,
        "status": subtask.status,
        "code": subtask.code,
        "message": subtask.message,
        "cause": subtask.cause,
        "inputs": [file_view(named) for named in state.inputs if named.name in inputs]
        + [
            {"from": need, **file_view(output)}
            for need in skeleton.needs
            for output in state.subtasks[need].outputs
        ],
        "outputs": [file_view(output) for output in subtask.outputs],
        "attempts": [_attempt_view(attempt, name) for attempt in subtask.attempts],
        "unbid": None
        if unbid is None
        else {
            "rounds": subtask.unbid_rounds,
            "asked": unbid.asked,
            "declines": [
                {"node": note.node, "node_name": name(note.node), "code": note.code, "detail": note.detail}
                for note in unbid.declines
            ],
        },
        "late": [
            {"attempt": attempt, "epoch": epoch, "what": what}
            for attempt, epoch, what in sorted(subtask.late)
        ],
        "ended_ms": subtask.ended_ms,
    }


def _attempt_view(attempt: AttemptState, name: Namer) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "epoch": attempt.epoch,
        "round": attempt.round & 0xFFFFF,
        "node": attempt.node,
        "node_name": name(attempt.node),
        "agent": attempt.agent,
        "status": attempt.status,
        "code": attempt.code,
        "message": attempt.message,
        "retry_ms": attempt.retry_ms,
        "awarded_ms": attempt.awarded_ms,
        "ended_ms": attempt.ended_ms,
        "wall_ms": attempt.wall_ms,
        "cpu_ms": attempt.cpu_ms,
        "reserved": usage_view(attempt.reserved),
        "used": usage_view(attempt.used),
        "reason": attempt.reason,
        "state": attempt.state,
        "wait_ms": attempt.wait_ms,
        "note": attempt.note,
        "partial": [file_view(named) for named in attempt.partial],
        "bids": [
            {
                "node": bid.node,
                "node_name": name(bid.node),
                "agent": bid.agent,
                "price": bid.price,
                "eta_ms": bid.eta_ms,
                "success": bid.success,
                "load": bid.load,
                "score": bid.score,
                "envelope": bid.envelope.hex(),
            }
            for bid in attempt.bids
        ],
    }


def event_of(number: int, record: Record, name: Namer) -> Event:
    """The durable event that tells of record `number` of a run (EVT-1): the same whether it is said at once or read back from the journal."""
    subtask, node, data = event_data(record, name)
    return Event(
        seq=number,
        at_ms=record.at_ms,
        kind=record.k,
        subtask=subtask,
        node=node,
        node_name=name(node)[:64] if node else "",
        data=data,
    )


def event_data(record: Record, name: Namer) -> tuple[str, str, JsonObject]:
    """What a watcher is told about a record: (subtask, node, data). Small: the whole story is in `runs show`."""
    data: dict[str, Any] = {}
    node = getattr(record, "node", "")
    if isinstance(record, Awarded):
        bid = bid_of(record)
        data = {
            "attempt": record.attempt,
            "agent": record.agent,
            "bids": len(record.bids),
            "price": bid.price if bid else 0,
            "reserved": usage_view(record.reserved),
            "reason": record.reason,
        }
    elif isinstance(record, Accepted):
        data = {
            "attempt": record.attempt,
            "wall_ms": record.wall_ms,
            "used": usage_view(record.used),
            "outputs": [output.name for output in record.outputs[:20]],
        }
    elif isinstance(record, Refused):
        data = {"attempt": record.attempt, "code": record.code, "message": record.detail}
    elif isinstance(record, AttemptFailed):
        data = {
            "attempt": record.attempt,
            "code": record.code,
            "message": record.message[:300],
            "used": usage_view(record.used),
            "retry_ms": record.retry_ms,
        }
    elif isinstance(record, AttemptMoved):
        data = {
            "attempt": record.attempt,
            "state": record.state,
            "wait_ms": record.wait_ms,
            "note": record.note,
        }
    elif isinstance(record, Rejected):
        data = {
            "attempt": record.attempt,
            "code": "E_CHECK",
            "message": record.reason[:300],
            "used": usage_view(record.used),
        }
    elif isinstance(record, LateResult):
        data = {"attempt": record.attempt, "what": record.what}
    elif isinstance(record, SubtaskFailed):
        data = {"code": record.code, "message": record.message[:300], "cause": record.cause}
    elif isinstance(record, Unbid):
        data = {
            "asked": record.asked,
            "declines": [f"{name(note.node)}: {note.detail or note.code}" for note in record.declines[:8]],
        }
    else:
        data, about = _run_event(record, name)
        node = about or node
    return getattr(record, "subtask", ""), node, data


def _run_event(record: Record, name: Namer) -> tuple[dict[str, Any], str]:
    if isinstance(record, RunOpened):
        return {
            "by": name(record.by),
            "inputs": len(record.inputs),
            "skipped": len(record.skipped),
            "budget": record.budget.model_dump(exclude_none=True) if record.budget else {},
        }, record.owner
    if isinstance(record, BudgetNoted):
        said = note_text(record)
        return {**record.model_dump(exclude={"k", "at_ms"}), "message": said}, ""
    if isinstance(record, ChildOpened):
        return {"run": record.run, "by": name(record.by), "reserved": usage_view(record.reserved)}, ""
    if isinstance(record, ChildClosed):
        return {"run": record.run, "used": usage_view(record.used)}, ""
    if isinstance(record, PlanAdopted):
        shown = [[entry.id, entry.capability] for entry in record.subtasks]
        return {"part": record.part, "parts": record.parts, "subtasks": shown}, ""
    if isinstance(record, PlanRevised):
        shown = [[entry.id, entry.capability] for entry in record.subtasks]
        return {"subtasks": shown, "reason": record.reason}, ""
    if isinstance(record, Owned):
        return {"epoch": record.epoch}, record.owner
    if isinstance(record, (CancelRequested, RunPaused, SubtaskCancelRequested)):
        return {"by": name(record.by), "reason": record.reason}, ""
    if isinstance(record, RunResumed):
        return {"by": name(record.by)}, ""
    if isinstance(record, RunClosed):
        return {
            "outcome": record.outcome,
            "code": record.code,
            "message": record.message[:1000],
            "hint": record.hint[:500],
            "deliverables": [file_view(named) for named in record.deliverables[:20]],
        }, ""
    return {}, ""
