"""The capability report.assemble: the report that the person reads."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from agent_node.documents.errors import DocumentError
from agent_node.documents.files import InputFile, canonical_json
from agent_node.documents.markdown import escape
from agent_node.documents.report import report_assemble
from agent_node.documents.report_text import MAX_A_MONTH

from .conftest import Call, Put

LETTER = b"""On 3 March 2024 we paid $5 for the bread that the town needed so much.

The bakery asked for EUR 7.50 on 9 April 2024, which nobody in the town had expected. Write to x@y.example.
"""


@pytest.fixture
def parts(put: Put, call: Call) -> list[InputFile]:
    files = []
    for name, data in {"letter.txt": LETTER, "list.csv": b"date,amount (EUR)\n2024-03-01,10.00\n"}.items():
        text = put("text.json", call("doc.read", [put(name, data)])["text.json"])
        files += [
            put("rows.json", call("text.extract", [text])["rows.json"]),
            put("summary.json", call("text.summarize", [text])["summary.json"]),
            put("keywords.json", call("text.keywords", [text])["keywords.json"]),
        ]
    return files


def report(call: Call, files: list[InputFile], **params: Any) -> str:
    return call("report.assemble", files, **params)["report.md"].decode("utf-8")


def test_the_report_tells_title_goal_and_counts(parts: list[InputFile], call: Call) -> None:
    text = report(call, parts, title="Payments", goal="Find every date")
    assert text.startswith(
        "# Payments\n\n> Find every date\n\n2 documents read. Found: 3 dates, 3 amounts, 1 e-mail address, 0 links.\n"
    )
    assert "| letter.txt | text | 2 | 2 | 1 | 0 |" in text


def test_the_months_are_a_table_with_sums_by_currency(parts: list[InputFile], call: Call) -> None:
    text = report(call, parts)
    assert "| March 2024 | 2 | 2 | EUR 10.00 + USD 5.00 | letter.txt, list.csv |" in text
    assert "| April 2024 | 1 | 1 | EUR 7.50 | letter.txt |" in text


def test_every_statement_is_cited(parts: list[InputFile], call: Call) -> None:
    text = report(call, parts)
    items = [line for line in text.split("\n") if line.startswith("- ")]
    assert len(items) > 8
    assert all(line.endswith("\\]") and "\\[" in line for line in items)
    assert "nobody in the town had expected. \\[letter.txt, line 3\\]" in text
    assert "\\[list.csv, line 2\\]" in text


def test_skipped_files_are_named_with_the_reason(parts: list[InputFile], call: Call) -> None:
    skipped = [{"name": "z.bin", "why": "it is not text"}, {"name": "a.pdf", "why": "it is locked | really"}]
    text = report(call, parts, skipped=skipped)
    assert "2 documents read, 2 skipped." in text
    assert text.endswith(
        "| File | Why |\n| --- | --- |\n| a.pdf | it is locked \\| really |\n| z.bin | it is not text |\n"
    )


def test_the_report_is_the_same_in_every_order_of_inputs(parts: list[InputFile], call: Call) -> None:
    skipped = [{"name": "b", "why": "x"}, {"name": "a", "why": "y"}]
    first = report(call, parts, skipped=skipped)
    for files in itertools.islice(itertools.permutations(parts), 0, 720, 37):
        assert report(call, list(files), skipped=skipped[::-1]) == first


def test_inputs_given_twice_change_nothing(parts: list[InputFile], call: Call) -> None:
    assert report(call, parts + parts) == report(call, parts)


def test_a_table_alone_makes_a_report_by_month(parts: list[InputFile], put: Put, call: Call) -> None:
    table = call("table.assemble", [parts[0], parts[3]])["table.json"]
    text = report(call, [put("table.json", table)])
    assert "| March 2024 | 2 | 2 | EUR 10.00 + USD 5.00 | letter.txt, list.csv |" in text
    assert "2 documents read." in text


def test_no_inputs_make_a_report_that_says_so(call: Call) -> None:
    assert report(call, []) == "# Report\n\n0 documents read.\n"


def test_a_long_month_is_cut_and_says_so(put: Put, call: Call) -> None:
    data = "\n\n".join(f"2024-03-{day:02d} {n}" for n in range(3) for day in range(1, 32)).encode()
    text = put("text.json", call("doc.read", [put("a.txt", data)])["text.json"])
    made = report(call, [put("rows.json", call("text.extract", [text])["rows.json"])])
    assert f"- and {93 - MAX_A_MONTH} more, in table.csv" in made


def test_markup_in_a_document_does_not_become_markup_of_the_report(put: Put, call: Call) -> None:
    data = b"<script>alert(1)</script> **bold** [x](javascript:1) | ![i](http://i.example/t.png) `c` $5 and 2024-03-03"
    text = put("text.json", call("doc.read", [put("<b>a|b</b>.txt", data)])["text.json"])
    made = report(
        call, [put("rows.json", call("text.extract", [text])["rows.json"])], title="<i>T</i>", goal="*g*\n# h"
    )
    for line in made.split("\n"):
        bare = (
            line.replace("\\<", "")
            .replace("\\[", "")
            .replace("\\]", "")
            .replace("\\`", "")
            .replace("\\*", "")
        )
        assert "<" not in bare
        assert "](" not in bare.replace("](", "](") or "\\](" in line
    assert made.startswith("# \\<i\\>T\\</i\\>\n\n> \\*g\\* \\# h\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", "a\\|b"),
        ("1. x", "1\\. x"),
        ("+ x", "\\+ x"),
        ("- x", "\\- x"),
        ("a & <b>", "a &amp; \\<b\\>"),
        ("a\n b", "a b"),
        ("a\\b", "a\\\\b"),
    ],
)
def test_text_is_escaped_for_markdown(text: str, expected: str) -> None:
    assert escape(text) == expected


@pytest.mark.parametrize(
    "params",
    [
        {"title": 5},
        {"skipped": "x"},
        {"skipped": [{"name": "x"}]},
        {"skipped": [7]},
        {"goal": None},
        {"unknown": 1},
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        report_assemble(params, [], lambda what, done: None)
    assert caught.value.code == "E_PARAMS"


@pytest.mark.parametrize(
    "value",
    [
        {"schema": "zwerm.text/1"},
        {"schema": "zwerm.summary/1", "source": "a", "sentences": [{"text": "x"}]},
        {"schema": "zwerm.summary/1", "source": "a", "sentences": [{"text": "x", "at": {"line": "1"}}]},
        {"schema": "zwerm.summary/1", "source": "a", "sentences": [{"text": 1, "at": {"line": 1}}]},
        {"schema": "zwerm.keywords/1", "source": "a", "keywords": [{"phrase": 1}]},
        {"schema": "zwerm.keywords/1", "keywords": []},
        {"schema": "zwerm.table/1", "documents": ["a"], "by_month": [{}]},
        {"schema": "zwerm.table/1", "documents": [1], "by_month": []},
        {"schema": "zwerm.rows/1", "source": "a", "rows": 1},
    ],
)
def test_an_input_that_is_not_as_it_should_be_is_refused(put: Put, value: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        report_assemble({}, [put("x.json", canonical_json(value))], lambda what, done: None)
    assert caught.value.code == "E_INPUT"
