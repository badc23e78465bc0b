"""The files of a run: found on disk, checked, named, stored as artifacts.

A file that cannot be used is not an error of the run: it is left out, and the report says so and why. Names are paths relative to what was given, with `/`,
and unique; hidden files and folders are passed over silently, as people expect.
"""

from __future__ import annotations

import mimetypes
import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from protocol.errors import ZwermError
from protocol.messages import Missing
from protocol.messages.base import JsonObject

from .errors import PlanInvalid
from .naming import told_apart

__all__ = ["FILES_MAX", "FILE_BYTES_MAX", "SKIPPED_MAX", "FoundFile", "InputsError", "gather", "read_plan"]

FILE_BYTES_MAX = 256 << 20
"""A larger file is left out: it would have to be read by an agent at one time."""
FILES_MAX = 1000
"""Most files of one run, with those that are left out: one message names them all, and one coordinator takes no more."""
SKIPPED_MAX = 200
"""So many files that are left out are named one by one."""
_NAME_MAX = 255
_PLAN_BYTES_MAX = 256 << 10

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
    skipped = _bounded(skipped)
    if len(found) + len(skipped) > FILES_MAX:
        raise InputsError(
            f"{len(found):,} files are more than the {FILES_MAX:,} that one run takes",
            "Give a part of them at a time.",
        )
    if not found:
        why = "; ".join(f"{item.name}: {item.message}" for item in skipped[:3]) or "the folder is empty"
        raise InputsError(f"there is no file to work on ({why})", "Give a folder or files with -i.")
    files = sorted(found)
    # A second `a.txt` is called `a (2).txt`, so that its kind can still be told.
    names = told_apart([file.name for file in files], lambda name, count: _shortened(_numbered(name, count)))
    return [file._replace(name=name) for file, name in zip(files, names, strict=True)], skipped


def read_plan(path: Path) -> JsonObject:
    """The data of the plan file at `path`.

    Raises:
        PlanInvalid: it cannot be read, or is none.
    """
    from .planner_file import load  # slow to import, and most runs have no plan file

    try:
        if path.stat().st_size > _PLAN_BYTES_MAX:
            raise PlanInvalid(
                f"{path} has more than {_PLAN_BYTES_MAX >> 10} KiB", "Is it a plan file at all?"
            )
        return load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanInvalid(f"{path}: {error.strerror}", "Give the path of a plan file with --plan.") from None
    except UnicodeDecodeError as error:
        raise PlanInvalid(f"{path} is not UTF-8 text (byte {error.start + 1})", "Save it as UTF-8.") from None
    except PlanInvalid as error:
        raise (
            error if str(path) in error.message else PlanInvalid(f"{path}: {error.message}", error.hint)
        ) from None


def _walk(folder: Path, skipped: list[Missing]) -> list[Path]:
    files: list[Path] = []

    def refused(error: OSError) -> None:
        name = Path(error.filename or folder).name
        skipped.append(
            Missing(
                name=_shortened(name), code="E_UNREADABLE", message=f"folder cannot be read: {error.strerror}"
            )
        )

    for where, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(where) / name for name in sorted(names) if not name.startswith(".")]
    return files


def _take(path: Path, name: str, found: list[FoundFile], skipped: list[Missing]) -> None:
    problem = _problem(path)
    name = _shortened(_printable(name))
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


def _printable(name: str) -> str:
    """A name that can be shown anywhere: no line ends, escapes, direction marks or bytes that are no text (joiners belong to scripts and stay)."""
    return "".join(
        char
        if char in "\u200c\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        else "\N{REPLACEMENT CHARACTER}"
        for char in name
    )


def _numbered(name: str, count: int) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem} ({count}){path.suffix}"))


def _shortened(name: str) -> str:
    """At most 255 characters, as the wire has it; the end, which says most, is kept."""
    return name if len(name) <= _NAME_MAX else "…" + name[-(_NAME_MAX - 1) :]


def _bounded(skipped: list[Missing]) -> list[Missing]:
    """Not more than a message and a reader can take: beyond that, one line for each reason says how many."""
    ordered = sorted(skipped, key=lambda item: item.name)
    if len(ordered) <= SKIPPED_MAX:
        return ordered
    rest: dict[str, list[Missing]] = {}
    for item in ordered[SKIPPED_MAX:]:
        rest.setdefault(item.code, []).append(item)
    return ordered[:SKIPPED_MAX] + [
        Missing(
            name=f"(and {len(items):,} more, {items[0].name[:80]} to {items[-1].name[:80]})",
            code=code,
            message=items[0].message,
        )
        for code, items in sorted(rest.items())
    ]
