"""What a run spent and may spend, as people and programs see it: a part of `zwerm.run/1`. Pure.

Everything follows from the folded state, so a run that ended long ago shows the same. Kinds that are not bounded and of which nothing was used are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from protocol.messages import Usage
from protocol.records import BudgetNoted

from .budget import KINDS, NO_BOUND, Account, Ledger, replay, shares
from .budget_text import amount_text, span_text
from .state import RunState

__all__ = ["budget_lines", "budget_view", "note_text", "usage_view"]

Namer = Callable[[str], str]
_TITLES: Final = {"bytes_out": "bytes", "children": "runs below"}


def usage_view(used: Usage | None) -> dict[str, int]:
    """Amounts by kind, without those that are nothing or unbounded."""
    if used is None:
        return {}
    return {kind: amount for kind in KINDS if 0 < (amount := getattr(used, kind)) < NO_BOUND}


def budget_view(state: RunState, name: Namer) -> dict[str, Any]:
    """Limits, what is spent and what is set aside; the same for each agent that worked on it."""
    ledger = Ledger()
    replay(ledger, state)
    budget = state.budget
    by: list[dict[str, Any]] = [
        {
            "node": scope[2],
            "node_name": name(scope[2]),
            "agent": scope[3],
            "spent": _plain(account, "spent"),
            "reserved": _plain(account, "reserved"),
        }
        for scope, account in shares(ledger, state.run, "agent")
    ]
    account = ledger.account(("run", state.run))
    return {
        "limit": budget.model_dump(exclude_none=True) if budget else {},
        "spent": _plain(account, "spent"),
        "reserved": _plain(account, "reserved"),
        "wall_ms": max(0, state.closed_ms - state.began_ms) if state.closed_ms else None,
        "by": sorted(by, key=lambda one: (one["node_name"], one["agent"])),
        "children": [
            {"run": run, "reserved": usage_view(child.reserved), "used": _ended(child.used)}
            for run, child in state.children.items()
        ],
        "notes": [
            {**note.model_dump(exclude={"k"}), "message": note_text(note)} for note in state.budget_notes
        ],
    }


def _plain(account: Account, what: str) -> dict[str, int]:
    amounts: dict[str, int] = getattr(account, what)
    return {kind: amount for kind, amount in amounts.items() if amount}


def _ended(used: Usage | None) -> dict[str, int] | None:
    return None if used is None else usage_view(used)


def note_text(note: BudgetNoted) -> str:
    """A warning, or the end of a budget, in a sentence."""
    whose = f" of {note.scope}" if note.scope else ""
    amounts = f"{amount_text(note.kind, note.used)} of {amount_text(note.kind, note.limit)}"
    kind = {"wall_ms": "time", "bytes_out": "bytes", "children": "runs below it"}.get(note.kind, note.kind)
    if note.level == "stop" and note.used < note.limit:
        return f"the budget{whose} has too little {kind} left to go on: {amounts} used"
    if note.level == "stop":
        return f"the budget{whose} has no {kind} left: {amounts} used"
    return f"{100 * note.used // max(1, note.limit)} % of the {kind}{whose} is used: {amounts}"


def budget_lines(view: dict[str, Any] | None) -> list[str]:
    """What `runs show` prints: one line a kind that is bounded or was used, then who spent how much."""
    if not view:
        return []
    limit, spent, reserved = view["limit"], view["spent"], view["reserved"]
    lines = []
    for kind in KINDS:
        if kind == "children" and not (spent.get(kind) or reserved.get(kind)):
            continue
        if not (kind in limit or spent.get(kind) or reserved.get(kind)):
            continue
        parts = [f"{amount_text(kind, spent.get(kind, 0))} spent"]
        if reserved.get(kind):
            parts.append(f"{amount_text(kind, reserved[kind])} set aside")
        if kind in limit:
            parts.append(f"at most {amount_text(kind, limit[kind])}")
        lines.append(f"{_TITLES.get(kind, kind)}   {', '.join(parts)}")
    if "wall_ms" in limit:
        took = f"{span_text(view['wall_ms'])}, " if view["wall_ms"] is not None else ""
        lines.append(f"time   {took}at most {span_text(limit['wall_ms'])}")
    if limit.keys() - {"children"}:
        lines += [
            f"  {one['agent']} on {one['node_name']}   "
            + ", ".join(amount_text(kind, amount) for kind, amount in one["spent"].items())
            for one in view["by"]
            if one["spent"]
        ]
    return lines + [note["message"] for note in view["notes"]]
