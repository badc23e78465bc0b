"""Files that people really have in a folder and that cannot be read as documents: name -> how it is made, and the code that names why."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

GIB = 1 << 30


def _empty(path: Path) -> None:
    path.touch()


def _huge(path: Path) -> None:
    """2 GiB that take no space: a hole."""
    with path.open("wb") as file:
        file.write(b"Paid 12 EUR on 1 May 2026.\n")
        file.truncate(2 * GIB)


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


def _picture(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))


def _cut_utf8(path: Path) -> None:
    """UTF-8 whose last character was cut, as by a broken download: neither that nor any other encoding."""
    path.write_bytes("Ümläute überall, größtenteils schön, täglich müßig. ".encode() * 40 + b"\xe2\x82")


def _encrypted(path: Path) -> None:
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(path)


def _scan(path: Path) -> None:
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    writer.write(path)


def _torn_pdf(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")


def _zip(path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.txt", "Paid 12 EUR on 1 May 2026.")
    path.write_bytes(packed.getvalue())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing-here")


def _locked(path: Path) -> None:
    path.write_text("Paid 12 EUR on 1 May 2026.\n")
    path.chmod(0)


def _locked_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.txt").write_text("Paid 12 EUR on 1 May 2026.\n")
    path.chmod(0)


Maker = Callable[[Path], None]

NOT_TAKEN: dict[str, tuple[Maker, str]] = {
    "empty.txt": (_empty, "E_EMPTY"),
    "huge.txt": (_huge, "E_TOO_LARGE"),
    "pipe.txt": (_pipe, "E_UNREADABLE"),
    "dangling.txt": (_dangling, "E_VANISHED"),
    "locked.txt": (_locked, "E_UNREADABLE"),
    "locked-folder": (_locked_folder, "E_UNREADABLE"),
}
"""What the asking device can see is of no use."""

NOT_READ: dict[str, tuple[Maker, str]] = {
    "binary.txt": (_binary, "E_BINARY"),
    "picture.png": (_picture, "E_FORMAT"),
    "encrypted.pdf": (_encrypted, "E_ENCRYPTED"),
    "scan.pdf": (_scan, "E_NO_TEXT"),
    "torn.pdf": (_torn_pdf, "E_UNREADABLE"),
    "archive.zip": (_zip, "E_FORMAT"),
}
"""What a reader finds out."""

MIS_ENCODED: dict[str, Maker] = {"cut.txt": _cut_utf8}
"""What is read with a warning, or not at all: never silently wrong."""
