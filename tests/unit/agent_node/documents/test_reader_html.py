"""Reading HTML: what a person sees, with the numbers of the source's lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.documents.read import read_document
from agent_node.documents.read_html import read_html
from agent_node.documents.text import Unit


def units(source: str) -> list[Unit]:
    return read_html(source)[0]


def shown(source: str) -> list[tuple[int, str]]:
    return [(unit.n, unit.text) for unit in units(source)]


def test_text_keeps_the_line_numbers_of_the_source() -> None:
    assert shown("<html>\n<body>\n<p>One\ntwo <b>three</b>\n</p><p>four</p>") == [
        (3, "One"),
        (4, "two three"),
        (5, "four"),
    ]


def test_scripts_styles_and_comments_are_not_shown() -> None:
    source = "<style>p {}</style><script>if (a < b) { x = '</p>' }</script><!-- <p>no</p> --><p>yes</p><noscript>maybe</noscript>"
    assert shown(source) == [(1, "yes"), (1, "maybe")]


def test_entities_are_replaced() -> None:
    assert shown("<p>5 &lt; 6 &amp; caf&eacute; &#8364;&nbsp;10</p>") == [(1, "5 < 6 & café € 10")]


def test_paragraphs_are_blocks_and_lines_of_one_paragraph_share_theirs() -> None:
    blocks = [unit.block for unit in units("<p>a\nb</p><p>c</p><div>d<br>e</div>")]
    assert blocks[0] == blocks[1]
    assert blocks[3] == blocks[4]
    assert len(set(blocks)) == 3


def test_preformatted_text_keeps_its_blanks() -> None:
    assert shown("<pre>a   b\n  c</pre>") == [(1, "a   b"), (2, "  c")]


def test_headings_have_their_level() -> None:
    assert [(unit.text, unit.heading) for unit in units("<h1>A</h1><p>b</p><h3>C</h3>")] == [
        ("A", 1),
        ("b", 0),
        ("C", 3),
    ]


def test_links_are_kept_beside_the_text() -> None:
    source = "<p>See <a class=x href='https://a.example/x?y=1&amp;z=2'>this</a>, <a href=/local>that</a> and <a href=\"mailto:a@b.example\">me</a></p>"
    assert [(unit.text, unit.links) for unit in units(source)] == [
        ("See this, that and me", ("https://a.example/x?y=1&z=2", "mailto:a@b.example"))
    ]


def test_a_table_row_is_one_unit_with_cells() -> None:
    source = (
        "<table>\n<tr><th>When<th>What\n<tr>\n<td>1 May</td>\n<td><p>Two</p><p>words</p></td></tr></table>"
    )
    assert [(unit.n, unit.cells, unit.table) for unit in units(source)] == [
        (2, ("When", "What"), 1),
        (3, ("1 May", "Two words"), 1),
    ]


def test_a_table_that_is_only_layout_is_read_as_text() -> None:
    source = (
        "<table><tr><td><table><tr><td>a</td><td>b</td></tr></table></td><td><p>long</p></td></tr></table>"
    )
    assert all(not unit.cells for unit in units(source))
    assert {"a", "b", "long"} <= {word for unit in units(source) for word in unit.text.split()}


def test_the_declared_encoding_of_a_page_is_used() -> None:
    page = '<html><head><meta charset="iso-8859-2"></head><body><p>Łódź</p></body></html>'.encode(
        "iso-8859-2"
    )
    assert read_document("a.html", page).units[-1].text == "Łódź"


def test_a_page_without_the_suffix_is_recognised_by_its_content() -> None:
    assert read_document("download", b"<!DOCTYPE html><p>Hello</p>").media_type == "text/html"


def test_an_unclosed_tag_ends_the_page_and_is_told() -> None:
    found, warnings = read_html("<p>before</p><a href='x")
    assert [unit.text for unit in found] == ["before"]
    assert warnings == ("a tag is not closed: what follows it was not read",)


@pytest.mark.parametrize(
    "piece", ["<div>", "<", "<a ", "<!--", "<b x='", "<table><tr><td>", "&", "<script>", "</p>"]
)
def test_hostile_markup_is_read_in_linear_time(piece: str) -> None:
    # 400,000 characters; anything worse than linear runs into the time limit of the test.
    read_html(piece * (400_000 // len(piece)))


def test_a_very_deep_page_is_read() -> None:
    assert shown("<div>" * 100_000 + "deep" + "</div>" * 100_000) == [(1, "deep")]


@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "</p>",
                "<td>",
                "<tr>",
                "<table>",
                "</table>",
                "<a href='http://x.example'>",
                "<pre>",
                "text",
                "\n",
                "<br>",
                "<",
                ">",
                "&amp;",
                "'",
                '"',
                "<!--",
                "-->",
                "<h2>",
                "</h2>",
            ]
        ),
        max_size=60,
    )
)
def test_any_markup_is_read_with_lines_that_exist(pieces: list[str]) -> None:
    source = "".join(pieces)
    for unit in units(source):
        assert 1 <= unit.n <= source.count("\n") + 1
