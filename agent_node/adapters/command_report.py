"""What a program says while it works: lines of JSON that it appends to the file `report` of its order, one object each.

    {"progress": {"fraction": 0.4, "note": "page 4 of 10"}}       a step is done; if it said that it waits, it works again
    {"used": {"tokens": 900, "money": 1200}}                      all that it has used so far (steps, children as well); money in micro-credits
    {"partial": {"name": "draft.md", "path": "out/draft.md"}}     a file of unfinished work: kept for the next attempt if this one fails
    {"limited": {"wait_s": 30, "note": "429"}}                    it waits for somebody's limit of use
    {"person": {"note": "Which of the two?"}}                     it waits for a person
    {"failed": {"code": "E_LIMITED", "message": "quota", "retry_s": 60, "again": true}}    why it is going to end with a status that is not 0

Rules. Nothing here is believed: what cannot be read is left out, paths lead to ordinary files of the job or nowhere, and a file that grows
without end is read no further than `_MOST`. Counterpart: `command` (looks twice a second).
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Final

from agent_node.errors import WorkError
from agent_node.job import Emit, Made, More, usage_of
from protocol.messages import Usage

__all__ = ["REPORT", "ReportReader"]

REPORT: Final = "report"
"""Its name in the folder `work`."""
_LINE_MAX: Final = 16_384
_MOST: Final = 16 << 20
_KINDS: Final = ("money", "tokens", "steps", "bytes_out", "children")


class ReportReader:
    """Reads what one run of a program says. `root` is the job's directory as the program sees it."""

    def __init__(self, folder: Path, *, root: Path) -> None:
        self.used: Usage | None = None
        self.failure: WorkError | None = None
        """Why it ends, in its own words."""
        self._folder = folder
        self._root = root
        self._offset = 0
        self._step = 0
        self._fraction = 0.0
        self._rest = b""

    def moved(self, emit: Emit) -> None:
        """It made a step that it did not report (its files grew)."""
        self._step += 1
        emit(self._step, self._fraction, "")

    def read(self, emit: Emit) -> bool:
        """Pass on what is new; whether anything was.

        Raises:
            WorkError: what it has used is more than it may use.
        """
        lines = self._new_lines()
        for line in lines:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                for kind, content in value.items():
                    if isinstance(content, dict):
                        self._say(kind, content, emit)
        return bool(lines)

    def _new_lines(self) -> list[bytes]:
        try:
            descriptor = os.open(self._folder / "work" / REPORT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return []
        with os.fdopen(descriptor, "rb") as file:
            if self._offset >= _MOST:
                return []
            file.seek(self._offset)
            data = file.read(1 << 20)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE_MAX:]
        return [line for line in lines if line.strip() and len(line) <= _LINE_MAX]

    def _say(self, kind: str, content: dict[str, Any], emit: Emit) -> None:
        note = str(content.get("note", ""))[:200]
        if kind == "progress":
            self._step += 1
            self._fraction = _number(content.get("fraction"), self._fraction)
            emit(self._step, self._fraction, note)
        elif kind == "used":
            counted = {name: _number(content.get(name), 0.0) for name in _KINDS}
            self.used = usage_of({name: round(amount) for name, amount in counted.items() if amount})
            self._more(emit, note, More(used=self.used))
        elif kind == "limited":
            self._more(emit, note, More("limited", _number(content.get("wait_s"), 0.0), self.used))
        elif kind == "person":
            self._more(emit, note, More("person", 0.0, self.used))
        elif kind == "partial":
            made = self._file(content)
            if made is not None:
                self._more(emit, note, More(used=self.used, partial=made))
        elif kind == "failed":
            self.failure = WorkError(
                str(content.get("code", "E_COMMAND")),
                str(content.get("message", "")),
                again=bool(content.get("again", True)),
                retry_s=_number(content.get("retry_s"), 0.0),
            )

    def _more(self, emit: Emit, note: str, more: More) -> None:
        self._step += 1  # what was spent, made or asked has moved the work
        emit(self._step, self._fraction, note, more)

    def _file(self, content: dict[str, Any]) -> Made | None:
        given = Path(str(content.get("path", "")))
        if given.is_absolute():
            if not given.is_relative_to(self._root):
                return None
            given = given.relative_to(self._root)
        path = self._folder / given
        root = self._folder.resolve()
        if path.is_symlink() or not path.is_file() or root not in path.resolve().parents:
            return None
        name = str(content.get("name") or path.name)[:255]
        return Made(name, path, str(content.get("media_type", "application/octet-stream"))[:127])


def _number(value: object, otherwise: float) -> float:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return otherwise
    return max(0.0, min(float(value), float(1 << 52)))
