"""The text of the report: what was found in all documents as Markdown, every statement with its citation.

The same inputs give the same bytes, in whatever order they come and on whatever node: nothing is taken from the clock, the node or the
inputs' file names. Every statement cites its place, as in [contract.pdf, p. 3] or [notes.txt, line 14]. What was skipped is named, with
the reason, since a report that leaves out a file silently is wrong.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from . import summarize, tables
from .extract import SCHEMA as ROWS
from .markdown import bullet, escape, table
from .text import place_text

__all__ = ["MAX_A_MONTH", "MAX_CONTACTS", "report"]

MAX_A_MONTH = 40
"""Finds listed for one month; the rest is in table.csv, and the report says how many."""

MAX_CONTACTS = 60
"""Addresses, and links, listed in the report."""

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_KINDS = {
    "text/plain": "text",
    "text/markdown": "Markdown",
    "text/html": "web page",
    "text/csv": "CSV",
    "application/pdf": "PDF",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
}


@dataclass(slots=True)
class _Document:
    """What is known of one document."""

    media_type: str = ""
    rows: list[dict[str, Any]] | None = None
    sentences: list[dict[str, Any]] = field(default_factory=list)
    keywords: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Note one find of this document."""
        self.rows = [] if self.rows is None else self.rows
        self.rows.append(dict(row))


def _order(name: str) -> tuple[str, str]:
    return name.casefold(), name


def report(
    title: str, goal: str, values: Sequence[Mapping[str, Any]], skipped: Sequence[tuple[str, str]]
) -> str:
    """The report's Markdown.

    Args:
        title: its heading.
        goal: what the person asked for; shown as a quotation, left out when empty.
        values: checked contents of rows.json, summary.json, keywords.json and table.json files, in any order.
        skipped: (file, reason) of what was not read.
    """
    documents: dict[str, _Document] = {}
    months: list[dict[str, Any]] = []
    for value in sorted(
        values,
        key=lambda item: (
            str(item["schema"]),
            _order(str(item.get("source", ""))),
            repr(sorted(item.items())),
        ),
    ):
        if value["schema"] == tables.SCHEMA:
            months = months or list(value["by_month"])
            for source in value["documents"]:
                documents.setdefault(source, _Document())
        else:
            _add(documents.setdefault(value["source"], _Document()), value)
    ordered = sorted(documents.items(), key=lambda item: _order(item[0]))
    rows = tables.sorted_rows(
        {"source": name, "rows": document.rows} for name, document in ordered if document.rows
    )
    for document in documents.values():
        document.rows = None if document.rows is None else []
    for name, row in rows:  # an input that came twice counts once
        documents[name].add_row(row)
    if rows:
        months = tables.by_month(rows)
    lines = [f"# {escape(title)}", ""]
    if goal:
        lines += [f"> {escape(goal)}", ""]
    lines += [_opening(ordered, rows, skipped), ""]
    lines += _overview(ordered)
    lines += _month_table(months)
    lines += _summaries(ordered)
    lines += _month_details(rows)
    lines += _contacts(rows)
    lines += _skipped(skipped)
    return "\n".join(lines).rstrip("\n") + "\n"


def _add(document: _Document, value: Mapping[str, Any]) -> None:
    document.media_type = document.media_type or value.get("media_type", "")
    document.warnings += [
        warning for warning in value.get("warnings", []) if warning not in document.warnings
    ]
    if value["schema"] == ROWS:
        document.rows = (document.rows or []) + value["rows"]
    elif value["schema"] == summarize.SCHEMA:
        document.sentences = document.sentences or value["sentences"]
    else:
        document.keywords = document.keywords or value["keywords"]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _opening(
    documents: Sequence[tuple[str, _Document]],
    rows: Sequence[tuple[str, Mapping[str, Any]]],
    skipped: Sequence[tuple[str, str]],
) -> str:
    counts = {
        kind: sum(1 for _, row in rows if row["kind"] == kind) for kind in ("date", "amount", "email", "link")
    }
    text = f"{_count(len(documents), 'document')} read"
    text += f", {len(skipped)} skipped." if skipped else "."
    if rows:
        text += (
            f" Found: {_count(counts['date'], 'date')}, {_count(counts['amount'], 'amount')},"
            f" {_count(counts['email'], 'e-mail address', 'e-mail addresses')}, {_count(counts['link'], 'link')}."
        )
    return text


def _overview(documents: Sequence[tuple[str, _Document]]) -> list[str]:
    if not documents:
        return []
    rows = []
    for name, document in documents:
        counts = ["–"] * 4
        if document.rows is not None:
            counts = [
                str(sum(1 for row in document.rows if row["kind"] == kind))
                for kind in ("date", "amount", "email", "link")
            ]
        notes = escape("; ".join(document.warnings))
        rows.append(
            [
                escape(name),
                escape(_KINDS.get(document.media_type, document.media_type)) or "–",
                *counts,
                notes,
            ]
        )
    header = ["Document", "Kind", "Dates", "Amounts", "Addresses", "Links", "Notes"]
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    return ["## Documents", "", *table(header, rows, right=(2, 3, 4, 5)), ""]


