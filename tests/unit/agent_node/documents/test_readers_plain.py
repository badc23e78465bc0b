"""Reading plain text, Markdown and CSV, in the encodings that people's files have."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.errors import CODES, DocumentError
from agent_node.documents.read import read_document
from agent_node.documents.text import MAX_UNIT_CHARS


def lines(name: str, data: bytes) -> list[tuple[int, str]]:
    return [(unit.n, unit.text) for unit in read_document(name, data).units]


def refusal(name: str, data: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read_document(name, data)
    assert caught.value.code in CODES
    assert name in caught.value.message
    assert caught.value.hint
    return caught.value


def test_lines_keep_the_numbers_an_editor_shows() -> None:
    assert lines("a.txt", b"first\n\n\nfourth\r\nfifth\rsixth") == [
        (1, "first"),
        (4, "fourth"),
        (5, "fifth"),
        (6, "sixth"),
    ]


def test_a_blank_line_ends_a_block_and_a_list_item_begins_one() -> None:
    units = read_document(
        "a.txt", b"one\ntwo\n\nthree\n- item\n- item\n2024-03-03 10:15 a line of a log\n"
    ).units
    assert [unit.block for unit in units] == [1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Café – 5 €".encode(), "Café – 5 €"),
        (codecs.BOM_UTF8 + "Café".encode(), "Café"),
        ("Café – 5 €".encode("utf-16"), "Café – 5 €"),
        ("plain words".encode("utf-16-le"), "plain words"),
        ("plain words".encode("utf-16-be"), "plain words"),
        ("Größe: 5 € – „ja“".encode("cp1252"), "Größe: 5 € – „ja“"),
    ],
)
def test_text_in_common_encodings_is_read(data: bytes, expected: str) -> None:
    assert lines("a.txt", data) == [(1, expected)]


def test_a_guessed_encoding_is_told() -> None:
    assert read_document("a.txt", "Müller schrieb aus Köln".encode("cp1252")).warnings == (
        "not UTF-8: read as Windows-1252",
    )


def test_damaged_utf8_is_read_around_the_damage_and_told() -> None:
    document = read_document(
        "a.txt", "naïve café, über".encode() + b"\xff" + "ça va très bien, merci".encode()
    )
    assert "café" in document.units[0].text
    assert "�" in document.units[0].text
    assert document.warnings == ("damaged UTF-8: 1 character could not be read and show as �",)


def test_text_in_an_unknown_encoding_is_refused() -> None:
    assert refusal("a.txt", "Привет, как дела".encode("koi8-r")).code == "E_ENCODING"


def test_cut_off_utf16_is_refused() -> None:
    assert refusal("a.txt", "word".encode("utf-16") + b"\x00").code == "E_ENCODING"


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 8, b"text\x00\x01\x02" * 50, b"\x01\x02\x03\x04\x05" * 100]
)
def test_binary_content_is_refused(data: bytes) -> None:
    assert refusal("a.txt", data).code == "E_BINARY"


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n....",
        b"\x1f\x8b\x08...",
        b"PK\x03\x04 no word in it",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    ],
)
def test_known_files_that_are_no_documents_are_named(data: bytes) -> None:
    assert refusal("report.txt", data).code == "E_FORMAT"


@pytest.mark.parametrize("name", ["a.pdf", "a.docx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str) -> None:
    assert refusal(name, b"<html>not found</html>").code == "E_UNREADABLE"


def test_a_very_long_line_is_cut_into_parts_with_one_number() -> None:
    document = read_document("a.txt", b"word " * 100_000)
    assert {unit.n for unit in document.units} == {1}
    assert max(len(unit.text) for unit in document.units) <= MAX_UNIT_CHARS
    assert "".join(unit.text for unit in document.units).split() == ["word"] * 100_000


def test_markdown_headings_items_and_tables_are_recognised() -> None:
    source = b"# Title\n\ntext\nmore\n- item\n\n| a | b \\| c |\n|---|:-:|\n| 1 | 2 |\n\nUnder\n=====\n\n```\n# no heading\n```\n"
    units = read_document("a.md", source).units
    assert [(unit.n, unit.heading) for unit in units if unit.heading] == [(1, 1), (11, 1)]
    assert [(unit.n, unit.cells) for unit in units if unit.cells] == [(7, ("a", "b | c")), (9, ("1", "2"))]
    assert [unit.n for unit in units] == [1, 3, 4, 5, 7, 9, 11, 15]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b\n1,2\n", ("1", "2")),
        ("a;b\n1,5;2\n", ("1,5", "2")),
        ("a\tb\n1, 2\t3\n", ("1, 2", "3")),
        ("a|b\n1|2\n", ("1", "2")),
        ('a,b\n"1,000.50",x\n', ("1,000.50", "x")),
    ],
)
def test_the_divider_of_a_csv_is_found(text: str, cells: tuple[str, ...]) -> None:
    assert read_document("a.csv", text.encode()).units[1].cells == cells


def test_a_csv_record_is_placed_at_the_line_it_starts_on() -> None:
    units = read_document("a.csv", b'a,b\n"two\nlines",x\n\nlast,y\n').units
    assert [(unit.n, unit.cells) for unit in units] == [
        (1, ("a", "b")),
        (2, ("two lines", "x")),
        (5, ("last", "y")),
    ]


def test_a_csv_field_without_end_is_refused() -> None:
    error = refusal("a.csv", b'a,b\n1,2\n"open,' + b"x" * 1_100_000)
    assert error.code == "E_UNREADABLE"
    assert "line 3" in error.message


@given(st.binary(max_size=400), st.sampled_from(["a.txt", "a.md", "a.csv", "a.html", "a"]))
def test_any_bytes_are_read_or_refused_with_a_known_code(data: bytes, name: str) -> None:
    code, units = None, ()
    try:
        units = read_document(name, data).units
    except DocumentError as error:
        code = error.code
    assert bool(units) is (code is None)
    assert code is None or code in CODES
    for unit in units:
        assert unit.n >= 1
        assert len(unit.text) <= MAX_UNIT_CHARS
        unit.text.encode("utf-8")


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
)
def test_a_line_of_text_comes_back_as_it_was(text: str) -> None:
    try:
        document = read_document("a.txt", ("x " + text).encode())
    except DocumentError:
        return
    assert document.units[0].text.split() == ("x " + text).split()
