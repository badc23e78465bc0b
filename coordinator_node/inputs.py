"""The files of a run: found on disk, checked, named, stored as artifacts.

A file that cannot be used is not an error of the run: it is left out, and the report says so and why. Names are paths relative to what was given, with `/`,
and unique; hidden files and folders are passed over silently, as people expect.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from protocol.errors import ZwermError
from protocol.messages import Missing

__all__ = ["FILES_MAX", "FILE_BYTES_MAX", "FoundFile", "InputsError", "gather"]

FILE_BYTES_MAX = 256 << 20
"""A larger file is left out: it would have to be read by an agent at one time."""
FILES_MAX = 3000
"""Most files of one run: their references must fit into one message."""

_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".json": "application/json",
}


class InputsError(ZwermError):
    """What was given as input cannot be used at all."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_INPUT", message, hint)


class FoundFile(NamedTuple):
    """A usable file: its name in the run, where it is, its media type (by its name), its size in bytes."""

    name: str
    path: Path
    media_type: str
    size: int


def gather(paths: Sequence[Path]) -> tuple[list[FoundFile], list[Missing]]:
    """Find the files below `paths` (files or folders), in name order; returns the usable ones and the others with the reason.

    Raises:
        InputsError: a path does not exist, there is nothing usable, or there are too many files.
    """
    found: list[FoundFile] = []
    skipped: list[Missing] = []
    for given in paths:
        path = given.expanduser()
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise InputsError(
                f"{given}: {error.strerror or error}", "Check the path given with -i."
            ) from None
        if stat.S_ISDIR(mode):
            for child in _walk(path, skipped):
                _take(child, child.relative_to(path).as_posix(), found, skipped)
        else:
            _take(path, path.name, found, skipped)
    if len(found) > FILES_MAX:
        raise InputsError(
            f"{len(found):,} files are more than the {FILES_MAX:,} that one run takes",
            "Give a part of them at a time.",
        )
    if not found:
        why = "; ".join(f"{item.name}: {item.message}" for item in skipped[:3]) or "the folder is empty"
        raise InputsError(f"there is no file to work on ({why})", "Give a folder or files with -i.")
    return _unique(sorted(found)), sorted(skipped, key=lambda item: item.name)


def _walk(folder: Path, skipped: list[Missing]) -> list[Path]:
    files: list[Path] = []

    def refused(error: OSError) -> None:
        name = Path(error.filename or folder).name
        skipped.append(
            Missing(name=name[:255], code="E_UNREADABLE", message=f"folder cannot be read: {error.strerror}")
        )

    for where, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(where) / name for name in sorted(names) if not name.startswith(".")]
    return files


def _take(path: Path, name: str, found: list[FoundFile], skipped: list[Missing]) -> None:
    problem = _problem(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        name = name.encode("utf-8", "replace").decode()
    if len(name) > 255:
        name = "…" + name[-254:]
    if problem is None:
        found.append(FoundFile(name, path, media_type_of(name), path.stat().st_size))
    else:
        skipped.append(Missing(name=name, code=problem[0], message=problem[1]))


def _problem(path: Path) -> tuple[str, str] | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "E_UNREADABLE", "not a regular file"
        if status.st_size == 0:
            return "E_EMPTY", "the file is empty"
        if status.st_size > FILE_BYTES_MAX:
            return (
                "E_TOO_LARGE",
                f"{status.st_size / (1 << 20):,.0f} MiB; at most {FILE_BYTES_MAX >> 20} MiB is read",
            )
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return "E_VANISHED", "the file is gone, or is a link to nothing"
    except OSError as error:
        return "E_UNREADABLE", f"cannot be read: {error.strerror}"
    return None


def media_type_of(name: str) -> str:
    """The media type that a file's name says; agents look at the content too."""
    suffix = Path(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _unique(files: list[FoundFile]) -> list[FoundFile]:
    seen: dict[str, int] = {}
    result = []
    for file in files:
        count = seen.get(file.name, 0)
        seen[file.name] = count + 1
        result.append(file if count == 0 else file._replace(name=f"{file.name} ({count + 1})"))
    return result
