"""The capability `table.convert`: the tables of one document as `table.csv`.

CSV, HTML, Markdown and Word say where their tables are. Plain text and PDF do not: there, two or more lines of which each has the same
number of columns, divided by two or more blanks or a tab, are taken for a table. Several tables of one document with the same header are
put together; otherwise each begins with its own header behind an empty line, unless `table` asks for one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from .columns import rows_by_table
from .errors import DocumentError
from .files import CSV, JSON, InputFile, OutputFile, Progress, only_input, read_bytes
from .read import read_document
from .tables import csv_bytes
from .text import TextDocument, Unit, load_text

__all__ = ["table_convert", "tables_of"]

_DIVIDER = re.compile(r"\t+| {2,}")
_BOX = re.compile(r"[\s+|=:_-]*\Z")
_MIN_ROWS = 2


def tables_of(document: TextDocument) -> list[list[list[str]]]:
    """The tables of a document, each a list of rows of cells, in reading order; rows are padded to one length."""
    marked = [[list(row.cells) for row in rows] for rows in rows_by_table(document.units)]
    found = [table for table in marked if len(table) >= _MIN_ROWS or document.media_type == CSV]
    if not found:
        found = list(_aligned(document.units))
    return [_padded(table) for table in found]


def _padded(table: list[list[str]]) -> list[list[str]]:
    width = max(len(row) for row in table)
    return [row + [""] * (width - len(row)) for row in table]


def _aligned(units: Sequence[Unit]) -> Iterator[list[list[str]]]:
    """Tables that are only drawn with blanks, tabs or bars."""
    table: list[list[str]] = []
    for line in (line for unit in units for line in unit.text.split("\n")):
        if _BOX.match(line):
            continue  # a ruled line belongs to the table that it rules
        cells = _cells(line)
        if len(cells) < 2 or (table and len(cells) != len(table[0])):
            if len(table) >= _MIN_ROWS:
                yield table
            table = []
        if len(cells) > 1:
            table.append(cells)
    if len(table) >= _MIN_ROWS:
        yield table


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    if stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 1:
        return [cell.strip() for cell in stripped[1:-1].split("|")]
    return [cell.strip() for cell in _DIVIDER.split(stripped) if cell.strip()]


def _joined(tables: Sequence[list[list[str]]]) -> list[list[str]]:
    """All tables below each other: those with the header of the first without repeating it, others behind an empty line."""
    rows = list(tables[0])
    for table in tables[1:]:
        if table[0] == tables[0][0]:
            rows += table[1:]
        else:
            rows += [[], *table]
    return rows


def table_convert(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`table.convert`: one document, or its text.json, in; `table.csv` out; params `{"table": n}` for only the n-th table (from 1).

    Raises:
        DocumentError: `E_NO_TABLE` when there is none (or no n-th); `E_PARAMS`; the errors of `doc.read`.
    """
    wanted = params.get("table")
    if set(params) - {"table"} or (wanted is not None and (type(wanted) is not int or wanted < 1)):
        raise DocumentError(
            "E_PARAMS",
            f"table.convert takes table, a number from 1, and was given {params!r:.200}.",
            "Correct the plan.",
        )
    file = only_input(inputs, "table.convert")
    progress("reading", 0.0)
    if file.media_type == JSON or file.name.endswith("text.json"):
        document = load_text(file)
    else:
        document = read_document(file.name, read_bytes(file), lambda done: progress("reading", 0.8 * done))
    tables = tables_of(document)
    if not tables or (wanted is not None and wanted > len(tables)):
        have = f"{len(tables)} table{'s' if len(tables) != 1 else ''}" if tables else "no table"
        raise DocumentError(
            "E_NO_TABLE",
            f"{document.source} has {have} that could be found.",
            "Choose another document, or summarise this one instead.",
        )
    rows = tables[wanted - 1] if wanted is not None else _joined(tables)
    progress("writing", 0.9)
    return [OutputFile("table.csv", csv_bytes(rows[0], rows[1:]), CSV)]
