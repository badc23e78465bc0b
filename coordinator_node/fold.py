"""The only maker of state: `apply(state, record) -> state`, live, after a crash, in the simulator and in tests alike.

Rules. 1. Only `apply` makes or changes a `RunState`; it works in place, so that a run of thousands of subtasks costs the same per record at
its end as at its beginning, and returns the state it was given (a new one for `run.opened`). 2. A record that does not fit is
refused before anything changes: `InvalidTransition`, with the story so far; the state is as it was. 3. No clock, bus or role is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

from protocol.plan import Skeleton
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
    SubtaskCancelled,
    SubtaskCancelRequested,
    SubtaskFailed,
    Unbid,
)

from .errors import InvalidTransition
from .state import AttemptState, ChildState, RunState, SubtaskState
from .transitions import ATTEMPT_END, RUN, SUBTASK

__all__ = ["apply", "fold", "story"]


def apply(state: RunState | None, record: Record) -> RunState:
    """Take one record into account.

    Raises:
        InvalidTransition: the record cannot follow; `state` is unchanged.
    """
    if isinstance(record, RunOpened):
        return _opened(state, record)
    if state is None:
        raise InvalidTransition(f"{record.k} before run.opened", [])
    _HANDLERS[type(record)](state, record)
    state.records += 1
    state.last_ms = record.at_ms
    return state


def fold(records: Iterable[Record], state: RunState | None = None) -> RunState | None:
    """Apply records one after the other; None when there are none.

    Raises:
        InvalidTransition: as `apply`.
    """
    for record in records:
        state = apply(state, record)
    return state


def story(subtask: SubtaskState) -> list[str]:
    """What happened to a subtask, one line for each thing, oldest first."""
    lines = [f"needs {len(subtask.skeleton.needs)}, {subtask.unmet} of them not ended"]
    if subtask.unbid is not None:
        lines.append(f"{subtask.unbid_rounds} rounds without a bid, the last number {subtask.unbid.round}")
    for attempt in subtask.attempts:
        ended = "" if attempt.status == "awarded" else f", {attempt.status} {attempt.code}".rstrip()
        lines.append(f"attempt {attempt.number} (epoch {attempt.epoch}) awarded to {attempt.node[:8]}{ended}")
    lines += [
        f"late {what} of attempt {number} (epoch {epoch})" for number, epoch, what in sorted(subtask.late)
    ]
    lines.append(f"now {subtask.status} {subtask.code}".rstrip())
    return lines


def _run_story(state: RunState) -> list[str]:
    return [
        f"run {state.run} is {state.status}, epoch {state.epoch} of {state.owner[:8]}",
        f"{state.records} records, {state.unfinished} of {len(state.subtasks)} subtasks not ended",
    ]


def _illegal(state: RunState, message: str, subtask: SubtaskState | None = None) -> InvalidTransition:
    return InvalidTransition(message, _run_story(state) + (story(subtask) if subtask else []))


# --- the run -------------------------------------------------------------------------------------------------------------------


def _opened(state: RunState | None, record: RunOpened) -> RunState:
    if state is not None:
        raise _illegal(state, "run.opened twice")
    return RunState(
        run=record.run,
        goal=record.goal,
        by=record.by,
        epoch=record.epoch,
        owner=record.owner,
        opened_ms=record.at_ms,
        began_ms=record.at_ms,
        last_ms=record.at_ms,
        inputs=record.inputs,
        skipped=record.skipped,
        budget=record.budget,
        parent=record.parent,
        depth=record.depth,
        records=1,
    )


def _run_may(state: RunState, kind: str) -> None:
    if (state.status, kind) not in RUN:
        raise _illegal(state, f"{kind} while the run is {state.status}")


def _plan_adopted(state: RunState, record: PlanAdopted) -> None:
    _run_may(state, record.k)
    if record.part != state.parts_seen + 1 or (state.parts and record.parts != state.parts):
        raise _illegal(
            state, f"plan part {record.part} of {record.parts} after part {state.parts_seen} of {state.parts}"
        )
    if record.part > record.parts or (state.plan is not None and record.plan != state.plan):
        raise _illegal(state, f"plan part {record.part} of {record.parts} belongs to another plan")
    seen: set[str] = set()
    for skeleton in record.subtasks:
        if skeleton.id in state.subtasks or skeleton.id in seen:
            raise _illegal(state, f"subtask {skeleton.id!r} is in the plan twice")
        seen.add(skeleton.id)
    if record.part == record.parts:
        for entry in (*(sub.skeleton for sub in state.subtasks.values()), *record.subtasks):
            for need in entry.needs:
                if need not in state.subtasks and need not in seen:
                    raise _illegal(state, f"subtask {entry.id!r} needs {need!r}, which is not in the plan")
    state.plan, state.parts, state.parts_seen = record.plan, record.parts, record.part
    for skeleton in record.subtasks:
        state.subtasks[skeleton.id] = SubtaskState(skeleton=skeleton)
    state.unfinished += len(record.subtasks)
    if state.planned:
        _wire(state)


def _wire(state: RunState) -> None:
    """The plan is whole: count needs, note who waits for whom, and see what can begin."""
    for name, subtask in state.subtasks.items():
        needs = dict.fromkeys(subtask.skeleton.needs)
        subtask.unmet = len(needs)
        for need in needs:
            state.subtasks[need].dependents.append(name)
        if not needs:
            state.ready[name] = None


def _plan_revised(state: RunState, record: PlanRevised) -> None:
    _run_may(state, record.k)
    revised = _subtask(state, record.subtask, record.k)
    if not state.planned:
        raise _illegal(state, f"{record.k} before the whole plan is there", revised)
    form = [skeleton for skeleton in record.subtasks if skeleton.id == record.subtask]
    fresh = {skeleton.id: skeleton for skeleton in record.subtasks if skeleton.id != record.subtask}
    if len(form) != 1 or len(fresh) != len(record.subtasks) - 1 or fresh.keys() & state.subtasks.keys():
        raise _illegal(state, f"{record.k} has a subtask twice, or not the one that it is about", revised)
    # Where only its content is another, no graph is looked at: a whole run may be revised piece by piece.
    same = not fresh and dict.fromkeys(form[0].needs) == dict.fromkeys(revised.skeleton.needs)
    if not same:
        _check_revision(state, record, form[0], fresh)
        for name in dict.fromkeys(revised.skeleton.needs):
            state.subtasks[name].dependents.remove(record.subtask)
    state.revisions += state.plan != record.plan
    state.plan = record.plan
    state.ready.pop(record.subtask, None)
    revised.revisions += 1
    revised.skeleton, revised.past_attempts = form[0], len(revised.attempts)
    revised.unbid, revised.unbid_rounds = None, 0
    if same:
        _may_begin(state, record.subtask)
        return
    state.doomed.pop(record.subtask, None)
    for name, skeleton in fresh.items():
        state.subtasks[name] = SubtaskState(skeleton=skeleton)
    state.unfinished += len(fresh)
    for name in (record.subtask, *fresh):
        _wire_one(state, name)


def _may_begin(state: RunState, name: str) -> None:
    if state.subtasks[name].unmet == 0 and name not in state.doomed:
        state.ready[name] = None


def _check_revision(state: RunState, record: PlanRevised, form: Skeleton, fresh: dict[str, Skeleton]) -> None:
    """A revised plan is a plan: every need is there, and it has no cycle."""
    graph = {name: subtask.skeleton.needs for name, subtask in state.subtasks.items()}
    graph |= {name: skeleton.needs for name, skeleton in fresh.items()}
    graph[form.id] = form.needs
    for name in (form.id, *fresh):
        for need in graph[name]:
            if need not in graph:
                raise _illegal(state, f"subtask {name!r} needs {need!r}, which is not in the plan")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError:
        raise _illegal(state, f"{record.k} for {record.subtask!r} makes a cycle") from None


def _wire_one(state: RunState, name: str) -> None:
    """Count the needs of one subtask that have not ended, and see whether it can begin."""
    subtask = state.subtasks[name]
    needs = dict.fromkeys(subtask.skeleton.needs)
    subtask.unmet = sum(not state.subtasks[need].terminal for need in needs)
    for need in needs:
        state.subtasks[need].dependents.append(name)
        if state.subtasks[need].status in ("failed", "cancelled") and not subtask.skeleton.tolerant:
            state.doomed.setdefault(name, state.subtasks[need].cause or need)
    _may_begin(state, name)


def _owned(state: RunState, record: Owned) -> None:
    _run_may(state, record.k)
    if record.epoch <= state.epoch:
        raise _illegal(state, f"run.owned with epoch {record.epoch}, which is not above {state.epoch}")
    state.epoch, state.owner = record.epoch, record.owner
    if record.began_ms is not None:
        state.began_ms = record.began_ms


def _cancel_requested(state: RunState, record: CancelRequested) -> None:
    _run_may(state, record.k)
    state.status = RUN[state.status, record.k]
    state.cancelled_by, state.cancel_reason = record.by, record.reason


def _paused(state: RunState, record: RunPaused) -> None:
    _run_may(state, record.k)
    state.paused, state.paused_by, state.pause_reason = True, record.by, record.reason


def _resumed(state: RunState, record: RunResumed) -> None:
    _run_may(state, record.k)
    state.paused, state.paused_by, state.pause_reason = False, "", ""


def _budget_noted(state: RunState, record: BudgetNoted) -> None:
    _run_may(state, record.k)
    state.budget_notes.append(record)


def _child_opened(state: RunState, record: ChildOpened) -> None:
    _run_may(state, record.k)
    if record.run in state.children or record.run == state.run:
        raise _illegal(state, f"{record.k} twice for run {record.run}")
    state.children[record.run] = ChildState(record.reserved)


def _child_closed(state: RunState, record: ChildClosed) -> None:
    _run_may(state, record.k)
    child = state.children.get(record.run)
    if child is None or child.used is not None:
        raise _illegal(
            state, f"{record.k} for run {record.run}, which is not one that goes on below this one"
        )
    child.used = record.used


def _run_closed(state: RunState, record: RunClosed) -> None:
    _run_may(state, record.k)
    if state.unfinished and state.planned:
        raise _illegal(state, f"run.closed with {state.unfinished} subtasks not ended")
    state.status = RUN[state.status, record.k]
    state.outcome, state.code = record.outcome, record.code
    state.message, state.hint = record.message, record.hint
    state.deliverables, state.closed_ms = record.deliverables, record.at_ms


# --- subtasks ------------------------------------------------------------------------------------------------------------------


def _subtask(state: RunState, name: str, kind: str) -> SubtaskState:
    subtask = state.subtasks.get(name)
    if subtask is None:
        raise _illegal(state, f"{kind} for {name!r}, which is not in the plan")
    if (subtask.status, kind) not in SUBTASK:
        raise _illegal(state, f"{kind} while {name!r} is {subtask.status}", subtask)
    if state.status == "closed" and kind != "result.late":
        raise _illegal(state, f"{kind} for {name!r} in a closed run", subtask)
    return subtask


def _awarded(state: RunState, record: Awarded) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    held = subtask.held
    if not record.hedge and record.subtask not in state.ready:
        raise _illegal(state, f"{record.subtask!r} is awarded before it may be", subtask)
    if record.hedge and (len(held) != 1 or held[0].node == record.node):
        raise _illegal(
            state, f"{record.subtask!r} is hedged, and not one attempt of another node holds", subtask
        )
    if state.status != "open" or state.paused or subtask.cancelling:
        how = state.status if state.status != "open" else "paused" if state.paused else "giving it up"
        raise _illegal(state, f"{record.subtask!r} is awarded while the run is {how}", subtask)
    if record.epoch != state.epoch or record.attempt != len(subtask.attempts) + 1:
        raise _illegal(
            state, f"award of attempt {record.attempt}, epoch {record.epoch}, out of order", subtask
        )
    state.ready.pop(record.subtask, None)
    subtask.status = "awarded"
    subtask.attempts.append(
        AttemptState(
            number=record.attempt,
            epoch=record.epoch,
            round=record.round,
            node=record.node,
            bus_key=record.bus_key,
            agent=record.agent,
            lease_ms=record.lease_ms,
            deadline_ms=record.deadline_ms,
            awarded_ms=record.at_ms,
            bids=record.bids,
            reason=record.reason,
            reserved=record.reserved,
            hedge=record.hedge,
        )
    )


def _unbid(state: RunState, record: Unbid) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    subtask.unbid = record
    subtask.unbid_rounds += 1


Ending = Refused | AttemptFailed | Rejected | Accepted


def _holds(state: RunState, record: Ending | AttemptMoved) -> tuple[SubtaskState, AttemptState]:
    """The subtask and its live attempt, if the record is about exactly one that holds: the fence."""
    subtask = _subtask(state, record.subtask, record.k)
    held = subtask.held
    for attempt in held:
        if (record.attempt, record.epoch, record.node) == (attempt.number, attempt.epoch, attempt.node):
            return subtask, attempt
    names = " and ".join(f"attempt {one.number}, epoch {one.epoch} of {one.node[:8]}" for one in held)
    raise _illegal(
        state,
        f"{record.k} names attempt {record.attempt}, epoch {record.epoch} of {record.node[:8]},"
        f" but {names} holds",
        subtask,
    )


def _held(state: RunState, record: Ending) -> tuple[SubtaskState, AttemptState]:
    """The attempt that holds and ends with this record."""
    subtask, attempt = _holds(state, record)
    attempt.status = ATTEMPT_END[record.k]
    attempt.ended_ms = record.at_ms
    attempt.ended_after_ms = record.at_ms - state.began_ms
    return subtask, attempt


def _reopen(state: RunState, subtask: SubtaskState) -> None:
    """An attempt came to nothing: the subtask is open again, unless another holds it."""
    if subtask.held:
        return
    subtask.status = "open"
    state.ready[subtask.skeleton.id] = None


def _refused(state: RunState, record: Refused) -> None:
    subtask, attempt = _held(state, record)
    attempt.code, attempt.message = record.code, record.detail
    _reopen(state, subtask)


def _attempt_failed(state: RunState, record: AttemptFailed) -> None:
    subtask, attempt = _held(state, record)
    attempt.code, attempt.message, attempt.retryable = record.code, record.message, record.retryable
    attempt.used, attempt.partial, attempt.retry_ms = record.used, record.partial, record.retry_ms
    _reopen(state, subtask)


def _rejected(state: RunState, record: Rejected) -> None:
    subtask, attempt = _held(state, record)
    attempt.code, attempt.message, attempt.used = "E_CHECK", record.reason, record.used
    _reopen(state, subtask)


def _accepted(state: RunState, record: Accepted) -> None:
    subtask, attempt = _holds(state, record)
    if len(subtask.held) > 1:
        raise _illegal(state, f"{record.k} for {record.subtask!r} while another attempt holds it", subtask)
    attempt.status, attempt.ended_ms = ATTEMPT_END[record.k], record.at_ms
    attempt.wall_ms, attempt.cpu_ms, attempt.used = record.wall_ms, record.cpu_ms, record.used
    subtask.status, subtask.outputs = "accepted", record.outputs
    _ended(state, subtask, record.at_ms)


def _late(state: RunState, record: LateResult) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    subtask.late.add((record.attempt, record.epoch, record.what))


def _subtask_failed(state: RunState, record: SubtaskFailed) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    subtask.status = "failed"
    subtask.code, subtask.message, subtask.cause = record.code, record.message, record.cause
    _ended(state, subtask, record.at_ms)


def _moved(state: RunState, record: AttemptMoved) -> None:
    _, attempt = _holds(state, record)
    attempt.state, attempt.wait_ms, attempt.note = record.state, record.wait_ms, record.note


def _subtask_cancel_requested(state: RunState, record: SubtaskCancelRequested) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    subtask.cancelling, subtask.cancel_reason = True, record.reason


def _subtask_cancelled(state: RunState, record: SubtaskCancelled) -> None:
    subtask = _subtask(state, record.subtask, record.k)
    if state.status != "cancelling" and not subtask.cancelling:
        raise _illegal(state, f"{record.subtask!r} is cancelled although nobody asked for it", subtask)
    held = subtask.held
    if len(held) > 1:
        raise _illegal(state, f"{record.k} for {record.subtask!r} while two attempts hold it", subtask)
    for attempt in held:
        attempt.status, attempt.ended_ms, attempt.used = "cancelled", record.at_ms, record.used
    subtask.status, subtask.code, subtask.message = "cancelled", "E_CANCELLED", subtask.cancel_reason
    _ended(state, subtask, record.at_ms)


def _ended(state: RunState, subtask: SubtaskState, at_ms: int) -> None:
    """A subtask has ended: tell those who wait for it."""
    name = subtask.skeleton.id
    subtask.ended_ms = at_ms
    state.ready.pop(name, None)
    state.doomed.pop(name, None)
    state.unfinished -= 1
    for waiting in subtask.dependents:
        dependent = state.subtasks[waiting]
        dependent.unmet -= 1
        if dependent.status != "open":
            continue
        lost = subtask.status == "failed" or (subtask.status == "cancelled" and state.status == "open")
        if lost and not dependent.skeleton.tolerant and waiting not in state.doomed:
            state.doomed[waiting] = subtask.cause or name
        if dependent.unmet == 0 and waiting not in state.doomed:
            state.ready[waiting] = None


_HANDLERS: dict[type[Any], Callable[[RunState, Any], None]] = {
    PlanAdopted: _plan_adopted,
    PlanRevised: _plan_revised,
    Owned: _owned,
    CancelRequested: _cancel_requested,
    RunPaused: _paused,
    RunResumed: _resumed,
    BudgetNoted: _budget_noted,
    ChildOpened: _child_opened,
    ChildClosed: _child_closed,
    RunClosed: _run_closed,
    Awarded: _awarded,
    Unbid: _unbid,
    Refused: _refused,
    AttemptFailed: _attempt_failed,
    Rejected: _rejected,
    Accepted: _accepted,
    LateResult: _late,
    SubtaskFailed: _subtask_failed,
    AttemptMoved: _moved,
    SubtaskCancelRequested: _subtask_cancel_requested,
    SubtaskCancelled: _subtask_cancelled,
}
