"""Makes the sample PDF and Word document, so that both are readable in the tree as what they say.

Run `python -m agent_node.documents.samples.make` after changing their texts; the files that it writes are committed beside it and a
test compares them. Both are written by hand, in the smallest form that viewers and word processors open.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

__all__ = ["OFFER", "QUOTE_PAGES", "docx_bytes", "pdf_bytes"]

QUOTE_PAGES = (
    (
        "Printing quotation Q-2291",
        "Merrow & Sons, printers, Bath",
        "",
        "To: Brightwater Studio Ltd., Bristol",
        "Date: 16 April 2025",
        "",
        "Thank you for asking us to quote for the exhibition panels. We offer to print",
        "24 panels of 120 by 180 cm on coated board for 1,980.00 GBP, and to pack them",
        "for transport for another 170.00 GBP. All prices are without VAT.",
        "",
        "Files must reach us by 6 May 2025. We print a proof of one panel first; a",
        "second proof, if the first is not approved, is free of charge.",
    ),
    (
        "Terms",
        "",
        "This quotation holds until 31 May 2025. Half of the sum, GBP 1,075.00, is due",
        "with the order and the rest within 30 days after delivery, at the latest on",
        "30 June 2025. After that we charge interest of 8 per cent a year.",
        "",
        "Delivery takes ten working days. If we are late by more than five working days,",
        "the price goes down by GBP 50.00 for each further day.",
        "",
        "Questions: orders@merrow.example, www.merrow.example/panels",
    ),
)
"""Lines of each page of quotation-printing.pdf."""

OFFER = (
    ("Title", "Offer: annual report 2025"),
    ("", "For Van Dijk & Zonen, attention of Mrs A. van Dijk (a.vandijk@vandijk-zonen.example)"),
    (
        "",
        "Brightwater Studio offers to design and lay out the annual report 2025, in Dutch and in English, 64 pages each.",
    ),
    ("Heading1", "Planning"),
    (
        "",
        "The work starts on 12 January 2026. A first layout follows on 2 February 2026 and the final files go to the printer on 20 March 2026.",
    ),
    ("", "Texts that arrive after 13 February 2026 move the last date by as many days as they are late."),
    ("Heading1", "Price"),
    (
        "table",
        (
            ("Part", "Price"),
            ("Design", "€ 4.200,00"),
            ("Layout, two languages", "€ 3.650,00"),
            ("Illustrations, six", "€ 1.140,00"),
        ),
    ),
    (
        "",
        "The total is € 8.990,00 without VAT. Changes after the second proof are charged at € 85,00 an hour.",
    ),
    (
        "",
        "This offer is valid until 15 December 2025. Our terms are those at https://brightwater.example/terms.",
    ),
)
"""Paragraphs of offer-annual-report.docx: (style, text), or ("table", rows)."""


def pdf_bytes(pages: tuple[tuple[str, ...], ...]) -> bytes:
    """A PDF of A4 pages with the given lines in Helvetica."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, lines in enumerate(pages):
        shown = (line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines)
        drawn = "BT /F1 11 Tf 15 TL 60 780 Td " + " ".join(f"({line}) Tj T*" for line in shown) + " ET"
        stream = drawn.encode("cp1252")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * index} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n".encode() + stream + b"\nendstream")
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    xref = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{offset:010d} 00000 n \n".encode() for offset in offsets)
    out.write(f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n".encode())
    return out.getvalue()


_TYPES = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml"'
    ' ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1"'
    ' Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
    "</Relationships>"
)


def _paragraph(style: str, text: str) -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{escape(text)}</w:t></w:r></w:p>'


def docx_bytes(paragraphs: tuple[tuple[str, object], ...]) -> bytes:
    """A Word document of the given paragraphs and tables; the same bytes every time (fixed time stamps, no compression)."""
    body = []
    for style, content in paragraphs:
        if isinstance(content, str):
            body.append(_paragraph(style, content))
        elif isinstance(content, tuple):
            rows = ("".join(f"<w:tc>{_paragraph('', cell)}</w:tc>" for cell in row) for row in content)
            body.append("<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in rows) + "</w:tbl>")
    document = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
        + "".join(body)
        + "<w:sectPr/></w:body></w:document>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, text in (
            ("[Content_Types].xml", _TYPES),
            ("_rels/.rels", _RELATIONS),
            ("word/document.xml", document),
        ):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


def main() -> None:
    """Write both files beside this module."""
    here = Path(__file__).parent
    (here / "quotation-printing.pdf").write_bytes(pdf_bytes(QUOTE_PAGES))
    (here / "offer-annual-report.docx").write_bytes(docx_bytes(OFFER))


if __name__ == "__main__":
    main()
