"""The tables of protocol/SPEC.md as data: what a second implementation would have, read from the page and not from the code.

A value of the tables becomes a `Value`: `strategy()` makes what the page allows, ends of ranges included; `wrong()` lists what it refuses.
Tests hold both against the models. Nothing here imports a model.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

__all__ = ["ABSENT", "Field", "Value", "items", "section", "table", "types", "value"]

SPEC = Path(__file__).parents[2] / "protocol" / "SPEC.md"
ABSENT = object()
"""The default of a field that is required."""


@functools.cache
def section(title: str) -> str:
    """The text of one section, up to the next of its level or above."""
    level = title.split(" ", maxsplit=1)[0]
    after = SPEC.read_text().split(f"\n{title}\n")[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", after)[0]


@functools.cache
def table(title: str, head: str) -> list[list[str]]:
    """The rows of the one table in a section whose first column is called `head`."""
    lines = section(title).splitlines()
    [start] = [at for at, line in enumerate(lines) if line.startswith(f"| {head} |")]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def number(text: str) -> int:
    """`1,000`, `2^20`."""
    base, _, power = text.replace(",", "").partition("^")
    return int(base) ** int(power or 1)


@functools.cache
def types() -> list[dict[str, Any]]:
    """The table of types."""
    return [
        {
            "code": int(code, 16),
            "name": name,
            "roles": frozenset(roles.split(", ")),
            "kinds": frozenset(kinds.split(", ")),
            "bytes": number(size),
            "values": number(values),
        }
        for code, name, roles, kinds, size, values in table("### Types", "code")
    ]


@functools.cache
def words() -> dict[str, str]:
    """The words that stand for values."""
    return {row[0]: row[1] for row in table("### Fields", "word")}


@dataclass(frozen=True)
class Value:
    """One way to say what a field holds."""

    kind: str
    low: int = 0
    high: int | None = None
    of: Value | None = None
    pattern: str = ""
    choices: tuple[str, ...] = ()
    item: str = ""
    optional: bool = False

    def strategy(self) -> st.SearchStrategy[Any]:
        """Whatever the page allows."""
        made = self._strategy()
        return st.none() | made if self.optional else made

    def _strategy(self) -> st.SearchStrategy[Any]:
        match self.kind:
            case "int":
                low, high = (-(2**63), 2**63 - 1) if self.high is None else (self.low, self.high)
                return st.sampled_from([low, high]) | st.integers(low, high)
            case "float":
                if self.high is None:
                    return st.floats(allow_nan=False, allow_infinity=False)
                return st.sampled_from([0, 1]) | st.floats(self.low, self.high)
            case "bool":
                return st.booleans()
            case "bin":
                most = self.low + 40
                return st.binary(
                    min_size=self.low, max_size=most if self.high is None else min(self.high, most)
                )
            case "str":
                return st.text(min_size=self.low, max_size=min(self.high or 0, self.low + 12))
            case "pattern":
                found = st.from_regex(self.pattern, fullmatch=True)
                return found.filter(lambda text: self.high is None or len(text) <= self.high)
            case "choice":
                return st.sampled_from(self.choices)
            case "object":
                return free_objects
            case "map":
                assert self.of is not None
                return st.dictionaries(st.text(max_size=6), self.of.strategy(), max_size=3)
            case "list":
                assert self.of is not None
                return st.lists(self.of.strategy(), min_size=self.low, max_size=self.low + 2)
            case "item":
                return item_strategy(self.item)
        raise AssertionError(self.kind)

    def wrong(self) -> list[Any]:
        """What the page refuses: another type, and the first values beyond each end."""
        others: list[Any] = [b"\x00" * 9, "\x00", 7, 0.5, True, ["x"], {"\x00": 0}]
        taken: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (int, float),
            "bool": (bool,),
            "bin": (bytes,),
            "list": (list,),
            "map": (dict,),
            "object": (dict,),
            "item": (dict,),
        }
        mine = taken.get(self.kind, (str,))
        found = [other for other in others if type(other) not in mine]
        if not self.optional:
            found.append(None)
        match self.kind:
            case "int":
                found += [] if self.high is None else [self.low - 1, self.high + 1]
            case "float":
                found += [] if self.high is None else [-0.001, math.nextafter(1.0, 2.0), 2, -1]
            case "bin":
                found += [] if self.high is None else [bytes(self.high + 1)]
                found += [bytes(self.low - 1)] if self.low else []
            case "str":
                found += ["x" * ((self.high or 0) + 1), *(["x" * (self.low - 1)] if self.low else [])]
            case "pattern":
                longest = (self.high or 64) + 1
                found += ["", "x" * 200, "é", "a\n", "a b", "a" * longest if self.high else "\n"]
            case "choice":
                found += ["", self.choices[0].upper(), self.choices[0] + "\n"]
            case "object":
                found += [{"a": b"no bytes"}, {"a": [{"b": b""}]}]
            case "map":
                assert self.of is not None
                assert self.high is not None
                found += [{"a": wrong} for wrong in self.of.wrong()]
                found.append({str(at): b"" for at in range(self.high + 1)})
            case "list":
                assert self.of is not None
                found += [[wrong] for wrong in self.of.wrong()]
                found += [[]] if self.low else []
            case "item":
                found += [{"more": 1}, *([{}] if any(one.required for one in all_items()[self.item]) else [])]
        return found


@dataclass(frozen=True)
class Field:
    """A field of an item."""

    name: str
    value: Value
    default: Any = field(default=ABSENT)

    @property
    def required(self) -> bool:
        """Whether it may not be left out."""
        return self.default is ABSENT


def value(text: str) -> Value:
    """Read what a field holds."""
    if text.endswith(" or nil"):
        return Value(**{**vars(value(text.removesuffix(" or nil"))), "optional": True})
    if text in words():
        meaning = words()[text]
        found = re.fullmatch(r"`(.+)`(?: up to (\d+))?", meaning)
        if found is None:
            return value(meaning)
        return Value("pattern", pattern=found[1], high=int(found[2]) if found[2] else None)
    if text.startswith("one of "):
        return Value("choice", choices=tuple(text.removeprefix("one of ").split(", ")))
    if text in ("bool", "object"):
        return Value(text)
    if text in ("int", "float", "bin"):
        return Value(text)
    found = re.fullmatch(r"(list|map|int|float|str|bin) ([\d,^]+)(?:\.\.([\d,^]+))?(?: of (.+))?", text)
    if found is not None:
        low = number(found[2])
        of = value(found[4]) if found[4] else None
        return Value(found[1], low, number(found[3]) if found[3] else low, of)
    return Value("item", item=text)


def default_of(text: str, what: Value) -> Any:
    """Read the default of a field."""
    fixed: dict[str, Any] = {
        "nil": None, "no bytes": b"", '""': "", "[]": [], "{}": {}, "[1]": [1], "true": True, "false": False,
    }  # fmt: skip
    if text in fixed:
        return fixed[text]
    return number(text) if what.kind in ("int", "float") else text


@functools.cache
def items(title: str, head: str = "item") -> dict[str, tuple[Field, ...]]:
    """The fields of every item of a table."""
    found: dict[str, tuple[Field, ...]] = {}
    for name, fields, *_ in table(title, head):
        made: list[Field] = []
        for part in fields.split("; ") if fields != "none" else []:
            key, _, rest = part.partition(": ")
            kind, equals, default = rest.partition(" = ")
            what = value(kind)
            made.append(Field(key, what, default_of(default, what) if equals else ABSENT))
        found[name] = tuple(made)
    return found


@functools.cache
def all_items() -> dict[str, tuple[Field, ...]]:
    """Every item of the page by its name."""
    return {
        **items("### Fields"),
        **items("## Plan"),
        **items("## Records", "record"),
        **items("## Revocations"),
        **items("## Halts"),
        **items("## Approvals"),
    }


free = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
free_objects = st.dictionaries(st.text(max_size=6), free, max_size=3)


@functools.cache
def item_strategy(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Maps that are this item; fields with a default are there or not."""
    fields = all_items()[name]
    return st.fixed_dictionaries(
        {one.name: one.value.strategy() for one in fields if one.required},
        optional={one.name: one.value.strategy() for one in fields if not one.required},
    )


@functools.cache
def example(name: str) -> dict[str, Any]:
    """One item with all of its fields, the same each time."""
    return {one.name: smallest(one.value) for one in all_items()[name]}


def smallest(what: Value) -> Any:
    """One value, the same each time."""
    match what.kind:
        case "int":
            return what.low
        case "float":
            return 0.5
        case "bool":
            return True
        case "bin":
            return bytes(what.low)
        case "str":
            return "n" * what.low
        case "choice":
            return what.choices[0]
        case "object" | "map":
            return {}
        case "list":
            assert what.of is not None
            return [smallest(what.of)] if what.of.kind != "item" or what.low else []
        case "item":
            return dict(example(what.item))
    return {
        "[EW]_[A-Z0-9_]{1,40}": "E_CODE",
        "U[A-Z2-7]{55}": "U" + "A" * 55,
        "[a-z2-7]{26}": "a" * 26,
        "[a-z2-7]{4,26}": "a" * 6,
        "[0-9a-f]{32}": "0" * 32,
        "[0-9a-f]{16}": "0" * 16,
    }.get(what.pattern, "a")
