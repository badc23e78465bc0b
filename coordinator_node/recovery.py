"""What a run needs from whoever takes it up, from its folded state alone: after a crash, or in another process.

Rules. First the new epoch is put in the journal (`run.owned`): from then on nobody of an older one can write. Then what was left half-said is said
again: the rest of the plan, awards and cancels that hold (each is idempotent by attempt and epoch, so a worker that knows one answers how
things stand). An attempt that holds stays as it is: its result counts whoever asked for it. What counts from the run's beginning (its time, the wait that
a node asked for) counts on by the new owner's clock. Pure: `engine` carries it on.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocol.artifact import ArtifactRef
from protocol.plan import Plan, Skeleton
from protocol.records import Owned, PlanAdopted, Record

from .state import AttemptState, RunState, SubtaskState

__all__ = ["limits", "plan_records", "standing", "take_over"]

_PART_SUBTASKS = 400
_PART_VALUES = 7_000
"""A journal message holds at most 10,000 values; a skeleton is some ten and one for each need."""
_PART_BYTES = 350_000
"""And 512 KiB: names may have 64 characters."""
_SKELETON_BYTES = 300


def plan_records(plan: Plan, ref: ArtifactRef, at_ms: int) -> list[PlanAdopted]:
    """The plan's skeleton in parts that fit into journal messages; the same plan always makes the same parts."""
    parts: list[list[Skeleton]] = [[]]
    values = size = 0
    for subtask in plan.subtasks:
        more = 10 + len(subtask.needs)
        bulk = _SKELETON_BYTES + sum(map(len, subtask.needs)) + 2 * len(subtask.needs)
        if parts[-1] and (
            len(parts[-1]) >= _PART_SUBTASKS or values + more > _PART_VALUES or size + bulk > _PART_BYTES
        ):
            parts.append([])
            values = size = 0
        parts[-1].append(subtask.skeleton())
        values += more
        size += bulk
    return [
        PlanAdopted(at_ms=at_ms, plan=ref, part=number, parts=len(parts), subtasks=part)
        for number, part in enumerate(parts, 1)
    ]


def take_over(state: RunState, plan: Plan | None, owner: str, at_ms: int, apart_ms: int = 0) -> list[Record]:
    """What to write before anything else: the new epoch, and the parts of the plan that are not in the journal yet.

    `apart_ms`: by how much our clock is ahead of that of the owner before, as far as is known.
    """
    # Nothing was written after now: where it seems so, our clock is further behind than we know.
    began_ms = max(0, state.began_ms + min(apart_ms, at_ms - state.last_ms))
    records: list[Record] = [Owned(at_ms=at_ms, epoch=state.epoch + 1, owner=owner, began_ms=began_ms)]
    if plan is not None and state.plan is not None and not state.planned:
        records += plan_records(plan, state.plan, at_ms)[state.parts_seen :]
    return records


def limits(state: RunState) -> Iterator[tuple[str, str, float]]:
    """(node, capability, until): what nodes said of a limit of use when their attempts failed, by the clock of the present owner."""
    for subtask in state.subtasks.values():
        for attempt in subtask.tried:
            if attempt.status == "failed" and attempt.retryable and attempt.retry_ms:
                until_ms = state.began_ms + attempt.ended_after_ms + attempt.retry_ms
                yield attempt.node, subtask.skeleton.capability, until_ms / 1000


def standing(state: RunState) -> Iterator[tuple[SubtaskState, AttemptState]]:
    """The attempts that hold."""
    for subtask in state.subtasks.values():
        for attempt in subtask.held:
            yield subtask, attempt
