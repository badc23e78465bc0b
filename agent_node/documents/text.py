"""The text of a document with the places it came from: what `doc.read` writes and every other capability reads.

A document is a list of units. A unit is the smallest thing that can be cited: a line, a page, a table row of a Word file, a paragraph.
Units of one block (a paragraph of hard-wrapped lines, say) belong together when sentences are looked for; a table row keeps its cells.
Units are never longer than `MAX_UNIT_CHARS`: a longer line is cut at a blank and its parts carry the same number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from .errors import DocumentError
from .files import InputFile, clean_text, load_json

__all__ = [
    "MAX_TEXT_CHARS",
    "MAX_UNIT_CHARS",
    "SCHEMA",
    "Kind",
    "TextDocument",
    "Unit",
    "cut",
    "load_text",
    "place_text",
]

SCHEMA = "zwerm.text/1"

MAX_UNIT_CHARS = 20_000
"""Longest unit, in characters: bounds the work of every pattern, and no line that a person wrote comes near it."""

MAX_TEXT_CHARS = 40_000_000
"""Most text in one document, in characters."""

Kind: TypeAlias = Literal["line", "page", "paragraph"]
"""What a unit's number counts: source lines, pages of a PDF, or paragraphs (and table rows) of a Word file; each from 1."""

_PLACE = {"line": "line", "page": "p.", "paragraph": "par."}


@dataclass(frozen=True, slots=True)
class Unit:
    """One citable piece of text.

    `n` counts from 1. `block` is equal for units that form one paragraph. `cells` is set for a table row and `table` numbers its table
    from 1; `text` is then the cells joined by " | ". `links` are targets that the text does not spell out. `heading` is 1..6 or 0.
    """

    kind: Kind
    n: int
    text: str
    block: int = 0
    cells: tuple[str, ...] = ()
    table: int = 0
    links: tuple[str, ...] = ()
    heading: int = 0

    def to_json(self) -> dict[str, Any]:
        """The unit as in text.json: fields that have nothing to say are left out."""
        value: dict[str, Any] = {"kind": self.kind, "n": self.n, "text": self.text, "block": self.block}
        if self.cells:
            value["cells"] = list(self.cells)
            value["table"] = self.table
        if self.links:
            value["links"] = list(self.links)
        if self.heading:
            value["heading"] = self.heading
        return value

    @property
    def at(self) -> dict[str, int]:
        """The place as in rows.json, for example `{"line": 14}`."""
        return {self.kind: self.n}


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A read document: where it came from, its units in reading order, and what the reader wants the person to know."""

    source: str
    media_type: str
    units: tuple[Unit, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def chars(self) -> int:
        """Number of characters in all units."""
        return sum(len(unit.text) for unit in self.units)

    def to_json(self) -> dict[str, Any]:
        """The document as text.json holds it."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "media_type": self.media_type,
            "units": [unit.to_json() for unit in self.units],
            "warnings": list(self.warnings),
            "chars": self.chars,
        }

    def blocks(self) -> Iterator[list[Unit]]:
        """The units of each block, in reading order."""
        block: list[Unit] = []
        for unit in self.units:
            if block and unit.block != block[-1].block:
                yield block
                block = []
            block.append(unit)
        if block:
            yield block


def cut(text: str, limit: int = MAX_UNIT_CHARS) -> list[str]:
    """`text` in parts of at most `limit` characters, cut at a blank where there is one in a part's second half."""
    parts = []
    start = 0
    while len(text) - start > limit:
        end = text.rfind(" ", start + limit // 2, start + limit)
        end = start + limit if end < 0 else end + 1
        parts.append(text[start:end])
        start = end
    parts.append(text[start:])
    return parts


def place_text(at: dict[str, int]) -> str:
    """A place for people: `line 14`, `p. 3`, `par. 7`."""
    return ", ".join(f"{_PLACE.get(kind, kind)} {n}" for kind, n in sorted(at.items()))


def _unit(value: Any) -> Unit:
    kind = value["kind"]
    if kind not in _PLACE:
        raise ValueError(kind)
    n, text, block = value["n"], value["text"], value.get("block", 0)
    cells, links = value.get("cells", ()), value.get("links", ())
    table, heading = value.get("table", 0), value.get("heading", 0)
    if any(type(number) is not int or number < 0 for number in (n, block, table, heading)):
        raise ValueError("a number of a unit")
    if not isinstance(text, str) or not all(isinstance(item, str) for item in (*cells, *links)):
        raise TypeError("a text of a unit")
    return Unit(
        cast("Kind", kind),
        n,
        clean_text(text),
        block,
        tuple(map(clean_text, cells)),
        table,
        tuple(map(clean_text, links)),
        heading,
    )


def load_text(file: InputFile) -> TextDocument:
    """The document in a text.json.

    Raises:
        DocumentError: `E_INPUT` when the file is not such a JSON; the errors of `read_bytes`.
    """
    value = load_json(file, (SCHEMA,))
    try:
        units: Sequence[Unit] = [part for raw in value["units"] for part in _bounded(_unit(raw))]
        source, media_type = str(value["source"]), str(value["media_type"])
        warnings = tuple(str(warning) for warning in value.get("warnings", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DocumentError(
            "E_INPUT",
            f"{file.name} says that it is {SCHEMA} but a part of it is missing or wrong ({type(error).__name__}: {error}).",
            "Make it again with doc.read.",
        ) from None
    return TextDocument(clean_text(source), media_type, tuple(units), warnings)


def _bounded(unit: Unit) -> Iterator[Unit]:
    """The unit, or its parts when somebody else's reader made it too long for the patterns."""
    if len(unit.text) <= MAX_UNIT_CHARS:
        yield unit
        return
    for part in cut(unit.text):
        yield Unit(unit.kind, unit.n, part, unit.block, (), 0, unit.links, unit.heading)
