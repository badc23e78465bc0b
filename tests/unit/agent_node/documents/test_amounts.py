"""Finding amounts of money as people write them, and leaving alone what only looks like one."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.amounts import find_amounts
from agent_node.documents.numbers import decimal_value, number_in_cell, plain, spelled
from agent_node.documents.spans import Spans


def amounts(text: str) -> list[str]:
    return [f"{item.value} {item.currency}" for item in find_amounts(text, Spans())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,234.50", "1234.50 USD"),
        ("$5", "5.00 USD"),
        ("$0 (pre-revenue)", "0.00 USD"),
        ("$0.0035 each", "0.0035 USD"),
        ("$.75", "0.75 USD"),
        ("US$ 3.2bn", "3200000000.00 USD"),
        ("US$59.95, 638 pp.", "59.95 USD"),
        ("A$20", "20.00 AUD"),
        ("SGD$ 100", "100.00 SGD"),
        ("R$ 1,34", "1.34 BRL"),
        ("$6 billion", "6000000000.00 USD"),
        ("$4,900 million", "4900000000.00 USD"),
        ("$12.5M; the", "12500000.00 USD"),
        ("$950K", "950000.00 USD"),
        ("£5k", "5000.00 GBP"),
        ("EUR 1.234,50", "1234.50 EUR"),
        ("1.234,50 EUR", "1234.50 EUR"),
        ("EUR 1,234.50", "1234.50 EUR"),
        ("€ 12,-", "12.00 EUR"),
        ("12,– €", "12.00 EUR"),
        ("12,50 €", "12.50 EUR"),
        ("12,50€.", "12.50 EUR"),
        ("1 234,50 €", "1234.50 EUR"),
        ("1.000 EUR", "1000.00 EUR"),
        ("3,5 Mio. Euro", "3500000.00 EUR"),
        ("2 miljoen euro", "2000000.00 EUR"),
        ("CHF 1'234.50", "1234.50 CHF"),
        ("CHF 1’234.50", "1234.50 CHF"),
        ("¥500", "500.00 JPY"),
        ("₹1,00,000", "100000.00 INR"),
        ("75 990,00 Kč", "75990.00 CZK"),
        ("USD 5k", "5000.00 USD"),
        ("100 CAD", "100.00 CAD"),
        ("12 million dollars", "12000000.00 USD"),
        ("20 Canadian dollars", "20.00 CAD"),
        ("7,300 euros", "7300.00 EUR"),
        ("5 pounds sterling", "5.00 GBP"),
        ("3 million pounds", "3000000.00 GBP"),
        ("One thousand dollars invested", "1000.00 USD"),
        ("one hundred and twenty-five dollars", "125.00 USD"),
        ("a million dollars", "1000000.00 USD"),
        ("costs 5$.", "5.00 USD"),
        ("-$125,000", "-125000.00 USD"),
        ("$-5.00", "-5.00 USD"),
        ("−12,50 €", "-12.50 EUR"),
        ("Loss  ($1,234.50)", "-1234.50 USD"),
        ("the fee ($1,234.50) is", "1234.50 USD"),
        ("99¢", "0.99 USD"),
        ("**€ 6.290,-**", "6290.00 EUR"),
        ("debt ($39M), the", "39000000.00 USD"),
    ],
)
def test_an_amount_is_found_in_its_form(text: str, expected: str) -> None:
    assert amounts(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$5-10 million", ["5000000.00 USD", "10000000.00 USD"]),
        ("$100,000 - $200,000", ["100000.00 USD", "200000.00 USD"]),
        ("€5 to 7", ["5.00 EUR", "7.00 EUR"]),
        ("10-20 €", ["10.00 EUR", "20.00 EUR"]),
        ("from $10 billion to $4,900 million", ["10000000000.00 USD", "4900000000.00 USD"]),
        ("$10 and 5 people", ["10.00 USD"]),
        ("12,50 € 13,00 € 14,00 €", ["12.50 EUR", "13.00 EUR", "14.00 EUR"]),
        ("€ 12 € 13 € 14", ["12.00 EUR", "13.00 EUR", "14.00 EUR"]),
        ("$3 | $12 | 128,000", ["3.00 USD", "12.00 USD"]),
    ],
)
def test_several_amounts_in_a_row_are_told_apart(text: str, expected: list[str]) -> None:
    assert amounts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "awk '{print $1}' file",
        "echo $1 $2",
        'sed "s/a/$2/"',
        "${1} and $HOME",
        "{$5}",
        "$x = 5",
        "version 1.2.3",
        "5 pounds of flour",
        "call +1 555 123 4567",
        "12 million people",
        "PHP 7.4 and CAD 2020",
        "europe 5",
        "all eur 5",
        "fifty-five millions",
        "$DEITY",
        "USD",
        "$",
    ],
)
def test_what_only_looks_like_an_amount_is_left_alone(text: str) -> None:
    assert amounts(text) == []


def test_the_document_tells_what_a_single_point_means() -> None:
    assert amounts("1.234 EUR; 1.250,50 EUR")[0] == "1234.00 EUR"
    assert amounts("EUR 1.234; EUR 1,250.50")[0] == "1.234 EUR"


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from(["$", "£", "EUR ", "USD "]))
def test_every_amount_with_two_decimals_is_found_in_both_ways_of_writing(value: Decimal, sign: str) -> None:
    english = f"{value:,.2f}"
    german = english.translate(str.maketrans(",.", ".,"))
    assert [item.split()[0] for item in amounts(f"costs {sign}{english} now")] == [plain(value)]
    assert [item.split()[0] for item in amounts(f"kostet {sign}{german} nun")] == [plain(value)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("1,234", "1234"),
        ("1,23", "1.23"),
        ("1.234.567", "1234567"),
        ("0,123", "0.123"),
        ("1,234,567.8", "1234567.8"),
        ("12", "12"),
    ],
)
def test_marks_for_thousands_and_decimals_are_told_apart(raw: str, expected: str) -> None:
    assert decimal_value(raw) == Decimal(expected)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("(5.00)", "-5.00"), ("2400.00", "2400.00"), ("5k", "5000.00"), ("5 apples", ""), ("", "")],
)
def test_a_cell_that_is_only_a_number_has_a_value(cell: str, expected: str) -> None:
    assert number_in_cell(cell, "EUR") == expected


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("two million three hundred thousand ", 2_300_000),
        ("ninety-nine ", 99),
        ("a hundred ", 100),
        ("zero ", 0),
    ],
)
def test_numbers_in_words_are_read(words: str, value: int) -> None:
    found = spelled("cost " + words)
    assert found is not None
    assert found[0] == value


PIECES = st.sampled_from(
    [
        "$",
        "€",
        "EUR",
        "USD",
        "1",
        "23",
        "1,234",
        ".5",
        "k",
        " million",
        "-",
        " ",
        "\n",
        "(",
        ")",
        "dollars",
        "to",
        "Kč",
        "¢",
        "A",
        "one ",
        "hundred ",
    ]
)


@given(st.lists(PIECES, max_size=40))
def test_any_text_gives_ordered_disjoint_amounts(pieces: list[str]) -> None:
    text = "".join(pieces)
    end = 0
    for item in find_amounts(text, Spans()):
        assert end <= item.start < item.end <= len(text)
        end = item.end
        assert Decimal(item.value).is_finite()
        assert len(item.currency) == 3
