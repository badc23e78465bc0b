"""Amounts in the money columns of tables, where the currency stands in the header or in a column of its own.

A table is a run of rows with cells. Its first row is a header when it has no number. A column is one of money when its header names a
currency ("Total (EUR)", "price_usd", "€"), or when it has a word for money ("Amount", "Betrag", "Prijs") and its cells are numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .amounts import writes_comma_decimals
from .money import CODES, SIGNS, WORDS
from .numbers import number_in_cell
from .text import Unit

__all__ = ["column_amounts", "rows_by_table"]

_MONEY_WORD = re.compile(
    r"(?<![^\W_])(?:amount|price|cost|costs|fee|fees|salary|wage|rent|payment|revenue|turnover|balance|subtotal|debit|credit|net|gross|vat"
    r"|betrag|preis|kosten|summe|gehalt|miete|brutto|netto|mwst|bedrag|prijs|btw|montant|prix|coût|importe|precio|coste|saldo"
    r"|budget|charge|charges|paid|due)(?![^\W_])",
    re.IGNORECASE,
)
_NOT_MONEY = re.compile(
    r"(?<![^\W_])(?:date|datum|day|days|id|no|number|nr|qty|quantity|count|anzahl|aantal|%|percent|rate|year|units)(?![^\W_])",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W\d_]+|[^\w\s]")
_WORD_CURRENCY = {word: code for word, code in WORDS.items() if word not in {"pounds", "sterling"}}


def rows_by_table(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """The rows of each table, in order."""
    rows: list[Unit] = []
    for unit in units:
        if rows and unit.table != rows[-1].table:
            yield rows
            rows = []
        if unit.cells:
            rows.append(unit)
    if rows:
        yield rows


def _named_currency(header: str) -> str:
    for token in _TOKEN.findall(header):
        code = (
            SIGNS.get(token)
            or (token.upper() if token.upper() in CODES else "")
            or _WORD_CURRENCY.get(token.lower(), "")
        )
        if code:
            return "CNY" if code == "RMB" else code
    return ""


def _header(row: Unit) -> bool:
    return (
        not any(number_in_cell(cell, "") for cell in row.cells) and sum(bool(cell) for cell in row.cells) > 1
    )


def column_amounts(units: Sequence[Unit]) -> Iterator[tuple[Unit, int, str, str]]:
    """Yields (row, index of the cell, value, currency) for each number in a money column; cells that spell a currency are left out."""
    for rows in rows_by_table(units):
        if len(rows) < 2 or not _header(rows[0]):
            continue
        header = rows[0].cells
        named = {index: _named_currency(cell) for index, cell in enumerate(header)}
        money = {
            index
            for index, cell in enumerate(header)
            if (named[index] or _MONEY_WORD.search(cell.replace("_", " ")))
            and not _NOT_MONEY.search(cell.replace("_", " "))
        }
        if not money:
            continue
        comma = writes_comma_decimals("\n".join(row.text for row in rows[:200]))
        if comma is None:
            comma = _comma_cells(rows, money)
        yield from _numbers(rows[1:], money, named, comma)


def _comma_cells(rows: Sequence[Unit], money: set[int]) -> bool | None:
    cells = [row.cells[index] for row in rows[1:200] for index in money if index < len(row.cells)]
    comma = sum(1 for cell in cells if re.search(r"\d,\d{2}\D?\Z", cell))
    point = sum(1 for cell in cells if re.search(r"\d\.\d{2}\D?\Z", cell))
    return None if comma == point else comma > point


def _numbers(
    rows: Sequence[Unit], money: set[int], named: dict[int, str], comma: bool | None
) -> Iterator[tuple[Unit, int, str, str]]:
    for row in rows:
        beside = next((code for cell in row.cells if (code := _only_code(cell))), "")
        for index in sorted(money):
            if index < len(row.cells):
                currency = named[index] or beside
                value = number_in_cell(row.cells[index], currency, comma)
                if value:
                    yield row, index, value, currency


def _only_code(cell: str) -> str:
    cell = cell.strip()
    if cell in SIGNS:
        return SIGNS[cell]
    return ("CNY" if cell == "RMB" else cell) if cell in CODES else ""
