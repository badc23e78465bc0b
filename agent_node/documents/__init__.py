"""Document agents: real work on real documents, without a model, a key or a network.

`CAPABILITIES` names what can be done. Functions are imported when they are first called (`CapabilitySpec.load`), so a node that sells
this work pays for PDF reading only once there is a PDF. Pure throughout: bytes in, bytes out, no clock, no network, no randomness, and
the same input gives the same bytes on every node.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from . import schemas

if TYPE_CHECKING:
    from .files import Capability

__all__ = ["CAPABILITIES", "CapabilitySpec", "OutputSpec"]

_TEXTS = ("text/plain", "text/markdown", "text/html", "text/csv")
_DOCUMENTS = (
    *_TEXTS,
    "application/pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
)
_JSON = ("application/json",)


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A file that a capability makes: `schema` is what its JSON must satisfy, None for files that are no JSON."""

    name: str
    media_type: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CapabilitySpec:
    """What a capability is called, does, takes and makes.

    `function` is `module:name`. `inputs` are media types; `reduce` is True when it takes any number of files rather than exactly one.
    """

    name: str
    description: str
    function: str
    inputs: tuple[str, ...]
    params: Mapping[str, Any]
    outputs: tuple[OutputSpec, ...] = field(default=())
    reduce: bool = False

    def load(self) -> Capability:
        """The function itself, imported now."""
        module, _, name = self.function.partition(":")
        return cast("Capability", getattr(importlib.import_module(module), name))


def _spec(
    name: str,
    description: str,
    function: str,
    inputs: tuple[str, ...],
    *outputs: OutputSpec,
    reduce: bool = False,
) -> CapabilitySpec:
    return CapabilitySpec(
        name, description, f"{__name__}.{function}", inputs, schemas.PARAMS[name], outputs, reduce
    )


_TABLE_CSV = OutputSpec("table.csv", "text/csv")
_TABLE_JSON = OutputSpec("table.json", "application/json", schemas.TABLE)

CAPABILITIES: dict[str, CapabilitySpec] = {
    spec.name: spec
    for spec in (
        _spec(
            "doc.read",
            "Read the text of a txt, md, html, csv, pdf or docx file, with line, page or paragraph numbers",
            "read:doc_read",
            _DOCUMENTS,
            OutputSpec("text.json", "application/json", schemas.TEXT),
        ),
        _spec(
            "text.extract",
            "Find dates, amounts of money, e-mail addresses and links in a text, each with its place",
            "extract:text_extract",
            _JSON,
            OutputSpec("rows.json", "application/json", schemas.ROWS),
        ),
        _spec(
            "text.keywords",
            "Name the phrases that a text is about",
            "keywords:text_keywords",
            _JSON,
            OutputSpec("keywords.json", "application/json", schemas.KEYWORDS),
        ),
        _spec(
            "text.summarize",
            "Choose the sentences that say most of what a text says, cited, from all of it",
            "summarize:text_summarize",
            _JSON,
            OutputSpec("summary.json", "application/json", schemas.SUMMARY),
        ),
        _spec(
            "table.assemble",
            "Put what was found in many documents into one table, as CSV and JSON",
            "tables:table_assemble",
            _JSON,
            _TABLE_CSV,
            _TABLE_JSON,
            reduce=True,
        ),
        _spec(
            "table.convert",
            "Turn the tables of a csv, md, html, docx, txt or pdf document into CSV",
            "convert:table_convert",
            (*_DOCUMENTS, *_JSON),
            _TABLE_CSV,
        ),
        _spec(
            "report.assemble",
            "Write one Markdown report with citations from what was found in many documents",
            "report:report_assemble",
            _JSON,
            OutputSpec("report.md", "text/markdown"),
            reduce=True,
        ),
    )
}
"""The built-in document capabilities by name."""
