"""Budgets in words: what a person writes (`money=5,tokens=2M,time=2h`) and what a person reads.

    money     credits, with decimals; one credit is 1,000,000 micro-credits        tokens, steps, children   whole numbers, with k, M or G
    time      2h, 90m, 1h30m, 45s, 3d; at most ten days                            bytes                     100MB, 64MiB, or a plain number

Rules. Zero, less than zero, what is no number and what no field can hold are refused with the place and what is allowed: a bound that is misread is none.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from protocol.errors import ZwermError
from protocol.messages import Budget

from .budget import NO_BOUND, Scope, Short

__all__ = [
    "BudgetInvalid",
    "amount_text",
    "budget_text",
    "merge",
    "parse",
    "parse_mapping",
    "parts_of",
    "scope_text",
    "short_text",
    "span_text",
]

_MICRO: Final = 1_000_000
_WALL_MAX_MS: Final = 10 * 24 * 3600 * 1000
_FIELDS: Final = {
    "money": "money",
    "tokens": "tokens",
    "steps": "steps",
    "time": "wall_ms",
    "bytes": "bytes_out",
    "children": "children",
}
"""What people call a kind -> the field."""
_NAMES: Final = {field: name for name, field in _FIELDS.items()}
_COUNT: Final = re.compile(r"(\d{1,30}(?:\.\d{1,9})?)([kKMGT]?)")
_BYTES: Final = re.compile(r"(\d{1,30}(?:\.\d{1,9})?)\s*([kKMGT]?)(i?)B?")
_SPAN: Final = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?:in)?)?(?:(\d{1,9}(?:\.\d{1,3})?)s)?"
)
_TIMES: Final = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_HINT: Final = "For example: --budget money=5,tokens=2M,steps=1000,time=2h,bytes=100MB,children=10. What is not named is not bounded."


class BudgetInvalid(ZwermError):
    """A budget that cannot be: says which part, and what is allowed."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__("E_BUDGET_VALUE", message, hint)


def parse(text: str) -> Budget:
    """A budget as it is written on a command line.

    Raises:
        BudgetInvalid: it is not one.
    """
    return parse_mapping(parts_of(text))


def parts_of(text: str) -> dict[str, str]:
    """The kinds and amounts of a budget on one line, not yet read.

    Raises:
        BudgetInvalid: it has another form.
    """
    parts: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or not name.strip() or not value.strip():
            raise BudgetInvalid(f"{part.strip()[:60]!r} is not KIND=AMOUNT")
        if name.strip() in parts:
            raise BudgetInvalid(f"{name.strip()[:60]} is there twice")
        parts[name.strip()] = value.strip()
    return parts


def parse_mapping(parts: Mapping[str, Any], where: str = "") -> Budget:
    """A budget as it is written in a file: `{money: 5, tokens: 2M, time: 2h}`.

    Raises:
        BudgetInvalid: it is not one; `where` is put before what is wrong.
    """
    found: dict[str, int] = {}
    for name, value in parts.items():
        place = f"{where}{', ' if where else ''}budget, {str(name)[:60]}"
        field = _FIELDS.get(name)
        if field is None:
            raise BudgetInvalid(f"{place}: no such kind; known: {', '.join(_FIELDS)}")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise BudgetInvalid(f"{place}: {str(value)[:60]!r} is no amount")
        amount = _READ[field](str(value).strip(), place)
        most = _WALL_MAX_MS if field == "wall_ms" else NO_BOUND - 1
        if amount <= 0:
            raise BudgetInvalid(
                f"{place}: {str(value)[:60]} is not above zero",
                "Leave the kind out to leave it unbounded; a run that may use nothing cannot begin.",
            )
        if amount > most:
            raise BudgetInvalid(
                f"{place}: {str(value)[:60]} is more than the most, {amount_text(field, most)}"
            )
        found[field] = amount
    if not found:
        raise BudgetInvalid(f"{where}{', ' if where else ''}budget: it bounds nothing")
    return Budget(**found)


