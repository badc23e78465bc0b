"""Reading PDF: pages, and files that cannot be read."""

from __future__ import annotations

import io

import pypdf
import pytest
from pypdf.annotations import Link

from agent_node.documents.errors import DocumentError
from agent_node.documents.read import read_document
from agent_node.documents.samples.make import pdf_bytes


def refusal(data: bytes) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        read_document("a.pdf", data)
    assert caught.value.hint
    return caught.value


def written(writer: pypdf.PdfWriter) -> bytes:
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_each_page_is_a_unit_with_its_number() -> None:
    document = read_document("a.pdf", pdf_bytes((("One (1)", "line two"), (), ("Three",))))
    assert [(unit.kind, unit.n, unit.text) for unit in document.units] == [
        ("page", 1, "One (1)\nline two"),
        ("page", 3, "Three"),
    ]


def test_progress_is_told_page_by_page() -> None:
    seen: list[float] = []
    read_document("a.pdf", pdf_bytes((("One",), ("Two",), ("Three",), ("Four",))), seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_a_link_annotation_is_kept_beside_the_text() -> None:
    writer = pypdf.PdfWriter(io.BytesIO(pdf_bytes((("Read on",),))))
    writer.add_annotation(0, Link(rect=(0, 0, 9, 9), url="https://a.example/b"))
    writer.add_annotation(0, Link(rect=(0, 0, 9, 9), url="javascript:alert(1)"))
    assert read_document("a.pdf", written(writer)).units[0].links == ("https://a.example/b",)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_a_pdf_with_a_password_is_refused(algorithm: str) -> None:
    writer = pypdf.PdfWriter(io.BytesIO(pdf_bytes((("secret",),))))
    writer.encrypt("password", algorithm=algorithm)
    assert refusal(written(writer)).code == "E_ENCRYPTED"


def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    writer = pypdf.PdfWriter(io.BytesIO(pdf_bytes((("open to read",),))))
    writer.encrypt("", "owner", algorithm="AES-256")
    assert read_document("a.pdf", written(writer)).units[0].text == "open to read"


def test_a_scan_is_refused_with_the_way_to_text() -> None:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    error = refusal(written(writer))
    assert error.code == "E_NO_TEXT"
    assert "OCR" in error.hint


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7\n", b"%PDF-1.7\n" + b"garbage " * 100, pdf_bytes((("cut off",),))[:150]]
)
def test_a_damaged_pdf_is_refused(data: bytes) -> None:
    assert refusal(data).code in {"E_UNREADABLE", "E_NO_TEXT"}


def test_a_pdf_with_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_node.documents.read_pdf.MAX_PAGES", 2)
    assert refusal(pdf_bytes((("a",), ("b",), ("c",)))).code == "E_TOO_LARGE"


def test_an_enormous_page_is_cut_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_node.documents.read_pdf.MAX_PAGE_CHARS", 10)
    document = read_document("a.pdf", pdf_bytes((("0123456789abcdef",), ("short",))))
    assert [unit.text for unit in document.units] == ["0123456789", "short"]
    assert document.warnings == ("page 1 has 16 characters; only the first 10 were read",)


def test_one_damaged_page_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_node.documents.read_pdf.MAX_PAGE_OPERATIONS_BYTES", 120)
    document = read_document(
        "a.pdf", pdf_bytes((("fine",), tuple("a long page with many lines" for _ in range(20))))
    )
    assert [unit.n for unit in document.units] == [1]
    assert document.warnings == ("page 2 could not be read (ValueError)",)
