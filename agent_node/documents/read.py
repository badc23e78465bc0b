"""The capability `doc.read`: one document in, `text.json` out.

Counterpart: everything else in this package reads what this writes (`text.load_text`). The reader is chosen by content; `read_document`
is the same without files, for use from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import detect
from .errors import DocumentError
from .files import InputFile, OutputFile, Progress, json_output, only_input, read_bytes
from .text import MAX_TEXT_CHARS, TextDocument, Unit

__all__ = ["doc_read", "read_document"]


def read_document(name: str, data: bytes, progress: Callable[[float], None] = lambda _: None) -> TextDocument:
    """The text of a document with its places.

    Args:
        name: as the person knows it; its suffix tells Markdown and CSV from plain text.
        data: the whole content.
        progress: called with the fraction done, for documents of many pages.

    Raises:
        DocumentError: see `errors.CODES`; `E_NO_TEXT` when nothing readable is in it.
    """
    kind = detect.media_type(name, data)
    warnings: tuple[str, ...] = ()
    if kind == detect.PDF:
        from .read_pdf import read_pdf

        units, warnings = read_pdf(name, data, progress)
    elif kind == detect.DOCX:
        from .read_docx import read_docx

        units, warnings = read_docx(name, data)
    else:
        text, warnings = detect.decode(name, data, kind)
        if len(text) > MAX_TEXT_CHARS:
            raise DocumentError(
                "E_TOO_LARGE", f"{name} has more than {MAX_TEXT_CHARS:,} characters.", "Split it."
            )
        units, more = _read_text(name, text, kind)
        warnings += more
    if not any(unit.text or unit.links for unit in units):
        raise DocumentError(
            "E_NO_TEXT", f"{name} has no readable text in it.", "Check that it is the file you meant."
        )
    return TextDocument(name, kind, tuple(units), warnings)


def _read_text(name: str, text: str, kind: str) -> tuple[list[Unit], tuple[str, ...]]:
    if kind == detect.HTML:
        from .read_html import read_html

        return read_html(text)
    from .read_plain import read_csv, read_markdown, read_plain

    if kind == detect.TABLE:
        return read_csv(name, text), ()
    return (read_markdown(text) if kind == detect.MARKDOWN else read_plain(text)), ()


def doc_read(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`doc.read`: read one txt, md, html, csv, pdf or docx; no parameters.

    Raises:
        DocumentError: see `read_document`; `E_INPUT` for more than one file, `E_PARAMS` for any parameter.
    """
    if params:
        raise DocumentError(
            "E_PARAMS",
            f"doc.read takes no parameters and was given {', '.join(sorted(params))}.",
            "Leave them out.",
        )
    file = only_input(inputs, "doc.read")
    progress("opening", 0.0)
    data = read_bytes(file)
    document = read_document(file.name, data, lambda done: progress("reading", 0.1 + 0.8 * done))
    progress("writing", 0.9)
    return [json_output("text.json", document.to_json())]
