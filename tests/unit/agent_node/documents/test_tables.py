"""The capabilities table.assemble and table.convert."""

from __future__ import annotations

import csv
import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.convert import tables_of
from agent_node.documents.errors import DocumentError
from agent_node.documents.files import InputFile, canonical_json
from agent_node.documents.read import read_document
from agent_node.documents.samples.make import docx_bytes, pdf_bytes
from agent_node.documents.tables import by_month, csv_bytes, month_of, safe_cell, sorted_rows, table_assemble

from .conftest import Call, Put

DOCUMENTS = {
    "b.txt": b"On 3 March 2024 we paid $5.\nOn 9 April 2024 they paid EUR 7.50.",
    "a.txt": b"By 4 March 2024: $2. And $1, x@y.example, http://a.example",
    "c.txt": b"nothing here",
}


@pytest.fixture
def rows_files(put: Put, call: Call) -> list[InputFile]:
    files = []
    for name, data in DOCUMENTS.items():
        text = put("text.json", call("doc.read", [put(name, data)])["text.json"])
        files.append(put("rows.json", call("text.extract", [text])["rows.json"]))
    return files


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))


def test_rows_are_sorted_by_document_and_place(rows_files: list[InputFile], call: Call) -> None:
    table = cells(call("table.assemble", rows_files)["table.csv"])
    assert table[0] == ["document", "kind", "value", "currency", "date", "place", "raw", "context"]
    assert [row[:6] for row in table[1:]] == [
        ["a.txt", "date", "2024-03-04", "", "2024-03-04", "line 1"],
        ["a.txt", "amount", "1.00", "USD", "", "line 1"],
        ["a.txt", "amount", "2.00", "USD", "2024-03-04", "line 1"],
        ["a.txt", "email", "x@y.example", "", "", "line 1"],
        ["a.txt", "link", "http://a.example", "", "", "line 1"],
        ["b.txt", "date", "2024-03-03", "", "2024-03-03", "line 1"],
        ["b.txt", "amount", "5.00", "USD", "2024-03-03", "line 1"],
        ["b.txt", "date", "2024-04-09", "", "2024-04-09", "line 2"],
        ["b.txt", "amount", "7.50", "EUR", "2024-04-09", "line 2"],
    ]


def test_the_order_of_the_inputs_does_not_matter(rows_files: list[InputFile], call: Call) -> None:
    for group_by in ("none", "month"):
        results = [
            call("table.assemble", list(files), group_by=group_by)
            for files in itertools.permutations(rows_files)
        ]
        assert all(result == results[0] for result in results)


def test_an_input_given_twice_counts_once(rows_files: list[InputFile], call: Call) -> None:
    assert call("table.assemble", rows_files + rows_files) == call("table.assemble", rows_files)


def test_grouping_by_month_puts_the_month_first(rows_files: list[InputFile], call: Call) -> None:
    made = call("table.assemble", rows_files, group_by="month")
    table = cells(made["table.csv"])
    assert table[0][0] == "month"
    months = [row[0] for row in table[1:]]
    assert months == ["2024-03"] * 4 + ["2024-04"] * 2 + [""] * 3
    assert json.loads(made["table.json"])["by_month"] == [
        {
            "month": "2024-03",
            "dates": 2,
            "amounts": 2,
            "sums": {"USD": "7.00"},
            "documents": ["a.txt", "b.txt"],
        },
        {"month": "2024-04", "dates": 1, "amounts": 1, "sums": {"EUR": "7.50"}, "documents": ["b.txt"]},
        {"month": "", "dates": 0, "amounts": 1, "sums": {"USD": "1.00"}, "documents": ["a.txt"]},
    ]


def test_no_inputs_make_an_empty_table(call: Call) -> None:
    assert len(cells(call("table.assemble", [])["table.csv"])) == 1