def _decimal(text: str, place: str, what: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BudgetInvalid(f"{place}: {text[:60]!r} is not {what}") from None
    if not value.is_finite():
        raise BudgetInvalid(f"{place}: {text[:60]!r} is not a finite number")
    return value


def _money(text: str, place: str) -> int:
    value = _decimal(text, place, "an amount of credits, such as 5 or 0.25")
    if value > NO_BOUND:  # before it is multiplied: 1e999999 is a number, too
        return NO_BOUND
    micro = value * _MICRO
    if 0 < micro < 1:
        raise BudgetInvalid(f"{place}: {text[:60]} is less than a millionth of a credit")
    return int(micro) if micro > -1 else -1


def _count(text: str, place: str) -> int:
    found = _COUNT.fullmatch(text)
    if found is None:
        if text.startswith("-"):
            return -1
        raise BudgetInvalid(f"{place}: {text[:60]!r} is not a number, such as 1000, 50k or 2M")
    return _whole(Decimal(found[1]) * _TIMES[found[2]], text, place)


def _bytes(text: str, place: str) -> int:
    found = _BYTES.fullmatch(text)
    if found is None:
        if text.startswith("-"):
            return -1
        raise BudgetInvalid(f"{place}: {text[:60]!r} is not a size, such as 100MB or 64MiB")
    times = 1024 ** " KMGT".index(found[2].upper() or " ") if found[3] else _TIMES[found[2]]
    return _whole(Decimal(found[1]) * times, text, place)


def _whole(value: Decimal, text: str, place: str) -> int:
    if value != int(value):
        raise BudgetInvalid(f"{place}: {text[:60]} is not a whole number")
    return int(value)


def _span(text: str, place: str) -> int:
    found = _SPAN.fullmatch(text)
    if not text or found is None or not any(found.groups()):
        if text.startswith("-"):
            return -1
        raise BudgetInvalid(f"{place}: {text[:60]!r} is not a time, such as 2h, 90m, 1h30m or 45s")
    days, hours, minutes = (int(part or 0) for part in found.groups()[:3])
    seconds = Decimal(found[4] or 0)
    return int(((days * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000)


_READ: Final[dict[str, Callable[[str, str], int]]] = {
    "money": _money,
    "tokens": _count,
    "steps": _count,
    "children": _count,
    "bytes_out": _bytes,
    "wall_ms": _span,
}


def merge(asked: Budget | None, planned: Budget | None, most: Budget | None) -> Budget | None:
    """The budget of a run: what was asked for, else what its plan says, and never more than the owner of the coordinator allows.

    Raises:
        BudgetInvalid: more was asked for than is allowed.
    """
    found: dict[str, int] = {}
    for field, name in _NAMES.items():
        wanted = getattr(asked, field, None)
        if wanted is None:
            wanted = getattr(planned, field, None)
        cap = getattr(most, field, None)
        if wanted == 0:
            raise BudgetInvalid(f"budget, {name}: 0 is not above zero")
        if wanted is not None and cap is not None and wanted > cap:
            raise BudgetInvalid(
                f"budget, {name}: {amount_text(field, wanted)} is more than one run may have here, {amount_text(field, cap)}",
                "Ask for less, or raise `budget_run` in `[coordinator]` of the config.toml of the device that coordinates.",
            )
        value = cap if wanted is None else wanted
        if value is not None:
            found[field] = value
    return Budget(**found) if found else None


# --- for people ---


def amount_text(field: str, amount: int) -> str:
    """An amount with its unit."""
    if field == "money":
        return f"{Decimal(amount) / _MICRO:,.6f}".rstrip("0").rstrip(".") + " credits"
    if field == "wall_ms":
        return span_text(amount)
    if field == "bytes_out":
        return f"{amount:,} bytes"
    name = {"tokens": "token", "steps": "step", "children": "run"}[field]
    return f"{amount:,} {name}{'s' * (amount != 1)}"


def span_text(ms: int) -> str:
    """A duration."""
    seconds = ms // 1000
    if seconds < 60:
        return f"{ms / 1000:g} s"
    parts = (
        ("d", seconds // 86_400),
        ("h", seconds // 3600 % 24),
        ("m", seconds // 60 % 60),
        ("s", seconds % 60),
    )
    return " ".join(f"{count} {unit}" for unit, count in parts if count)


def budget_text(budget: Budget) -> str:
    """A whole budget in one line."""
    return ", ".join(
        amount_text(field, amount) for field in _NAMES if (amount := getattr(budget, field)) is not None
    )


def scope_text(scope: Scope, name: Callable[[str], str]) -> str:
    """Whose account it is; empty for the run's own."""
    match scope:
        case ("subtask", _, subtask):
            return f"subtask {subtask}"
        case ("node", _, node):
            return f"node {name(node)}"
        case ("agent", _, node, agent):
            return f"agent {agent} on {name(node)}"
        case ("day", day):
            return f"day {day}"
        case ("day", day, node):
            return f"node {name(node)} on {day}"
        case ("day", day, node, agent):
            return f"agent {agent} on {name(node)}, {day}"
    return ""


def short_text(short: Short, name: Callable[[str], str]) -> str:
    """Which budget is used up, how much of it was spent, and what would have been needed."""
    whose = scope_text(short.scope, name)
    owner = f"the budget of {whose}" if whose else "the run's budget"
    if short.scope[0] == "day" and len(short.scope) == len(("day", "date")):
        owner = f"the swarm's budget for {short.scope[1]}"
    kind = {"bytes_out": "bytes"}.get(short.kind, short.kind)
    spent = f"{amount_text(short.kind, short.spent)} of {amount_text(short.kind, short.limit)} spent"
    if short.wanted >= NO_BOUND:
        return f"{owner} bounds {kind}, and the price is not known"
    return f"{owner} has too little {kind} left: {spent}, and it takes at least {amount_text(short.kind, short.wanted)}"
