"""Shell: the files of a job's folders: how much there is, and what of it is handed over. Links and special files are nobody's output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from agent_node.errors import WorkError, plain

from .base import OUTPUTS_MAX, Made

__all__ = ["collected", "largest_below", "tail_of", "too_much", "used_below"]

_TAIL_BYTES: Final = 2000
_TYPES: Final = {
    ".json": "application/json",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


def used_below(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(_sizes(folder))


def largest_below(folder: Path) -> int:
    """Bytes of the largest file below a folder."""
    return max(_sizes(folder), default=0)


def collected(out: Path, stdout: Path | None, limit: int, *, besides: Iterable[Made] = ()) -> list[Made]:
    """What is handed over: `stdout` as `result.json`, then `besides`, then the files in `out` by name.

    Raises:
        WorkError: E_OUTPUT_LIMIT, E_OUTPUT: they are more than may be.
    """
    made = [Made("result.json", stdout, "application/json")] if stdout is not None else []
    made += besides
    total = sum(
        len(entry.content) if isinstance(entry.content, bytes) else entry.content.stat().st_size
        for entry in made
    )
    for path in sorted(out.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        total += path.stat().st_size
        name = plain(path.relative_to(out).as_posix(), 255)
        made.append(Made(name, path, _TYPES.get(path.suffix.lower(), "application/octet-stream")))
        if len(made) > OUTPUTS_MAX:
            raise WorkError("E_OUTPUT", f"the program made more than {OUTPUTS_MAX} files", again=False)
    if total > limit:
        raise too_much(limit)
    return made


def tail_of(path: Path) -> str:
    """The last words in a file that a program wrote, made harmless."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return plain(file.read().decode("utf-8", "replace"), 800).strip()
    return ""


def too_much(limit: int) -> WorkError:
    """A program wrote more than it may."""
    return WorkError(
        "E_OUTPUT_LIMIT", f"the program wrote more than the {limit:,} bytes allowed", again=False
    )


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield (Path(where) / name).lstat().st_size
