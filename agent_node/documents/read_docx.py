"""Reader of Word documents (.docx): paragraphs and table rows, by zipfile and expat.

A .docx is a ZIP of XML. Only the document part, its relationships (for links) and its notes are opened; each is read to a limit that
does not trust the sizes the archive declares, and any DTD is refused, so neither a ZIP bomb nor an entity bomb unpacks. Numbering: each
paragraph with text and each table row counts one, from 1, in the order of the document; footnotes and endnotes follow.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from .errors import DocumentError
from .files import clean_text
from .text import Unit, cut

__all__ = ["MAX_PART_BYTES", "read_docx"]

MAX_PART_BYTES = 64 * 1024 * 1024
"""Most bytes that one part (an XML file in the archive) may unpack to."""

MAX_RATIO = 200
"""Highest compression that is believed for a part over 1 MiB: XML of real documents packs 10 to 40 times."""

MAX_ENTRIES = 10_000
"""Most files in the archive."""

_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main "
_W_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main "
_HEADING = re.compile(r"(?:heading|title|titel|kop|berschrift|titre|t[ií]tulo)\D{0,3}(\d?)", re.IGNORECASE)
_HYPERLINK_FIELD = re.compile(r"HYPERLINK\s+\"([^\"]{1,2000})\"")
_LINKS = ("http://", "https://", "ftp://", "mailto:")


def read_docx(name: str, data: bytes) -> tuple[list[Unit], tuple[str, ...]]:
    """The units of a Word document and warnings.

    Raises:
        DocumentError: `E_UNREADABLE` when the archive or its XML is damaged, `E_ENCRYPTED` when it is locked, `E_TOO_LARGE` when it
            unpacks to too much, `E_UNSAFE` when it declares XML entities, `E_NO_TEXT` when there is no text in it.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise _damaged(name, str(error)) from None
    with archive:
        names = set(archive.namelist())
        if len(names) > MAX_ENTRIES:
            raise DocumentError(
                "E_TOO_LARGE",
                f"{name} has {len(names):,} files in it; no Word document has.",
                "Leave it out.",
            )
        main = _main_part(names)
        if main is None:
            raise DocumentError(
                "E_FORMAT",
                f"{name} is an archive without a Word document in it.",
                "Save it again as .docx, or unpack it.",
            )
        story = _Story(name)
        story.links = _targets(name, archive, names, main)
        story.parse(_part(name, archive, main))
        folder = posixpath.dirname(main)
        for notes in ("footnotes.xml", "endnotes.xml"):
            part = f"{folder}/{notes}"
            if part in names:
                story.links = _targets(name, archive, names, part)
                story.parse(_part(name, archive, part))
    if not story.units:
        raise DocumentError(
            "E_NO_TEXT",
            f"{name} has no text in it: it may hold only pictures.",
            "Run it through OCR first, or leave it out.",
        )
    return story.units, ()


def _main_part(names: set[str]) -> str | None:
    if "word/document.xml" in names:
        return "word/document.xml"
    return next((part for part in sorted(names) if re.fullmatch(r"word/document\d{0,3}\.xml", part)), None)


def _part(name: str, archive: zipfile.ZipFile, part: str) -> bytes:
    """A part's bytes, unpacked to a limit."""
    info = archive.getinfo(part)
    if info.flag_bits & 1:
        raise DocumentError(
            "E_ENCRYPTED", f"{name} is locked with a password.", "Save a copy without one and run again."
        )
    limit = MAX_PART_BYTES
    if info.compress_size * MAX_RATIO < MAX_PART_BYTES:
        limit = max(1 << 20, info.compress_size * MAX_RATIO)
    try:
        with archive.open(info) as stream:
            content = stream.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise _damaged(name, f"{part}: {error}") from None
    if len(content) > limit:
        raise DocumentError(
            "E_TOO_LARGE",
            f"{name}: {part} unpacks to more than {limit:,} bytes from {info.compress_size:,}; that is how a ZIP bomb looks.",
            "If the document is genuine, split it or save it as PDF.",
        )
    return content


def _damaged(name: str, detail: str) -> DocumentError:
    return DocumentError(
        "E_UNREADABLE",
        f"{name} is a damaged Word file ({detail}).",
        "Open it in a word processor and save it again.",
    )


def _refuse_dtd(name: str, parser: expat.XMLParserType) -> None:
    """Office XML has no DTD; entities are how XML bombs and file inclusion work."""

    def refuse(*_: object) -> NoReturn:
        raise DocumentError(
            "E_UNSAFE",
            f"{name} declares a DTD or XML entities, which no Word document does.",
            "Save it again in a word processor.",
        )

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse


