"""How a command speaks: results on stdout, progress and warnings on stderr, one JSON form for programs.

Rules (the same for every command). With `--json` stdout carries exactly one document, or one JSON object a line for streams, each with a
`schema`. A failure is an object `zwerm.error/1` on stdout and a non-zero exit; for people it is three lines on stderr: what happened, why, what to do
next. Nothing is coloured when the output is not a terminal or `NO_COLOR` is set. Text that came from elsewhere loses its control characters.
"""

from __future__ import annotations

import io
import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TextIO

from protocol.errors import ZwermError

__all__ = ["EXIT_OF_CODE", "Exit", "Out", "clean", "exit_code_of", "whole_writes"]


class Exit(IntEnum):
    """Exit codes of every command (`zwerm help exit-codes`)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    PARTIAL = 6
    LIMIT = 7
    WAITING = 8
    NOBODY = 9
    INCOMPATIBLE = 10
    TIMEOUT = 124
    INTERRUPTED = 130


EXIT_OF_CODE: dict[str, Exit] = {
    "E_USAGE": Exit.USAGE,
    "E_SETTINGS": Exit.USAGE,
    "E_CONFIG": Exit.USAGE,
    "E_GOAL": Exit.USAGE,
    "E_UNBID": Exit.NOBODY,
    "E_INPUT": Exit.USAGE,
    "E_PLAN": Exit.USAGE,
    "E_NO_SWARM": Exit.USAGE,
    "E_BUSY": Exit.USAGE,
    "E_PREFIX": Exit.USAGE,
    "E_LEN": Exit.USAGE,
    "E_B32": Exit.USAGE,
    "E_B32_NONCANONICAL": Exit.USAGE,
    "E_CHECKSUM": Exit.USAGE,
    "E_TRUNC": Exit.USAGE,
    "E_TRAILING": Exit.USAGE,
    "E_FLAGS": Exit.USAGE,
    "E_BUS_UNREACHABLE": Exit.UNREACHABLE,
    "E_NO_ANSWER": Exit.UNREACHABLE,
    "E_NO_RESPONDERS": Exit.UNREACHABLE,
    "E_TIMEOUT": Exit.UNREACHABLE,
    "E_STORE": Exit.UNREACHABLE,
    "E_NO_DAEMON": Exit.UNREACHABLE,
    "E_REFUSED": Exit.REFUSED,
    "E_PIN": Exit.REFUSED,
    "E_INVITE_USED": Exit.REFUSED,
    "E_INVITE_EXPIRED": Exit.REFUSED,
    "E_INVITE_REVOKED": Exit.REFUSED,
    "E_INVITE_UNKNOWN": Exit.REFUSED,
    "E_ROLE": Exit.REFUSED,
    "E_CLASS": Exit.REFUSED,
    "E_REVOKED": Exit.REFUSED,
    "E_CERT_EXPIRED": Exit.REFUSED,
    "E_FOREIGN": Exit.REFUSED,
    "E_BUDGET": Exit.LIMIT,
    "E_BUDGET_VALUE": Exit.USAGE,
    "E_NOT_FOUND": Exit.NOT_FOUND,
    "E_NO_BID": Exit.NOBODY,
    "E_VERSION": Exit.INCOMPATIBLE,
}
"""Codes that mean something other than plain failure (1)."""

_KEEP = {"\n", "\t"}


def clean(text: str) -> str:
    """Text from elsewhere, without control characters, escape sequences or direction marks."""
    return "".join(
        char
        if char in _KEEP or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def exit_code_of(error: ZwermError) -> Exit:
    """The exit code that goes with an error."""
    return EXIT_OF_CODE.get(error.code, Exit.FAILED)


def whole_writes(stream: TextIO) -> TextIO:
    """A stream that writes all that it is given.

    With PYTHONUNBUFFERED, as containers like to have it, Python writes straight to the file, and what a pipe does not take at once is lost without a word.
    """
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )


@dataclass(slots=True)
class Out:
    """One command's voice."""

    as_json: bool = False
    quiet: bool = False
    colour: bool = False
    stdout: TextIO = sys.stdout
    stderr: TextIO = sys.stderr

    @classmethod
    def for_terminal(cls, *, as_json: bool, quiet: bool, no_color: bool) -> Out:
        """Colour only where a person looks: a terminal, without `NO_COLOR`."""
        colour = (
            sys.stdout.isatty()
            and not no_color
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )
        return cls(as_json=as_json, quiet=quiet, colour=colour, stdout=sys.stdout, stderr=sys.stderr)

    @property
    def live(self) -> bool:
        """Whether a live view (redrawn lines) makes sense."""
        return (
            self.stderr.isatty() and not self.as_json and not self.quiet and os.environ.get("TERM") != "dumb"
        )

    def paint(self, text: str, style: str) -> str:
        """`text` in green, red, yellow, dim or bold, where colour is on."""
        code = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}[style]
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def document(self, schema: str, data: Mapping[str, Any]) -> None:
        """The result, for programs: one JSON document (nothing without `--json`)."""
        if self.as_json:
            print(
                json.dumps({"schema": f"zwerm.{schema}/1", **data}, ensure_ascii=False),
                file=self.stdout,
                flush=True,
            )

    def line(self, text: str = "") -> None:
        """A line of the result, for people."""
        if not self.as_json:
            print(text, file=self.stdout, flush=True)

    def done(self, text: str) -> None:
        """Something succeeded."""
        self.line(f"{self.paint('✓', 'green')} {text}")

    def warn(self, text: str) -> None:
        """Something that the person should know, on stderr."""
        print(f"{self.paint('!', 'yellow')} {text}", file=self.stderr, flush=True)

    def say(self, text: str) -> None:
        """Progress, on stderr; silent with `--quiet` or `--json`."""
        if not self.quiet and not self.as_json:
            print(text, file=self.stderr, flush=True)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A plain table, as wide as its content."""
        if self.as_json:
            return
        cells = [[clean(str(cell)) for cell in row] for row in rows]
        widths = [max([len(heading), *(len(row[i]) for row in cells)]) for i, heading in enumerate(headings)]
        print(
            self.paint("  ".join(h.ljust(w) for h, w in zip(headings, widths, strict=True)).rstrip(), "dim"),
            file=self.stdout,
        )
        for row in cells:
            print(
                "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(),
                file=self.stdout,
            )

    def failure(self, error: ZwermError, **where: str) -> None:
        """An error: what happened and why, and what to do next."""
        if self.as_json:
            body: dict[str, Any] = {
                "code": error.code,
                "message": clean(error.message),
                "hint": clean(error.hint),
                **where,
            }
            print(
                json.dumps({"schema": "zwerm.error/1", "ok": False, "error": body}, ensure_ascii=False),
                file=self.stdout,
                flush=True,
            )
            return
        print(f"{self.paint(error.code, 'red')}  {clean(error.message)}", file=self.stderr)
        if error.hint:
            print(f"{self.paint('Next', 'bold')}  {clean(error.hint)}", file=self.stderr)
        self.stderr.flush()
