"""How a subtask is given up, and how a run ends: codes, sentences and next steps, from the folded state.

    done      everything that was to be delivered is there and nothing failed
    partial   something is delivered, and at least one subtask failed or was cancelled
    failed    nothing can be delivered
    unbid     nothing can be delivered, because nobody could be found for the work
    cancelled somebody asked for it

Pure: state in, record out. Counterpart: `engine` decides when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from protocol.messages import NamedRef
from protocol.records import RunClosed, SubtaskFailed, Unbid

from .market import Market
from .offers import named_bytes
from .state import AttemptState, RunState, SubtaskState

__all__ = [
    "BLAMELESS",
    "POISON_NODES",
    "POISON_TRIES",
    "close",
    "doomed",
    "give_up",
    "nobody",
    "unbid_message",
]

BLAMELESS: Final = frozenset(
    {
        "E_NODE_GONE",
        "E_RESTARTED",
        "E_LEASE",
        "E_NOT_TAKEN",
        "E_DRAINING",
        "E_SHUTDOWN",
        "E_CANCELLED",
        "E_HALTED",
        "E_DISK",
        "E_DISK_FULL",
    }
)
"""Ends of attempts that say more about a device than about the work."""
_POLITE: Final = frozenset({"E_DRAINING", "E_SHUTDOWN", "E_CANCELLED", "E_NOT_TAKEN"})
"""Those in which a device said that it stops, or had not even begun: they say nothing about the work at all."""
POISON_TRIES: Final = 3
POISON_NODES: Final = 2
"""Work that came to nothing so often, on so many devices, is kept from the others: it may be what brings them down."""
_EXTRA: Final = 5
"""How many attempts beyond its tries a subtask may have, whatever ended them and wherever."""

_FILES_MAX: Final = 1_000
"""Files that a run delivers: they are named in its last record, which is in one message."""
_NAMES_BYTES_MAX: Final = 450_000


def give_up(
    subtask: SubtaskState, name: Callable[[str], str], at_ms: int, *, others: bool
) -> SubtaskFailed | None:
    """The end of a subtask whose last attempt came to nothing, or None when it is to be tried again.

    `others`: whether anybody offers it on whose device it has not come to nothing yet.
    """
    tries = subtask.skeleton.tries
    ended = [
        attempt
        for attempt in subtask.tried
        if attempt.status in ("failed", "rejected") and attempt.code != "E_HALTED"
    ]
    if not ended:
        return None
    # Of two attempts at once the earlier may end last.
    last = max(ended, key=lambda attempt: (not attempt.retryable, attempt.ended_ms, attempt.number))
    blamed = sum(1 for attempt in ended if attempt.code not in BLAMELESS)
    if last.retryable and blamed < tries:
        bad = [attempt for attempt in ended if attempt.code not in _POLITE]
        nodes = {attempt.node for attempt in bad}
        enough = len(bad) >= max(POISON_TRIES, tries) and (len(nodes) >= POISON_NODES or not others)
        if not enough and len(ended) < tries + _EXTRA:
            return None
        return _quarantine(subtask, bad or ended, name, at_ms)
    message = last.message
    if last.retryable and len(ended) > 1:
        message = f"tried {len(ended)} times, last on {name(last.node)}: {message or last.code}"
    return SubtaskFailed(at_ms=at_ms, subtask=subtask.skeleton.id, code=last.code, message=message[:2000])


def _quarantine(
    subtask: SubtaskState, ended: list[AttemptState], name: Callable[[str], str], at_ms: int
) -> SubtaskFailed:
    """The end of a subtask that brings devices down, or looks like it."""
    nodes = len({attempt.node for attempt in ended})
    where = "1 node" if nodes == 1 else f"{nodes} nodes"
    reasons = "; ".join(
        f"{name(attempt.node)}: {attempt.code} {attempt.message[:160]}".rstrip() for attempt in ended
    )
    message = f"set aside, since it came to nothing {len(ended)} times on {where}: {reasons}"
    return SubtaskFailed(at_ms=at_ms, subtask=subtask.skeleton.id, code="E_POISON", message=message[:2000])


def doomed(name: str, root: SubtaskState, at_ms: int) -> SubtaskFailed:
    """The end of a subtask that needs one that will never be done."""
    cause = root.skeleton.id
    how = "was cancelled" if root.status == "cancelled" else "failed"
    return SubtaskFailed(
        at_ms=at_ms,
        subtask=name,
        code=root.code or "E_NEED",
        message=f"it needs {cause}, which {how}: {root.message}".rstrip(": ")[:2000],
        cause=cause,
    )


def nobody(subtask: SubtaskState, market: Market, at_ms: int) -> SubtaskFailed:
    """The end of a subtask that nobody would do."""
    return SubtaskFailed(
        at_ms=at_ms,
        subtask=subtask.skeleton.id,
        code="E_UNBID",
        message=unbid_message(subtask.skeleton.capability, subtask.unbid, market)[:2000],
    )


def unbid_message(capability: str, unbid: Unbid | None, market: Market) -> str:
    """Who was asked, and why not."""
    if unbid is None or unbid.asked == 0:
        here = sorted(seller.info.name for seller in market.sellers.values() if seller.info.slots)
        offered = sorted({name for seller in market.sellers.values() for name in seller.info.slots})
        if not here:
            return f"no node offers {capability}: no node with agents is here"
        shown = ", ".join(offered[:20]) + (" ..." if len(offered) > 20 else "")
        return f"no node offers {capability}; here are {', '.join(here[:10])}, which offer {shown}"
    said = [f"{market.name(note.node)}: {note.detail or note.code}" for note in unbid.declines[:8]]
    count = f"{unbid.asked} node was" if unbid.asked == 1 else f"{unbid.asked} nodes were"
    why = "; ".join(said) if said else "none of them answered"
    return f"{count} asked to do {capability} and none will ({why})"


def close(state: RunState, deliver: list[tuple[str, str]], at_ms: int) -> RunClosed:
    """The end of a run whose subtasks have all ended; `deliver` lists (subtask, output name or "")."""
    if state.status == "cancelling":
        why = f": {state.cancel_reason}" if state.cancel_reason else ""
        return RunClosed(
            at_ms=at_ms, outcome="cancelled", code="E_CANCELLED", message=f"the run was cancelled{why}"
        )
    if not state.planned:
        return RunClosed(
            at_ms=at_ms,
            outcome="failed",
            code="E_INCOMPLETE",
            message="the coordinator stopped before the plan was written down",
            hint="Submit the goal again.",
        )
    files, gaps = _files(state, deliver)
    failed = [subtask for subtask in state.subtasks.values() if subtask.status in ("failed", "cancelled")]
    roots = [subtask for subtask in failed if not subtask.cause]
    kept = _fitting(files)
    if len(kept) < len(files):
        return RunClosed(
            at_ms=at_ms,
            outcome="partial",
            code="E_TOO_LARGE",
            message=f"{len(kept):,} of {len(files):,} files are delivered: more, or longer names, do not fit into the record of a run",
            hint="Let a subtask put its results into fewer files, with shorter names, and deliver those.",
            deliverables=kept,
        )
    if files and not failed:
        return RunClosed(at_ms=at_ms, outcome="done", message=_done(state, files), deliverables=files)
    if not failed:
        return RunClosed(
            at_ms=at_ms,
            outcome="done",
            message="all work is done; it made no files to deliver"
            + (f" ({', '.join(gaps)} was expected)" if gaps else ""),
        )
    code, message = _worst(roots or failed)
    if files:
        return RunClosed(
            at_ms=at_ms,
            outcome="partial",
            code=code,
            message=f"delivered without {len(roots)} of {len(state.subtasks)} subtasks: {message}"[:2000],
            hint=_hint(state, code),
            deliverables=files,
        )
    if all(subtask.status == "cancelled" for subtask in roots):
        return RunClosed(
            at_ms=at_ms,
            outcome="cancelled",
            code="E_CANCELLED",
            message=f"nothing is left to deliver: {message}"[:2000],
        )
    if all(subtask.code == "E_UNBID" for subtask in roots):
        return RunClosed(
            at_ms=at_ms,
            outcome="unbid",
            code="E_UNBID",
            message=message,
            hint="Start or invite a node that offers it: `zwerm nodes` shows who is here, `zwerm invite` adds one.",
        )
    return RunClosed(
        at_ms=at_ms,
        outcome="failed",
        code=code,
        message=message,
        hint=_hint(state, code),
    )


def _hint(state: RunState, code: str) -> str:
    show = f"`zwerm runs show {state.run[-6:]}` has the reasons."
    bounded = state.budget is not None and state.budget.wall_ms is not None
    if code != "E_BUDGET" and not (code == "E_DEADLINE" and bounded):
        return show
    return f"Allow more, for example `zwerm run --budget money=5,tokens=2M,time=2h`; {show}"


def _done(state: RunState, files: list[NamedRef]) -> str:
    skipped = len(state.skipped)
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return f"{count} delivered" + (f"; {skipped} of the inputs could not be read" if skipped else "")


def _files(state: RunState, deliver: list[tuple[str, str]]) -> tuple[list[NamedRef], list[str]]:
    """The files to deliver, and what was asked for and is not there. Names that several have are told apart by their subtasks."""
    found: list[tuple[str, NamedRef]] = []
    gaps: list[str] = []
    for subtask, wanted in deliver:
        outputs = [
            output for output in state.subtasks[subtask].outputs if not wanted or output.name == wanted
        ]
        if not outputs:
            gaps.append(wanted or subtask)
        found += [(subtask, output) for output in outputs]
    times = Counter(output.name for _, output in found)
    files = [
        output
        if times[output.name] == 1
        else output.model_copy(update={"name": f"{subtask}.{output.name}"[-255:]})
        for subtask, output in found
    ]
    return files, gaps


def _fitting(files: list[NamedRef]) -> list[NamedRef]:
    """As many of the files, from the first, as one record can name."""
    size = 0
    for count, named in enumerate(files):
        size += named_bytes([named])
        if count >= _FILES_MAX or size > _NAMES_BYTES_MAX:
            return files[:count]
    return files


def _worst(failed: list[SubtaskState]) -> tuple[str, str]:
    """The code and a sentence for several failures: the first, and how many more."""
    first = failed[0]
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    message = first.message or _last(first.attempts)
    if first.status == "cancelled":
        message = f"cancelled: {first.cancel_reason}" if first.cancel_reason else "cancelled"
    return first.code, f"{first.skeleton.id}: {message or first.code}{more}"[:2000]


def _last(attempts: list[AttemptState]) -> str:
    return attempts[-1].message if attempts else ""
