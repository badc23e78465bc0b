"""The capability `table.assemble`: the rows of many documents as one table, `table.csv` for people and `table.json` for programs.

The table depends on what the inputs say and on nothing else: not on their order, their file names, the time or the node. A cell that a
spreadsheet would run as a formula (it begins with = + - @ or a control character) is given a leading apostrophe; numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .errors import DocumentError
from .extract import KINDS
from .extract import SCHEMA as ROWS
from .files import CSV, InputFile, OutputFile, Progress, json_output, load_json
from .text import place_text

__all__ = [
    "COLUMNS",
    "SCHEMA",
    "by_month",
    "csv_bytes",
    "load_rows",
    "month_of",
    "safe_cell",
    "sorted_rows",
    "table_assemble",
]

SCHEMA = "zwerm.table/1"

COLUMNS = ("document", "kind", "value", "currency", "date", "place", "raw", "context")
"""Columns of table.csv; with `group_by: month` a column `month` stands before them."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
_NUMBER = re.compile(r"-?\d{1,30}(?:\.\d{1,20})?\Z")
_MONTH = re.compile(r"(\d{4}-\d{2})(?:-\d{2})?\Z")


def safe_cell(cell: str) -> str:
    """The cell as a spreadsheet may see it: a text that would be run as a formula is quoted with an apostrophe."""
    if cell.lstrip(" ").startswith(_FORMULA) and not _NUMBER.match(cell):
        return "'" + cell
    return cell


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV as RFC 4180 has it (comma, CRLF, quotation marks where needed), UTF-8, each cell made safe."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([safe_cell(cell) for cell in header])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8")


def load_rows(file: InputFile) -> dict[str, Any]:
    """A rows.json whose rows have all that is read of them; `E_INPUT` otherwise."""
    value = load_json(file, (ROWS,))
    return check_rows(file.name, value)


def check_rows(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """`value` if its rows have the fields and types of rows.json; raises `E_INPUT` otherwise."""
    rows = value.get("rows")
    good = (
        isinstance(value.get("source"), str) and isinstance(rows, list) and all(_is_row(row) for row in rows)
    )
    if not good:
        raise DocumentError(
            "E_INPUT",
            f"{name} says that it is {ROWS} but its rows are not as they should be.",
            "Make it with text.extract.",
        )
    return value


def _is_row(row: object) -> bool:
    if not isinstance(row, Mapping):
        return False
    at = row.get("at")
    texts = (
        row.get("kind"),
        row.get("value"),
        row.get("raw"),
        row.get("context"),
        row.get("currency", ""),
        row.get("date", ""),
    )
    places = isinstance(at, Mapping) and all(isinstance(key, str) and type(n) is int for key, n in at.items())
    return places and all(isinstance(text, str) for text in texts) and row["kind"] in KINDS


def sorted_rows(documents: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(document, row) of all documents: by document, place, kind and value; the very same row of the very same document only once."""
    seen: dict[str, tuple[str, dict[str, Any]]] = {}
    for document in documents:
        for row in document["rows"]:
            key = json.dumps([document["source"], row], sort_keys=True, ensure_ascii=True)
            seen[key] = (document["source"], row)
    return [pair for _, pair in sorted(seen.items(), key=lambda item: (_order(*item[1]), item[0]))]


def _order(source: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    place = tuple(sorted(row["at"].items()))
    return (
        source.casefold(),
        source,
        tuple(n for _, n in place),
        KINDS.index(row["kind"]),
        row["value"],
        row["raw"],
    )


def month_of(row: Mapping[str, Any]) -> str:
    """The month, `2024-03`, that a row belongs to: a date's own, or that of the date that an amount goes with; "" when there is none."""
    value = row["value"] if row["kind"] == "date" else row.get("date", "")
    found = _MONTH.match(value)
    return found[1] if found else ""


def by_month(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """For each month, and for "" (no month) at the end: number of dates and amounts, documents, and the sum of amounts by currency."""
    months: dict[str, dict[str, Any]] = {}
    for source, row in rows:
        if row["kind"] not in {"date", "amount"}:
            continue
        month = months.setdefault(month_of(row), {"dates": 0, "amounts": 0, "sums": {}, "documents": set()})
        month["dates" if row["kind"] == "date" else "amounts"] += 1
        month["documents"].add(source)
        if row["kind"] == "amount":
            sums = month["sums"]
            currency = row.get("currency", "")
            sums[currency] = sums.get(currency, Decimal(0)) + _decimal(row["value"])
    return [
        {
            "month": name,
            "dates": month["dates"],
            "amounts": month["amounts"],
            "sums": {currency: f"{total:f}" for currency, total in sorted(month["sums"].items())},
            "documents": sorted(month["documents"], key=lambda source: (source.casefold(), source)),
        }
        for name, month in sorted(months.items(), key=lambda item: (item[0] == "", item[0]))
    ]


def _decimal(value: str) -> Decimal:
    return Decimal(value) if _NUMBER.match(value) else Decimal(0)


def _cells(source: str, row: Mapping[str, Any]) -> list[str]:
    date = row["value"] if row["kind"] == "date" else row.get("date", "")
    return [
        source,
        row["kind"],
        row["value"],
        row.get("currency", ""),
        date,
        place_text(row["at"]),
        row["raw"],
        row["context"],
    ]


def table_assemble(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`table.assemble`: any number of rows.json in, `table.csv` and `table.json` out; params `{"group_by": "month"}` or none.

    Raises:
        DocumentError: `E_PARAMS`, `E_INPUT`.
    """
    if set(params) - {"group_by"} or params.get("group_by", "none") not in ("none", "month"):
        raise DocumentError(
            "E_PARAMS",
            f'table.assemble takes group_by, "month" or "none", and was given {params!r:.200}.',
            "Correct the step in the plan.",
        )
    grouped = params.get("group_by") == "month"
    documents = []
    for number, file in enumerate(inputs):
        progress("reading", number / (len(inputs) + 1))
        documents.append(load_rows(file))
    rows = sorted_rows(documents)
    if grouped:
        rows.sort(key=lambda pair: (month_of(pair[1]) == "", month_of(pair[1])))
        header = ["month", *COLUMNS]
        cells = [[month_of(row), *_cells(source, row)] for source, row in rows]
    else:
        header = list(COLUMNS)
        cells = [_cells(source, row) for source, row in rows]
    progress("writing", 0.9)
    value = {
        "schema": SCHEMA,
        "columns": header,
        "rows": cells,
        "group_by": "month" if grouped else "none",
        "by_month": by_month(rows),
        "documents": sorted(
            {document["source"] for document in documents}, key=lambda source: (source.casefold(), source)
        ),
    }
    return [OutputFile("table.csv", csv_bytes(header, cells), CSV), json_output("table.json", value)]
