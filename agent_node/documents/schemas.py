"""JSON Schemas (draft 2020-12) of what goes into and comes out of each capability: they are what acceptance checks results against."""

from __future__ import annotations

from typing import Any

__all__ = ["KEYWORDS", "NOTHING", "PARAMS", "ROWS", "SUMMARY", "TABLE", "TEXT"]

_AT: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"enum": ["line", "page", "paragraph"]},
    "additionalProperties": {"type": "integer", "minimum": 1},
}
_STRING: dict[str, Any] = {"type": "string"}
_STRINGS: dict[str, Any] = {"type": "array", "items": _STRING}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """A closed object: every property is required unless it is in `optional`."""
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(set(properties) - set(optional)),
        "additionalProperties": False,
    }


TEXT = _object(
    {
        "schema": {"const": "zwerm.text/1"},
        "source": _STRING,
        "media_type": _STRING,
        "warnings": _STRINGS,
        "chars": _COUNT,
        "units": {
            "type": "array",
            "minItems": 1,
            "items": _object(
                {
                    "kind": {"enum": ["line", "page", "paragraph"]},
                    "n": {"type": "integer", "minimum": 1},
                    "text": {"type": "string", "maxLength": 20_000},
                    "block": _COUNT,
                    "cells": _STRINGS,
                    "table": _COUNT,
                    "links": _STRINGS,
                    "heading": {"type": "integer", "minimum": 1, "maximum": 6},
                },
                ("cells", "table", "links", "heading"),
            ),
        },
    }
)

_DATE = r"^(\d{4}-\d{2}(-\d{2})?|--\d{2}-\d{2}|\d{4}-Q[1-4])$"
_AMOUNT = r"^-?\d+\.\d{2,}$"


def _row(kind: str, value: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    base = {
        "kind": {"const": kind},
        "value": value,
        "raw": _STRING,
        "at": _AT,
        "context": _STRING,
        "doubt": _STRING,
    }
    return _object(base | more, ("doubt",))


ROWS = _object(
    {
        "schema": {"const": "zwerm.rows/1"},
        "source": _STRING,
        "media_type": _STRING,
        "kinds": {"type": "array", "items": {"enum": ["date", "amount", "email", "link"]}},
        "chars": _COUNT,
        "warnings": _STRINGS,
        "rows": {
            "type": "array",
            "items": {
                "oneOf": [
                    _row("date", {"type": "string", "pattern": _DATE}, {}),
                    _row(
                        "amount",
                        {"type": "string", "pattern": _AMOUNT},
                        {"currency": {"type": "string", "pattern": "^([A-Z]{3})?$"}, "date": _STRING},
                    ),
                    _row("email", {"type": "string", "pattern": "^[^@]+@[^@]+$"}, {}),
                    _row("link", {"type": "string", "pattern": "^(https?|ftps?)://."}, {}),
                ]
            },
        },
    }
)

SUMMARY = _object(
    {
        "schema": {"const": "zwerm.summary/1"},
        "source": _STRING,
        "media_type": _STRING,
        "language": _STRING,
        "of": _COUNT,
        "sentences": {
            "type": "array",
            "items": _object({"text": _STRING, "at": _AT, "score": {"type": "number"}}),
        },
        "warnings": _STRINGS,
    }
)

KEYWORDS = _object(
    {
        "schema": {"const": "zwerm.keywords/1"},
        "source": _STRING,
        "media_type": _STRING,
        "language": _STRING,
        "keywords": {
            "type": "array",
            "items": _object(
                {
                    "phrase": {"type": "string", "minLength": 1},
                    "score": {"type": "number", "minimum": 0, "maximum": 1},
                    "count": {"type": "integer", "minimum": 1},
                    "at": {"type": "array", "minItems": 1, "items": _AT},
                }
            ),
        },
        "warnings": _STRINGS,
    }
)

TABLE = _object(
    {
        "schema": {"const": "zwerm.table/1"},
        "columns": _STRINGS,
        "rows": {"type": "array", "items": _STRINGS},
        "group_by": {"enum": ["none", "month"]},
        "documents": _STRINGS,
        "by_month": {
            "type": "array",
            "items": _object(
                {
                    "month": {"type": "string", "pattern": r"^(\d{4}-\d{2})?$"},
                    "dates": _COUNT,
                    "amounts": _COUNT,
                    "sums": {
                        "type": "object",
                        "additionalProperties": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
                    },
                    "documents": _STRINGS,
                }
            ),
        },
    }
)

NOTHING = _object({})
"""Parameters of a capability that takes none."""

PARAMS: dict[str, dict[str, Any]] = {
    "doc.read": NOTHING,
    "text.extract": _object(
        {"kinds": {"type": "array", "minItems": 1, "items": {"enum": ["date", "amount", "email", "link"]}}},
        ("kinds",),
    ),
    "text.keywords": _object({"top": {"type": "integer", "minimum": 1, "maximum": 100}}, ("top",)),
    "text.summarize": _object(
        {"sentences": {"type": "integer", "minimum": 1, "maximum": 50}}, ("sentences",)
    ),
    "table.assemble": _object({"group_by": {"enum": ["none", "month"]}}, ("group_by",)),
    "table.convert": _object({"table": {"type": "integer", "minimum": 1}}, ("table",)),
    "report.assemble": _object(
        {
            "title": _STRING,
            "goal": _STRING,
            "skipped": {"type": "array", "items": _object({"name": _STRING, "why": _STRING})},
        },
        ("title", "goal", "skipped"),
    ),
}
"""Schema of each capability's parameters."""