def _month_name(month: str) -> str:
    number = month[5:7]
    if number.isdigit() and 1 <= int(number) <= len(_MONTHS):
        return f"{_MONTHS[int(number) - 1]} {month[:4]}"
    return "No month given"


def _money(value: str, currency: str) -> str:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return escape(value)
    return f"{currency} {number:,}".strip()


def _month_table(months: Sequence[Mapping[str, Any]]) -> list[str]:
    if not months:
        return []
    rows = []
    for month in months:
        sums = " + ".join(_money(total, currency) for currency, total in sorted(month["sums"].items()))
        names = ", ".join(escape(name) for name in month["documents"])
        rows.append(
            [_month_name(month["month"]), str(month["dates"]), str(month["amounts"]), sums or "–", names]
        )
    return [
        "## Dates and amounts by month",
        "",
        *table(("Month", "Dates", "Amounts", "Sum of amounts", "Documents"), rows, right=(1, 2, 3)),
        "",
        "An amount stands in the month of the first date of its table row, or of the date nearest to it in its sentence.",
        "",
    ]


def _cite(name: str, at: Mapping[str, int]) -> str:
    return f"{escape(name)}, {place_text(dict(at))}"


def _month_details(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    months: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, row in rows:
        if row["kind"] in {"date", "amount"}:
            months.setdefault(tables.month_of(row), []).append((name, row))
    lines: list[str] = ["## Every date and amount", ""] if months else []
    for month, found in sorted(months.items(), key=lambda item: (item[0] == "", item[0])):
        lines += [f"### {_month_name(month)}", ""]
        # A month reads by day; amounts follow the date that they go with. Sorting keeps the order of places.
        by_day = sorted(found, key=lambda pair: (_day(pair[1]), pair[1]["kind"] == "amount"))
        for name, row in by_day[:MAX_A_MONTH]:
            lines.append(bullet(_find(row), _cite(name, row["at"])))
        if len(found) > MAX_A_MONTH:
            lines.append(f"- and {len(found) - MAX_A_MONTH:,} more, in table.csv")
        lines.append("")
    return lines


def _day(row: Mapping[str, Any]) -> str:
    return str(row["value"] if row["kind"] == "date" else row.get("date", ""))


def _find(row: Mapping[str, Any]) -> str:
    what = (
        _money(row["value"], row.get("currency", ""))
        if row["kind"] == "amount"
        else escape(row["value"].removeprefix("--"))
    )
    doubt = f" ({escape(row['doubt'])})" if row.get("doubt") else ""
    context = escape(row["context"])
    return f"**{what}**{doubt}" + (f": {context}" if context else "")


def _summaries(documents: Sequence[tuple[str, _Document]]) -> list[str]:
    lines: list[str] = []
    for name, document in documents:
        if not document.sentences and not document.keywords:
            continue
        lines += [f"### {escape(name)}", ""]
        lines += [
            bullet(escape(sentence["text"]), _cite(name, sentence["at"])) for sentence in document.sentences
        ]
        if document.sentences:
            lines.append("")
        if document.keywords:
            lines += [
                f"Keywords: {', '.join(escape(keyword['phrase']) for keyword in document.keywords)}.",
                "",
            ]
    return ["## What the documents say", "", *lines] if lines else []


def _contacts(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    lines: list[str] = []
    for kind, heading in (("email", "E-mail addresses"), ("link", "Links")):
        places: dict[str, list[str]] = {}
        for name, row in rows:
            if row["kind"] == kind:
                places.setdefault(row["value"], []).append(_cite(name, row["at"]))
        if not places:
            continue
        ordered = sorted(places.items(), key=lambda item: _order(item[0]))
        lines += [f"## {heading}", ""]
        for value, cites in ordered[:MAX_CONTACTS]:
            more = f" and {len(cites) - 3} more" if len(cites) > 3 else ""
            lines.append(bullet(escape(value), "; ".join(cites[:3]) + more))
        if len(ordered) > MAX_CONTACTS:
            lines.append(f"- and {len(ordered) - MAX_CONTACTS:,} more, in table.csv")
        lines.append("")
    return lines


def _skipped(skipped: Sequence[tuple[str, str]]) -> list[str]:
    if not skipped:
        return []
    ordered = sorted(set(skipped), key=lambda item: (_order(item[0]), item[1]))
    return [
        "## Skipped files",
        "",
        *table(("File", "Why"), [[escape(name), escape(why)] for name, why in ordered]),
        "",
    ]
