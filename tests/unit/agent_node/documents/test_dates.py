"""Finding dates in the forms that people write, and leaving alone what only looks like one."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.dates import find_dates
from agent_node.documents.dates_numeric import DOUBT
from agent_node.documents.spans import Spans


def dates(text: str, *, month_first: bool | None = None) -> list[str]:
    return [item.value for item in find_dates(text, Spans(), month_first=month_first)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("due 2024-03-09.", "2024-03-09"),
        ("at 2024-03-09T10:15:00Z", "2024-03-09"),
        ("at 2024-03-09 10:15", "2024-03-09"),
        ("on 2024/03/09", "2024-03-09"),
        ("on 3 March 2024", "2024-03-03"),
        ("on the 3rd of March, 2024", "2024-03-03"),
        ("the 4th day of March, 1789", "1789-03-04"),
        ("March 3, 2024", "2024-03-03"),
        ("Mar. 3rd, 2024", "2024-03-03"),
        ("MARCH 3 2024", "2024-03-03"),
        ("3-Mar-2024", "2024-03-03"),
        ("3-June-92", "1992-06-03"),
        ("2024 March 3", "2024-03-03"),
        ("2024-Mar-03", "2024-03-03"),
        ("Sunday, 3 March 2024", "2024-03-03"),
        ("Sat, 09 Mar 2024 10:15:00 +0100", "2024-03-09"),
        ("Thu Mar  3 10:12:13 UTC 2022", "2022-03-03"),
        ("signed on 3\nMarch 2024", "2024-03-03"),
        ("signed on March\n3, 2024", "2024-03-03"),
        ("den 3. März 2024", "2024-03-03"),
        ("am 3.3.2024", "2024-03-03"),
        ("vom 03.03.24 an", "2024-03-03"),
        ("op 3 maart 2024", "2024-03-03"),
        ("op 03-04-2024", "2024-04-03"),
        ("le 1er mars 2024", "2024-03-01"),
        ("el 3 de marzo de 2024", "2024-03-03"),
        ("il 3 marzo 2024", "2024-03-03"),
        ("em 3 de março de 2024", "2024-03-03"),
        ("in March 2024", "2024-03"),
        ("im März 2024", "2024-03"),
        ("en mayo de 2024", "2024-05"),
        ("July '95", "1995-07"),
        ("(05/2013)", "2013-05"),
        ("Q3 2024", "2024-Q3"),
        ("2024-Q3", "2024-Q3"),
        ("third quarter of 2024", "2024-Q3"),
        ("3. Quartal 2024", "2024-Q3"),
        ("by 15 May", "--05-15"),
        ("by May 15th we", "--05-15"),
        ("bis zum 5. April an", "--04-05"),
        ("Dec 24", "--12-24"),
        ("29 February 2024", "2024-02-29"),
        ("12/31/1999", "1999-12-31"),
        ("31/12/1999", "1999-12-31"),
        ("10/2/2006 0:00:00", "2006-02-10"),
    ],
)
def test_a_date_is_found_in_its_form(text: str, expected: str) -> None:
    assert dates(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3-5 March 2024", ["2024-03-03", "2024-03-05"]),
        ("from 3 to 5 March 2024", ["2024-03-03", "2024-03-05"]),
        ("March 3-5, 2024", ["2024-03-03", "2024-03-05"]),
        ("1 January to 31 March 2024", ["2024-01-01", "2024-03-31"]),
        ("28 July – 8 August 2025", ["2025-07-28", "2025-08-08"]),
        ("January 1 through March 31, 2024", ["2024-01-01", "2024-03-31"]),
        ("March–May 2024", ["2024-03", "2024-05"]),
        ("2024-03-03 to 2024-03-05", ["2024-03-03", "2024-03-05"]),
        ("03/19/2003 - 08/31/2010", ["2003-03-19", "2010-08-31"]),
        ("May 3-5", ["--05-03", "--05-05"]),
    ],
)
def test_a_range_gives_both_ends(text: str, expected: list[str]) -> None:
    assert dates(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "version 2.10.3",
        "version 2024.2.2",
        "1.2.3.4 and 10.12.24.1",
        "section 3.3.2",
        "you may 5 times",
        "they march 3 miles",
        "30 February 2024",
        "2024-13-01",
        "gpt-4o-2024-05-13",
        "backup_2024-03-03.tar.gz",
        "nsn 1005-00-073-9421",
        "tel 555-12-3456",
        "50.72(b)(3)",
        "12/345/2024",
        "a ratio of 1/2/3",
        "24/7/365",
        "set 2024 and out 1999",
        "ISO 8601:2004",
        "in 1994",
        "SKU 2024-0303",
        "1024-768",
        "CVE-2022-35737",
        "mar 5000",
        "5. Set the value",
        "5 Ago",
        "list:\n5. May contain nuts",
        "10.1.2024.5",
    ],
)
def test_what_only_looks_like_a_date_is_left_alone(text: str) -> None:
    assert dates(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("03/04/2024 and 13/04/2024", ["2024-04-03", "2024-04-13"]),
        ("03/04/2024 and 04/13/2024", ["2024-03-04", "2024-04-13"]),
        ("03/04/2024, signed March 9, 2024", ["2024-03-04", "2024-03-09"]),
        ("03/04/2024, signed 9 March 2024", ["2024-04-03", "2024-03-09"]),
        ("03.04.2024 and April 3, 2024", ["2024-04-03", "2024-04-03"]),
    ],
)
def test_the_document_tells_whether_day_or_month_comes_first(text: str, expected: list[str]) -> None:
    assert dates(text) == expected


def test_an_order_that_nothing_tells_is_doubted() -> None:
    (found,) = find_dates("on 03/04/2024", Spans())
    assert (found.value, found.doubt) == ("2024-04-03", DOUBT)


def test_a_hint_from_elsewhere_settles_the_order() -> None:
    (found,) = find_dates("on 03/04/2024", Spans(), month_first=True)
    assert (found.value, found.doubt) == ("2024-03-04", "")


def test_equal_day_and_month_are_not_doubted() -> None:
    (found,) = find_dates("on 04/04/2024", Spans())
    assert found.doubt == ""


def test_a_date_inside_a_link_is_left_alone() -> None:
    taken = Spans()
    taken.add(0, 40)
    assert find_dates("http://a.example/2024-03-03/May-3-2024.x", taken) == []


@given(
    st.dates(
        min_value=__import__("datetime").date(1600, 1, 1), max_value=__import__("datetime").date(2199, 12, 31)
    )
)
def test_every_day_is_found_in_every_full_form(day: object) -> None:
    import datetime

    assert isinstance(day, datetime.date)
    name = day.strftime("%B")
    for text in (
        day.isoformat(),
        f"{day.day} {name} {day.year}",
        f"{name} {day.day}, {day.year}",
        f"{day.day}. {name} {day.year}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.day}-{name[:3]}-{day.year}",
    ):
        assert dates(f"on {text}, then") == [day.isoformat()]


WORDS = st.sampled_from(
    [
        "3",
        "31",
        "2024",
        "99",
        "March",
        "may",
        "Mai",
        "Q3",
        "/",
        "-",
        ".",
        ",",
        " ",
        "\n",
        "to",
        "of",
        "de",
        "st",
        "10:00",
        "'",
        "–",
        "a",
        "1/2/2024",
    ]
)


@given(st.lists(WORDS, max_size=40))
def test_any_text_gives_ordered_disjoint_dates_that_exist(words: list[str]) -> None:
    text = "".join(words)
    end = 0
    for item in find_dates(text, Spans()):
        assert end <= item.start < item.end <= len(text)
        end = item.end
        assert item.value