@pytest.mark.parametrize("params", [{"group_by": "week"}, {"group_by": ["month"]}, {"by": "month"}])
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        table_assemble(params, [], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


ROW: dict[str, Any] = {
    "kind": "amount",
    "value": "1.00",
    "currency": "EUR",
    "date": "",
    "raw": "1",
    "at": {"line": 1},
    "context": "",
}


@pytest.mark.parametrize(
    "row",
    [
        7,
        {},
        ROW | {"kind": "x"},
        ROW | {"at": {"line": "1"}},
        ROW | {"at": []},
        ROW | {"value": 1},
        ROW | {"kind": ["date"]},
    ],
)
def test_rows_that_are_not_as_they_should_be_are_refused(put: Put, row: Any) -> None:
    file = put("rows.json", canonical_json({"schema": "zwerm.rows/1", "source": "a", "rows": [ROW, row]}))
    with pytest.raises(DocumentError) as caught:
        table_assemble({}, [file], lambda what, done: None)
    assert caught.value.code == "E_INPUT"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+31 10 1234", "'+31 10 1234"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-cmd|x", "'-cmd|x"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("-12.50", "-12.50"),
        ("12", "12"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(cell: str, safe: str) -> None:
    assert safe_cell(cell) == safe


@given(
    st.lists(
        st.lists(
            st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
            min_size=2,
            max_size=4,
        ),
        max_size=5,
    )
)
def test_any_cells_come_back_from_the_csv(rows: list[list[str]]) -> None:
    assert cells(csv_bytes(["a", "b"], rows))[1:] == [[safe_cell(cell) for cell in row] for row in rows]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "B", "b"]),
            st.integers(1, 3),
            st.sampled_from(["1.00", "2.50"]),
            st.sampled_from(["EUR", ""]),
        ),
        max_size=8,
    ),
    st.randoms(),
)
def test_months_and_order_do_not_depend_on_the_order_of_rows(
    items: list[tuple[str, int, str, str]], random: Any
) -> None:
    documents = [
        {"source": name, "rows": [ROW | {"at": {"line": n}, "value": value, "currency": code}]}
        for name, n, value, code in items
    ]
    mixed = list(documents)
    random.shuffle(mixed)
    assert sorted_rows(documents) == sorted_rows(mixed)
    assert by_month(sorted_rows(documents)) == by_month(sorted_rows(mixed))


@pytest.mark.parametrize(
    ("value", "month"), [("2024-03-05", "2024-03"), ("2024-03", "2024-03"), ("--03-05", ""), ("2024-Q1", "")]
)
def test_the_month_of_a_date(value: str, month: str) -> None:
    assert month_of({"kind": "date", "value": value}) == month


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"Item;Price\r\nTea;2,50\r\nCake;3,00\r\n"),
        ("t.md", b"Menu\n\n| Item | Price |\n| --- | ---: |\n| Tea | 2,50 |\n| Cake | 3,00 |\n"),
        ("t.html", b"<html><table><tr><th>Item<th>Price<tr><td>Tea<td>2,50<tr><td>Cake<td>3,00</table>"),
        ("t.docx", docx_bytes((("table", (("Item", "Price"), ("Tea", "2,50"), ("Cake", "3,00"))),))),
        (
            "t.txt",
            b"Menu of the day\n\nItem     Price\n-----    -----\nTea      2,50\nCake     3,00\n\nGood appetite",
        ),
        (
            "t.txt",
            b"+------+-------+\n| Item | Price |\n+------+-------+\n| Tea  | 2,50  |\n| Cake | 3,00  |\n+------+-------+\n",
        ),
    ],
)
def test_a_table_is_converted_from_every_kind_of_document(
    put: Put, call: Call, name: str, data: bytes
) -> None:
    expected = [["Item", "Price"], ["Tea", "2,50"], ["Cake", "3,00"]]
    assert cells(call("table.convert", [put(name, data)])["table.csv"]) == expected
    text = call("doc.read", [put(name, data)])["text.json"]
    assert cells(call("table.convert", [put("text.json", text)])["table.csv"]) == expected


def test_rows_of_different_length_are_padded(put: Put, call: Call) -> None:
    assert cells(call("table.convert", [put("t.csv", b"a,b\n1\n1,2,3\n")])["table.csv"]) == [
        ["a", "b", ""],
        ["1", "", ""],
        ["1", "2", "3"],
    ]


def test_tables_with_one_header_are_put_together_and_others_follow(put: Put, call: Call) -> None:
    source = b"|a|b|\n|-|-|\n|1|2|\n\ntext\n\n|a|b|\n|-|-|\n|3|4|\n\ntext\n\n|c|d|\n|-|-|\n|5|6|\n"
    assert cells(call("table.convert", [put("t.md", source)])["table.csv"]) == [
        ["a", "b"],
        ["1", "2"],
        ["3", "4"],
        [],
        ["c", "d"],
        ["5", "6"],
    ]
    assert cells(call("table.convert", [put("t.md", source)], table=3)["table.csv"]) == [
        ["c", "d"],
        ["5", "6"],
    ]


@pytest.mark.parametrize("params", [{}, {"table": 1}])
def test_a_document_without_a_table_is_refused(put: Put, call: Call, params: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        call("table.convert", [put("letter.txt", b"Dear all,\n\nno table here.\n")], **params)
    assert caught.value.code == "E_NO_TABLE"
    assert "letter.txt" in caught.value.message


def test_prose_in_a_pdf_is_no_table() -> None:
    assert (
        tables_of(read_document("a.pdf", pdf_bytes((("Some words in a line.", "And some more of them."),))))
        == []
    )