def _targets(name: str, archive: zipfile.ZipFile, names: set[str], part: str) -> dict[str, str]:
    """Relationship id to outside target, for the hyperlinks of a part."""
    folder, base = posixpath.split(part)
    relations = f"{folder}/_rels/{base}.rels"
    if relations not in names:
        return {}
    found: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.endswith("Relationship") and attributes.get("TargetMode") == "External":
            found[attributes.get("Id", "")] = attributes.get("Target", "")

    parser = expat.ParserCreate()
    _refuse_dtd(name, parser)
    parser.StartElementHandler = start
    try:
        parser.Parse(_part(name, archive, relations), True)
    except expat.ExpatError as error:
        raise _damaged(name, f"{relations}: {error}") from None
    return found


@dataclass(slots=True)
class _Paragraph:
    pieces: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    heading: int = 0

    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


class _Story:
    """Walks the elements of a part. Paragraphs nest (text boxes), tables nest (only the outermost makes rows)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.units: list[Unit] = []
        self.links: dict[str, str] = {}
        self._open: list[_Paragraph] = []
        self._cells: list[list[_Paragraph]] | None = None
        self._depth = 0
        self._tables = 0
        self._skip = 0
        self._collect = False
        self._field: list[str] | None = None
        self._n = 0

    def parse(self, content: bytes) -> None:
        """Read one part."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        _refuse_dtd(self.name, parser)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise _damaged(self.name, str(error)) from None

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag.endswith(" Fallback"):  # mc:Fallback repeats what mc:Choice says, for old programs
            self._skip += 1
        if self._skip or not tag.startswith((_W, _W_STRICT)):
            return
        kind = tag.rpartition(" ")[2]
        if kind == "p":
            self._open.append(_Paragraph())
        elif kind == "tbl":
            self._tables += self._depth == 0
            self._depth += 1
        elif kind == "tr" and self._depth == 1:
            self._cells = []
        elif kind == "tc" and self._depth == 1 and self._cells is not None:
            self._cells.append([])
        elif self._open:
            self._inline(kind, attributes)

    def _inline(self, kind: str, attributes: dict[str, str]) -> None:
        paragraph = self._open[-1]
        if kind == "t":
            self._collect = True
        elif kind in {"tab", "br", "cr"}:
            paragraph.pieces.append(" ")
        elif kind == "noBreakHyphen":
            paragraph.pieces.append("-")
        elif kind == "pStyle":
            style = next((value for key, value in attributes.items() if key.endswith(" val")), "")
            if found := _HEADING.search(style):
                paragraph.heading = min(6, int(found[1] or 1) or 1)
        elif kind == "hyperlink":
            identity = next(
                (value for key, value in attributes.items() if key.endswith("relationships id")), ""
            )
            target = self.links.get(identity, "")
            anchor = next((value for key, value in attributes.items() if key.endswith(" anchor")), "")
            self._link(f"{target}#{anchor}" if target and anchor and "#" not in target else target)
        elif kind == "instrText":
            self._field = []
        elif kind == "fldSimple":
            instruction = next((value for key, value in attributes.items() if key.endswith(" instr")), "")
            if found := _HYPERLINK_FIELD.search(instruction):
                self._link(found[1])

    def _link(self, target: str) -> None:
        if target.lower().startswith(_LINKS) and self._open:
            self._open[-1].links.append(target)

    def _data(self, data: str) -> None:
        if self._skip or not self._open:
            return
        if self._field is not None:
            self._field.append(data)
        elif self._collect:
            self._open[-1].pieces.append(data)

    def _end(self, tag: str) -> None:
        if tag.endswith(" Fallback"):
            self._skip -= 1
            return
        if self._skip or not tag.startswith((_W, _W_STRICT)):
            return
        kind = tag.rpartition(" ")[2]
        if kind == "t":
            self._collect = False
        elif kind == "instrText" and self._field is not None:
            if found := _HYPERLINK_FIELD.search("".join(self._field)):
                self._link(found[1])
            self._field = None
        elif kind == "p" and self._open:
            self._paragraph(self._open.pop())
        elif kind == "tr" and self._depth == 1:
            self._row()
        elif kind == "tbl":
            self._depth -= 1

    def _paragraph(self, paragraph: _Paragraph) -> None:
        if self._cells:
            self._cells[-1].append(paragraph)
            return
        text = clean_text(paragraph.text())
        if text or paragraph.links:
            self._n += 1
            links = tuple(dict.fromkeys(paragraph.links))
            self.units.extend(
                Unit(
                    "paragraph",
                    self._n,
                    part,
                    self._n,
                    links=links if index == 0 else (),
                    heading=paragraph.heading,
                )
                for index, part in enumerate(cut(text))
            )

    def _row(self) -> None:
        row, self._cells = self._cells or [], None
        cells = tuple(
            clean_text(" ".join(filter(None, (paragraph.text() for paragraph in cell)))) for cell in row
        )
        links = tuple(dict.fromkeys(link for cell in row for paragraph in cell for link in paragraph.links))
        if not any(cells) and not links:
            return
        self._n += 1
        parts = cut(" | ".join(cells))
        if len(parts) == 1:
            self.units.append(Unit("paragraph", self._n, parts[0], self._n, cells, self._tables, links))
        else:
            self.units.extend(Unit("paragraph", self._n, part, self._n) for part in parts)
