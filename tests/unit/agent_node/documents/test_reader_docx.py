"""Reading Word documents, and archives that mean harm."""

from __future__ import annotations

import io
import zipfile

import pytest

from agent_node.documents.errors import DocumentError
from agent_node.documents.read import read_document
from agent_node.documents.samples.make import docx_bytes
from agent_node.documents.text import TextDocument

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def archive(parts: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as target:
        for name, content in parts.items():
            target.writestr(name, content)
    return out.getvalue()


def read(body: str, **more: str) -> TextDocument:
    parts: dict[str, str | bytes] = {
        "word/document.xml": f"<w:document {W} {R} {MC}><w:body>{body}</w:body></w:document>"
    }
    return read_document(
        "a.docx", archive(parts | {f"word/{name.replace('__', '/')}": text for name, text in more.items()})
    )


def p(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def refusal(data: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read_document("a.docx", data)
    assert "a.docx" in caught.value.message
    assert caught.value.hint
    return caught.value


def test_paragraphs_are_numbered_and_empty_ones_are_not_counted() -> None:
    units = read(p("One") + "<w:p/>" + p("Two")).units
    assert [(unit.kind, unit.n, unit.text) for unit in units] == [
        ("paragraph", 1, "One"),
        ("paragraph", 2, "Two"),
    ]


def test_runs_tabs_and_breaks_make_one_line() -> None:
    body = "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r></w:p>"
    assert read(body).units[0].text == "a b c-d"


def test_headings_are_known_by_their_style() -> None:
    body = '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>Part</w:t></w:r></w:p>' + p("text")
    assert [unit.heading for unit in read(body).units] == [2, 0]


def test_a_table_row_is_one_unit_with_cells() -> None:
    def row(*cells: str) -> str:
        return "<w:tr>" + "".join(f"<w:tc>{p(cell)}</w:tc>" for cell in cells) + "</w:tr>"

    units = read(p("before") + "<w:tbl>" + row("a", "b") + row("1", "2") + "</w:tbl>" + p("after")).units
    assert [(unit.n, unit.text, unit.cells, unit.table) for unit in units] == [
        (1, "before", (), 0),
        (2, "a | b", ("a", "b"), 1),
        (3, "1 | 2", ("1", "2"), 1),
        (4, "after", (), 0),
    ]


def test_links_by_relationship_and_by_field_are_kept() -> None:
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="rId1" TargetMode="External" Target="https://a.example/x"/>'
        '<Relationship Id="rId2" Target="media/image.png"/></Relationships>'
    )
    body = (
        '<w:p><w:hyperlink r:id="rId1" w:anchor="part"><w:r><w:t>here</w:t></w:r></w:hyperlink>'
        '<w:hyperlink r:id="rId2"><w:r><w:t>there</w:t></w:r></w:hyperlink>'
        '<w:r><w:instrText> HYPERLINK "mailto:a@b.example" </w:instrText></w:r></w:p>'
    )
    unit = read(body, **{"_rels__document.xml.rels": relations}).units[0]
    assert unit.links == ("https://a.example/x#part", "mailto:a@b.example")
    assert unit.text == "herethere"


def test_what_is_said_twice_for_old_programs_is_read_once() -> None:
    body = f"<w:p><mc:AlternateContent><mc:Choice><w:r><w:t>once</w:t></w:r></mc:Choice><mc:Fallback><w:r><w:t>twice</w:t></w:r></mc:Fallback></mc:AlternateContent></w:p>{p('end')}"
    assert [unit.text for unit in read(body).units] == ["once", "end"]


def test_deleted_text_of_tracked_changes_is_left_out() -> None:
    assert (
        read(
            "<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
        )
        .units[0]
        .text
        == "new"
    )


def test_footnotes_follow_the_text() -> None:
    notes = f"<w:footnotes {W}><w:footnote>{p('a note')}</w:footnote></w:footnotes>"
    assert [unit.text for unit in read(p("text"), **{"footnotes.xml": notes}).units] == ["text", "a note"]


def test_a_zip_bomb_is_refused_before_it_unpacks() -> None:
    bomb = archive({"word/document.xml": f"<w:document {W}><w:body>".encode() + b" " * 300_000_000})
    assert len(bomb) < 1_000_000
    assert refusal(bomb).code == "E_TOO_LARGE"


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE w [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        "<!DOCTYPE w>",
    ],
)
def test_xml_with_a_dtd_is_refused(prologue: str) -> None:
    content = f"<?xml version='1.0'?>{prologue}<w:document {W}><w:body>{p('x')}</w:body></w:document>"
    assert refusal(archive({"word/document.xml": content})).code == "E_UNSAFE"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (docx_bytes((("", "text"),))[:-30], "E_UNREADABLE"),
        (archive({"word/document.xml": "<w:document"}), "E_UNREADABLE"),
        (archive({"word/styles.xml": "<x/>"}), "E_FORMAT"),
        (archive({"word/document.xml": f"<w:document {W}><w:body/></w:document>"}), "E_NO_TEXT"),
    ],
)
def test_a_damaged_or_empty_word_file_is_refused(data: bytes, code: str) -> None:
    assert refusal(data).code == code


def test_changed_bytes_inside_the_archive_are_noticed() -> None:
    data = bytearray(
        archive(
            {"word/document.xml": f"<w:document {W}><w:body>{p('some text in here')}</w:body></w:document>"},
            zipfile.ZIP_STORED,
        )
    )
    data[data.index(b"some text")] ^= 1
    assert refusal(bytes(data)).code == "E_UNREADABLE"
