"""The capability text.extract: rows with places, contexts and the dates that amounts go with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.errors import DocumentError
from agent_node.documents.extract import Row, extract
from agent_node.documents.read import read_document
from agent_node.documents.text import TextDocument, Unit

from .conftest import Call, Put


def rows(text: str, name: str = "a.txt") -> list[Row]:
    return extract(read_document(name, text.encode()))


def found(text: str, name: str = "a.txt") -> list[tuple[str, str, dict[str, int]]]:
    return [(row.kind, row.value, row.at) for row in rows(text, name)]


def test_finds_have_the_line_they_start_on() -> None:
    assert found("one\n\non 3 March\n2024 for $5\nx@y.example\nhttp://a.example") == [
        ("date", "2024-03-03", {"line": 3}),
        ("amount", "5.00", {"line": 4}),
        ("email", "x@y.example", {"line": 5}),
        ("link", "http://a.example", {"line": 6}),
    ]


def test_the_same_value_twice_on_a_line_is_told_once_and_on_two_lines_twice() -> None:
    assert [row.at["line"] for row in rows("$5 and $5\n$5")] == [1, 2]


def test_a_date_is_not_put_together_over_an_empty_line() -> None:
    assert found("on 3\n\nMarch of the ants") == []


def test_the_context_is_the_words_around_a_find() -> None:
    (row,) = rows("word " * 40 + "costs $5 today " + "word " * 40)
    assert row.context.startswith("…word")
    assert row.context.endswith("word…")
    assert "costs $5 today" in row.context
    assert len(row.context) < 140


def test_what_a_link_leads_to_is_found_though_the_text_does_not_say_it() -> None:
    page = "<p>Write to <a href='mailto:x@y.example'>us</a> or <a href='https://a.example/b'>look</a></p>"
    assert [(row.kind, row.value) for row in rows(page, "a.html")] == [
        ("email", "x@y.example"),
        ("link", "https://a.example/b"),
    ]


def test_an_address_in_a_link_is_no_address() -> None:
    assert found("https://a.example/?mail=x@y.example") == [
        ("link", "https://a.example/?mail=x@y.example", {"line": 1})
    ]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("On 3 March 2024 we paid $5.", "2024-03-03"),
        ("We paid $5 on 3\nMarch 2024.", "2024-03-03"),
        ("Signed 3 March 2024. The price is $5.", ""),
        ("Signed 3 March 2024\n\nThe price is $5.", ""),
        ("On 1 May 2023 or, for $5, on 2 May 2024", "2024-05-02"),
        ("By 15 May we pay $5.", ""),
    ],
)
def test_an_amount_goes_with_the_nearest_date_of_its_sentence(text: str, date: str) -> None:
    assert [row.date for row in rows(text) if row.kind == "amount"] == [date]


def test_an_amount_in_a_table_goes_with_the_first_date_of_its_row() -> None:
    text = "date,what,amount (EUR),paid\n2024-01-05,x,10.00,2024-02-07\n2024-03-09,y,20.00,\n"
    assert [(row.value, row.date) for row in rows(text, "a.csv") if row.kind == "amount"] == [
        ("10.00", "2024-01-05"),
        ("20.00", "2024-03-09"),
    ]


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("what,Total (EUR)", "x,1234.5", [("1234.50", "EUR")]),
        ("what,price_usd", "x,5", [("5.00", "USD")]),
        ("item,Betrag,Währung", 'x,"1.234,50",CHF', [("1234.50", "CHF")]),
        ("item,amount", "x,5", [("5.00", "")]),
        ("item,unit_price,quantity", "x,5.25,3", [("5.25", "")]),
        ("item,price", "x,$5", [("5.00", "USD")]),
        ("item,count", "x,5", []),
        ("item,total", "x,5", []),
        ("item,cost id", "x,5", []),
        ("item,amount", "x,unknown", []),
    ],
)
def test_numbers_in_money_columns_are_amounts(
    header: str, cells: str, expected: list[tuple[str, str]]
) -> None:
    assert [(row.value, row.currency) for row in rows(f"{header}\n{cells}\n", "a.csv")] == expected


def test_money_columns_of_html_and_markdown_tables_are_read_too() -> None:
    page = "<table><tr><th>Item<th>Price in EUR</tr><tr><td>x<td>5</tr></table>"
    assert [(row.value, row.currency) for row in rows(page, "a.html")] == [("5.00", "EUR")]
    assert [(row.value, row.currency) for row in rows("| Item | € |\n|---|---|\n| x | 5 |\n", "a.md")] == [
        ("5.00", "EUR")
    ]


def test_an_assumed_order_of_day_and_month_is_told() -> None:
    assert [row.doubt for row in rows("on 03/04/2024")] == ["day/month order assumed"]
    assert [(row.value, row.doubt) for row in rows("on 03/04/2024 for $5") if row.kind == "date"] == [
        ("2024-03-04", "")
    ]
    assert [(row.value, row.doubt) for row in rows("on 03/04/2024 for £5") if row.kind == "date"] == [
        ("2024-04-03", "")
    ]


def test_only_the_kinds_asked_for_are_told(put: Put, call: Call) -> None:
    text = call("doc.read", [put("a.txt", b"on 3 March 2024 for $5, x@y.example, http://a.example")])[
        "text.json"
    ]
    for kinds in (["date"], ["amount", "link"], ["email"]):
        value = json.loads(call("text.extract", [put("text.json", text)], kinds=kinds)["rows.json"])
        assert {row["kind"] for row in value["rows"]} == set(kinds)
        assert value["source"] == "a.txt"


def test_an_amount_never_takes_the_number_of_a_date() -> None:
    assert found("on 03.03.2024 EUR 500") == [
        ("date", "2024-03-03", {"line": 1}),
        ("amount", "500.00", {"line": 1}),
    ]


@pytest.mark.parametrize("params", [{"kinds": []}, {"kinds": ["time"]}, {"kinds": "date"}, {"other": 1}])
def test_wrong_parameters_are_refused(put: Put, params: dict[str, Any]) -> None:
    from agent_node.documents.extract import text_extract

    with pytest.raises(DocumentError) as caught:
        text_extract(params, [put("text.json", b"{}")], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"schema":"zwerm.rows/1"}',
        b'{"schema":"zwerm.text/1"}',
        b'{"schema":"zwerm.text/1","source":"a","media_type":"b","units":[{"kind":"line","n":-1,"text":"x"}]}',
        b'{"schema":"zwerm.text/1","source":"a","media_type":"b","units":[{"kind":"row","n":1,"text":"x"}]}',
        b'{"schema":"zwerm.text/1","source":"a","media_type":"b","units":[{"kind":"line","n":1,"text":5}]}',
        b'{"schema":"zwerm.text/1","source":"a","media_type":"b","units":7}',
        b"[" * 100_000,
    ],
)
def test_an_input_that_is_no_text_json_is_refused(put: Put, content: bytes) -> None:
    from agent_node.documents.extract import text_extract

    with pytest.raises(DocumentError) as caught:
        text_extract({}, [put("text.json", content)], lambda what, done: None)
    assert caught.value.code == "E_INPUT"


TEXTS = st.text(alphabet=st.sampled_from("0123456789.,/-$€@: \n|abMay3rdofhtp()EUR"), max_size=300)


@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=6))
def test_any_units_give_rows_that_are_in_the_document(parts: list[tuple[str, bool]]) -> None:
    units = tuple(
        Unit("line", n, text, n, (text, "x") if table else (), 1 if table else 0)
        for n, (text, table) in enumerate(parts, 1)
    )
    document = TextDocument("a", "text/plain", units)
    for row in extract(document):
        assert 1 <= row.at["line"] <= len(units)
        assert row.value
        assert " ".join(row.raw.split()) == row.raw
    assert extract(document) == extract(document)


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1,",
        "1.",
        "1 ",
        "123,",
        "$",
        "$1",
        "@",
        "a@",
        "-",
        "May ",
        "3 May 3 ",
        "1 to ",
        "http://",
        "a(at)",
        "a at b dot ",
        "one ",
        "one hundred dollars ",
        "[",
        "](",
        "1-",
        "1/1/",
        "Q1 ",
        "€ 1 ",
        "1\n",
        "x(at)y.",
    ],
)
def test_hostile_text_of_200_kilobytes_is_searched_in_linear_time(piece: str) -> None:
    # Anything worse than linear runs into the time limit of the test.
    rows(piece * (200_000 // len(piece)) + " end")
