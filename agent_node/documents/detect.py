"""What kind of document some bytes are, and the text that they spell.

The content decides and the name only settles ties (Markdown, CSV and plain text cannot be told apart by content). Text is UTF-8 unless a
byte order mark, an HTML declaration or the pattern of its bytes says otherwise; then Windows-1252 is assumed, and the person is told.
There is no statistical guessing: two nodes must read the same text from the same bytes, whatever versions of libraries they have.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import codecs
import re
from pathlib import PurePath

from .errors import DocumentError
from .files import clean_text

__all__ = ["DOCX", "HTML", "MARKDOWN", "PDF", "PLAIN", "TABLE", "decode", "media_type"]

PLAIN = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
TABLE = "text/csv"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_BY_SUFFIX = {
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".mkd": MARKDOWN,
    ".csv": TABLE,
    ".tsv": TABLE,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
}

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", "Text in pictures is not read; give the text itself."),
    (b"\xff\xd8\xff", "a JPEG picture", "Text in pictures is not read; give the text itself."),
    (b"GIF8", "a GIF picture", "Text in pictures is not read; give the text itself."),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file (.doc, .xls)", "Save it as .docx, PDF or CSV."),
    (b"{\\rtf", "an RTF document", "Save it as .docx, PDF or plain text."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"BZh", "a bzip2 archive", "Unpack it first."),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (b"\x7fELF", "a program", "Leave it out."),
    (b"SQLite format 3\0", "an SQLite database", "Export what you need as CSV."),
    (b"%!PS", "a PostScript file", "Convert it to PDF."),
)
"""Beginnings of files that people give by mistake: (first bytes, what it is, what to do)."""

_HTML_START = re.compile(
    rb"\A\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})|<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{1,40})",
    re.IGNORECASE,
)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

_MAX_CONTROL_SHARE = 0.01
"""More control characters than this share and it is no text: documents have form feeds and tabs, hardly anything else."""

_MIN_UTF8_SHARE = 0.9
"""Text is taken for damaged UTF-8 rather than Windows-1252 when so much of what is not ASCII is well-formed UTF-8."""


def media_type(name: str, data: bytes) -> str:
    """The media type of a document by its content, and by its name where content cannot tell.

    Raises:
        DocumentError: `E_FORMAT` for a kind that is known and not read; `E_BINARY` for bytes that are no document.
    """
    head = data[:1024]
    if b"%PDF-" in head:
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if b"word/" in data:
            return DOCX
        raise DocumentError(
            "E_FORMAT",
            f"{name} is a ZIP archive or an Office file, but no Word document (.docx).",
            "Unpack an archive; save spreadsheets as CSV and slides as PDF.",
        )
    for magic, what, hint in _MAGIC:
        if head.startswith(magic):
            raise DocumentError("E_FORMAT", f"{name} is {what}, which is not read.", hint)
    suffix = PurePath(name).suffix.lower()
    if suffix in {".pdf", ".docx"}:
        raise DocumentError(
            "E_UNREADABLE",
            f"{name} is called {suffix} but its content is not that kind of file.",
            "Check that it was saved or downloaded completely.",
        )
    if _HTML_START.match(data[:8192]):
        return HTML
    return _BY_SUFFIX.get(suffix, PLAIN)


def decode(name: str, data: bytes, kind: str = PLAIN) -> tuple[str, tuple[str, ...]]:
    """The text in `data` and warnings about how it was found; newlines are LF.

    Raises:
        DocumentError: `E_BINARY` when it is no text, `E_ENCODING` when it is text in an encoding that cannot be found out.
    """
    text, warnings = _decode(name, data, kind)
    text = clean_text(text).replace("\r\n", "\n").replace("\r", "\n")
    controls = len(_CONTROLS.findall(text[:1_000_000]))
    if controls > max(8, len(text[:1_000_000]) * _MAX_CONTROL_SHARE):
        raise DocumentError(
            "E_BINARY",
            f"{name} is not text: {controls:,} control characters in its first {min(len(text), 1_000_000):,}.",
            "Leave it out, or convert it to a document first (txt, md, html, csv, pdf, docx).",
        )
    return (_CONTROLS.sub(" ", text) if controls else text), warnings


def _decode(name: str, data: bytes, kind: str) -> tuple[str, tuple[str, ...]]:
    marked = _by_mark(data)
    if marked is not None:
        return _strict(name, data, marked), ()
    nulls = data[:4096].count(0)
    if nulls:
        return _strict(name, data, _utf16_without_mark(name, data, nulls)), (
            "UTF-16 without a byte order mark",
        )
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        pass
    if kind == HTML and (declared := _declared(data)) is not None:
        return data.decode(declared, "replace"), ()
    high = sum(1 for byte in data if byte >= 0x80)
    multibyte = sum(len(match) for match in _MULTIBYTE.findall(data))
    if multibyte >= high * _MIN_UTF8_SHARE:
        text = data.decode("utf-8", "replace")
        lost = text.count("�") - data.count(b"\xef\xbf\xbd")
        return text, (
            f"damaged UTF-8: {lost} character{'s' if lost != 1 else ''} could not be read and show as �",
        )
    return _western(name, data, high), ("not UTF-8: read as Windows-1252",)


def _by_mark(data: bytes) -> str | None:
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return codec
    return None


def _strict(name: str, data: bytes, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise DocumentError(
            "E_ENCODING",
            f"{name} begins like {codec.upper()} but breaks its rules at byte {error.start:,}.",
            "It is damaged or cut off: save it again as UTF-8.",
        ) from None


def _utf16_without_mark(name: str, data: bytes, nulls: int) -> str:
    """Zeros at every second byte are UTF-16 of Western text; zeros anywhere else are no text at all."""
    sample = data[:4096]
    odd, even = sample[1::2].count(0), sample[0::2].count(0)
    if nulls > len(sample) * 0.3 and min(odd, even) * 20 < max(odd, even) and len(data) % 2 == 0:
        return "utf-16-le" if odd > even else "utf-16-be"
    raise DocumentError(
        "E_BINARY",
        f"{name} is not text: it has {nulls:,} zero bytes in its first {len(sample):,}.",
        "Leave it out, or convert it to a document first (txt, md, html, csv, pdf, docx).",
    )


def _declared(data: bytes) -> str | None:
    found = _CHARSET.search(data[:4096])
    if found is None:
        return None
    label = (found[1] or found[2]).decode("ascii", "replace").lower()
    try:
        info = codecs.lookup(
            "cp1252" if label in {"iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii"} else label
        )
    except LookupError:
        return None
    # `_is_text_encoding` is what bytes.decode itself asks: "hex" and "zip" are codecs too.
    return info.name if info._is_text_encoding else None  # noqa: SLF001


def _western(name: str, data: bytes, high: int) -> str:
    """Windows-1252, if what it makes of the bytes looks like Western text: letters and typographic marks among ASCII."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = ""
    likely = sum(
        1
        for char in text
        if char > "\x7f" and (char.isalpha() or char in "‘’‚‹›„“”–—…•€£©®°§«»·\xa0½¼¾²³±×´¡¿ºª¹µ™")
    )
    if not text or high > len(data) * 0.4 or likely < high * 0.9:
        raise DocumentError(
            "E_ENCODING",
            f"{name} is text in an encoding that could not be found out: neither UTF-8 nor a Western one.",
            "Save it again as UTF-8.",
        )
    return text
