"""What goes out about a subtask: its announcement and its award, made from plan and state.

Rules. An announcement carries no content, only what a bidder needs to price the work. The inputs of a subtask are its own files of the run, then the
outputs of its needs in plan order, named `<need>.<output>`: names depend on the plan alone, so that who did the work cannot show in a result.
What a tolerant subtask has to do without is named after the file where the trouble began.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from protocol.messages import Announce, Award, Missing, NamedRef
from protocol.messages.work import PARTIAL_MAX
from protocol.plan import Plan, Subtask

from .state import AttemptState, RunState, SubtaskState

__all__ = [
    "AWARD_BYTES_MAX",
    "FILES_MAX",
    "Brief",
    "announce",
    "award",
    "award_bytes",
    "award_files",
    "award_values",
    "brief",
    "missing",
    "named_bytes",
    "unfinished",
    "values",
]

FILES_MAX = 1_000
"""Files that one award can name: a message holds 10,000 values, and a file is eight of them."""
AWARD_BYTES_MAX = 450_000
"""What an award may take: a message holds 512 KiB. Names can be a kilobyte each."""
_REASONS_BYTES = 100_000
"""What the reasons in `missing` may take together."""
_REF_BYTES = 192
"""A file reference in a message, without its name: digest, writer, size, chunks and the names of the fields."""
_DIGESTS_MAX = 32
_NAME_MAX = 255


class Brief:
    """The content of a plan, by subtask; what the journal does not hold."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._subtasks = {subtask.id: subtask for subtask in plan.subtasks}

    def of(self, subtask: str) -> Subtask:
        """One subtask with its label, inputs, parameters and schema."""
        return self._subtasks[subtask]

    def has(self, subtask: str) -> bool:
        """Whether the plan has a subtask of this name."""
        return subtask in self._subtasks

    def name(self, subtask: str) -> str:
        """What people would call it: the file it reads, else its label, else its id."""
        content = self._subtasks[subtask]
        return content.inputs[0] if len(content.inputs) == 1 else content.label or subtask


def brief(state: RunState, content: Brief, subtask: SubtaskState) -> list[NamedRef]:
    """The inputs of a subtask whose needs have ended."""
    mine = content.of(subtask.skeleton.id)
    by_name = {named.name: named for named in state.inputs} if mine.inputs else {}
    inputs = [by_name[name] for name in mine.inputs if name in by_name]
    for need in subtask.skeleton.needs:
        inputs += [
            NamedRef(name=f"{need}.{output.name}"[-_NAME_MAX:], media_type=output.media_type, ref=output.ref)
            for output in state.subtasks[need].outputs
        ]
    return inputs


def missing(state: RunState, content: Brief, subtask: SubtaskState) -> list[Missing]:
    """What a tolerant subtask has to do without, each trouble once."""
    if not subtask.skeleton.tolerant:
        return []
    found: dict[str, Missing] = {skipped.name: skipped for skipped in state.skipped}
    for need in subtask.skeleton.needs:
        ended = state.subtasks[need]
        if ended.status not in ("failed", "cancelled"):
            continue
        root = ended.cause or need
        name = content.name(root)[:_NAME_MAX]
        cause = state.subtasks[root]
        found.setdefault(name, Missing(name=name, code=cause.code, message=cause.message))
    most = max(80, _REASONS_BYTES // 4 // max(1, len(found)))
    return [
        gap if len(gap.message) <= most else gap.model_copy(update={"message": gap.message[:most]})
        for gap in found.values()
    ]


def announce(
    state: RunState,
    content: Brief,
    subtask: SubtaskState,
    *,
    number: int,
    window_s: float,
    deadline_ms: int,
) -> Announce:
    """The offer of a subtask."""
    inputs = brief(state, content, subtask)
    return Announce(
        subtask=subtask.skeleton.id,
        round=number,
        capability=subtask.skeleton.capability,
        input_bytes=sum(named.ref.size for named in inputs),
        input_count=len(inputs),
        inputs=[named.ref.sha256[:8] for named in inputs[:_DIGESTS_MAX]],
        window_ms=int(window_s * 1000),
        deadline_ms=deadline_ms,
    )


def award(
    state: RunState, content: Brief, subtask: SubtaskState, attempt: AttemptState, *, confirm: bool
) -> Award:
    """The award of an attempt that holds."""
    return Award(
        subtask=subtask.skeleton.id,
        round=attempt.round,
        attempt=attempt.number,
        epoch=attempt.epoch,
        capability=subtask.skeleton.capability,
        agent=attempt.agent,
        params=content.of(subtask.skeleton.id).params,
        output_schema=content.of(subtask.skeleton.id).output_schema,
        inputs=brief(state, content, subtask),
        missing=missing(state, content, subtask),
        lease_ms=attempt.lease_ms,
        deadline_ms=attempt.deadline_ms,
        confirm=confirm,
        caps=attempt.reserved,
        partial=unfinished(subtask, attempt),
    )


def unfinished(subtask: SubtaskState, attempt: AttemptState) -> list[NamedRef]:
    """What the attempts before `attempt` left of their work: of each name the newest, the newest attempts first."""
    found: dict[str, NamedRef] = {}
    for earlier in reversed(subtask.attempts[subtask.past_attempts : attempt.number - 1]):
        for named in earlier.partial:
            found.setdefault(named.name, named)
    return list(found.values())[:PARTIAL_MAX]


def award_files(state: RunState, subtask: SubtaskState, content: Brief) -> int:
    """How many files an award would name, counted without making it."""
    needs = subtask.skeleton.needs
    outputs = sum(len(state.subtasks[need].outputs) for need in needs)
    gaps = sum(1 for need in needs if not state.subtasks[need].outputs) + len(state.skipped)
    return outputs + len(content.of(subtask.skeleton.id).inputs) + (gaps if subtask.skeleton.tolerant else 0)


def named_bytes(files: Iterable[NamedRef]) -> int:
    """What files take in a message, at most."""
    return sum(_REF_BYTES + len(named.name.encode()) + len(named.media_type.encode()) for named in files)


def award_bytes(state: RunState, subtask: SubtaskState, content: Brief) -> int:
    """What an award would take in a message, at most."""
    gaps = sum(
        150 + len(gap.name.encode()) + len(gap.message.encode()) for gap in missing(state, content, subtask)
    )
    known = content.of(subtask.skeleton.id)
    free = len(json.dumps([known.params, known.output_schema]))
    return named_bytes(brief(state, content, subtask)) + gaps + free


def award_values(item: Award) -> int:
    """About how many values an award is, so that not too many go into one message."""
    free = values(item.params) + values(item.output_schema)
    return 16 + 8 * (len(item.inputs) + len(item.partial)) + 4 * len(item.missing) + free


def values(value: object) -> int:
    """How many msgpack values a free-form value is."""
    if isinstance(value, dict):
        return 1 + sum(values(inner) for inner in value.values())
    if isinstance(value, list):
        return 1 + sum(values(inner) for inner in value)
    return 1
