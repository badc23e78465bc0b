"""What the outputs of the built-in document capabilities must look like before they count (JSON Schema, draft 2020-12).

The seller's own schemas are stricter; these hold what the next subtask in a plan relies on, and leave room for fields that a newer seller adds. They
are kept flat, because they are checked for every result: a long document has thousands of units. Counterpart: `planner_rules` puts them
into plans, `acceptance` checks them.
"""

from __future__ import annotations

from typing import Final

from protocol.messages.base import JsonObject

__all__ = ["KEYWORDS", "OUTPUTS", "ROWS", "SUMMARY", "TABLE", "TEXT"]

_STRING: Final[JsonObject] = {"type": "string"}


def _document(schema: str, items: str, required: list[str]) -> JsonObject:
    """An object that says what it is and where it is from, with one list of things that have certain fields."""
    return {
        "type": "object",
        "required": ["schema", "source", items],
        "properties": {
            "schema": {"const": schema},
            "source": _STRING,
            items: {"type": "array", "items": {"type": "object", "required": list(required)}},
        },
    }


TEXT: Final = _document("zwerm.text/1", "units", ["kind", "n", "text"])
ROWS: Final = _document("zwerm.rows/1", "rows", ["kind", "value", "raw", "at", "context"])
SUMMARY: Final = _document("zwerm.summary/1", "sentences", ["text", "at"])
KEYWORDS: Final = _document("zwerm.keywords/1", "keywords", ["phrase", "score", "at"])
TABLE: Final[JsonObject] = {
    "type": "object",
    "required": ["schema", "columns", "rows"],
    "properties": {
        "schema": {"const": "zwerm.table/1"},
        "columns": {"type": "array", "items": _STRING},
        "rows": {"type": "array", "items": {"type": "array"}},
    },
}

OUTPUTS: Final[dict[str, JsonObject]] = {
    "doc.read": TEXT,
    "text.extract": ROWS,
    "text.summarize": SUMMARY,
    "text.keywords": KEYWORDS,
}
"""Capability -> schema of its first output, for those whose first output is JSON."""
