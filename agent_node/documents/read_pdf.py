"""Reader of PDF: the text of each page, by pypdf.

One unit a page (more when a page is enormous, all with the page's number). A page is one block, since PDF does not say where a
paragraph ends. Damaged pages are skipped and named in a warning; a document without any text is refused with
the likely reason, a scan. Link annotations are kept beside the text.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import DocumentError
from .files import clean_text
from .text import MAX_TEXT_CHARS, Unit, cut

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

__all__ = ["MAX_PAGES", "read_pdf"]

MAX_PAGES = 3_000
"""Most pages of one PDF."""

MAX_PAGE_CHARS = 1_000_000
"""Most text on one page, in characters: a printed page has 5,000; what is over this comes from a broken or hostile file."""

MAX_PAGE_OPERATIONS_BYTES = 16 * 1024 * 1024
"""Largest drawing program of a page, in bytes after unpacking: pypdf interprets about 1 MB a second."""

_SPACES = re.compile(r"[ \t\u00a0]+")
_LINKS = ("http://", "https://", "ftp://", "mailto:")
_MAX_LINKS_A_PAGE = 500


def read_pdf(
    name: str, data: bytes, progress: Callable[[float], None] = lambda _: None
) -> tuple[list[Unit], tuple[str, ...]]:
    """The units of a PDF and warnings; `progress` is called with the fraction done after each page.

    Raises:
        DocumentError: `E_ENCRYPTED` when it needs a password, `E_NO_TEXT` when no page has text, `E_TOO_LARGE` when it has more than
            `MAX_PAGES` pages or unpacks to too much, `E_UNREADABLE` when it is damaged.
    """
    from pypdf.errors import PyPdfError  # 100 ms: only when there is a PDF

    # pypdf tells of every oddity of a file through logging; what matters is reported as a warning below.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        pages = _open(name, data)
    except PyPdfError as error:
        raise _damaged(name, error) from None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        AssertionError,
        RecursionError,
        OverflowError,
    ) as error:
        raise _damaged(name, error) from None
    units: list[Unit] = []
    warnings: list[str] = []
    total = 0
    for n, page in enumerate(pages, 1):
        try:
            text = _page_text(page)
            links = _page_links(page)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - pypdf meets damaged files with whatever its arithmetic raises; it costs one page
            warnings.append(f"page {n} could not be read ({type(error).__name__})")
            continue
        if len(text) > MAX_PAGE_CHARS:
            warnings.append(
                f"page {n} has {len(text):,} characters; only the first {MAX_PAGE_CHARS:,} were read"
            )
            text = text[:MAX_PAGE_CHARS]
        total += len(text)
        if total > MAX_TEXT_CHARS:
            raise DocumentError(
                "E_TOO_LARGE", f"{name} has more than {MAX_TEXT_CHARS:,} characters of text.", "Split it."
            )
        if text or links:
            units.extend(
                Unit("page", n, part, n, links=links if index == 0 else ())
                for index, part in enumerate(cut(text))
            )
        progress(n / len(pages))
    if not any(unit.text for unit in units):
        raise _no_text(name, len(pages), warnings)
    return units, tuple(warnings)


def _open(name: str, data: bytes) -> list[PageObject]:
    from pypdf import PasswordType, PdfReader

    reader: PdfReader = PdfReader(io.BytesIO(data), strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise DocumentError(
            "E_ENCRYPTED",
            f"{name} is locked with a password.",
            "Save a copy without a password (print to PDF, or `qpdf --decrypt`) and run again.",
        )
    count = len(reader.pages)
    if count > MAX_PAGES:
        raise DocumentError(
            "E_TOO_LARGE",
            f"{name} has {count:,} pages; the most that is read is {MAX_PAGES:,}.",
            "Split it into parts.",
        )
    return list(reader.pages)


def _page_text(page: PageObject) -> str:
    contents = page.get_contents()
    if contents is not None and len(contents.get_data()) > MAX_PAGE_OPERATIONS_BYTES:
        raise ValueError("drawing program too large")
    lines = (
        _SPACES.sub(" ", line).strip()
        for line in clean_text(page.extract_text()).replace("\0", "").splitlines()
    )
    return "\n".join(line for line in lines if line)


def _page_links(page: PageObject) -> tuple[str, ...]:
    found: list[str] = []
    for reference in (page.get("/Annots") or ())[:_MAX_LINKS_A_PAGE]:
        annotation: Any = reference.get_object()
        action: Any = annotation.get("/A") if hasattr(annotation, "get") else None
        action = action.get_object() if action is not None else None
        target = action.get("/URI") if hasattr(action, "get") else None
        if target is not None:
            text = clean_text(
                target.decode("utf-8", "replace") if isinstance(target, bytes) else str(target)
            ).strip()
            # A URI is 7-bit ASCII (ISO 32000-1, 12.6.4.7); anything else in it was damaged on the way.
            if text.isascii() and text.lower().startswith(_LINKS) and text not in found:
                found.append(text)
    return tuple(found)


def _damaged(name: str, error: Exception) -> DocumentError:
    from pypdf.errors import DependencyError, LimitReachedError

    if isinstance(error, LimitReachedError):
        return DocumentError(
            "E_TOO_LARGE",
            f"{name} unpacks to more than is allowed: {error}.",
            "Print it to a new PDF, or leave it out.",
        )
    if isinstance(error, DependencyError):
        return DocumentError(
            "E_ENCRYPTED",
            f"{name} is encrypted in a way that cannot be read here: {error}.",
            "Save a copy without encryption.",
        )
    detail = str(error).strip().rstrip(".") or type(error).__name__
    return DocumentError(
        "E_UNREADABLE",
        f"{name} is a damaged PDF: {detail}.",
        "Open it in a viewer and print it to a new PDF, then run again.",
    )


def _no_text(name: str, pages: int, warnings: list[str]) -> DocumentError:
    if warnings:
        return DocumentError(
            "E_UNREADABLE",
            f"{name}: no text could be read; {'; '.join(warnings[:3])}.",
            "Open it in a viewer and print it to a new PDF, then run again.",
        )
    what = f"{pages} page{'s' if pages != 1 else ''} but no text"
    return DocumentError(
        "E_NO_TEXT",
        f"{name} has {what}: it is probably a scan.",
        "Run it through OCR first (for example `ocrmypdf`).",
    )
