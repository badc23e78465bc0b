"""Writing Markdown that says what was meant: text from documents is data, and must not become markup, links or HTML in a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["bullet", "escape", "table"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")
_BLANKS = re.compile(r"\s+")
_LINE_START = re.compile(r"\A(\d{1,9})([.)])(?=\s)|\A([+-])(?=\s)")


def escape(text: str) -> str:
    """`text` on one line, shown as it is: no markup and no HTML come out of it."""
    text = _SPECIAL.sub(r"\\\1", _BLANKS.sub(" ", text).strip().replace("&", "&amp;"))
    return _LINE_START.sub(lambda match: f"{match[1]}\\{match[2]}" if match[1] else f"\\{match[3]}", text)


def bullet(text: str, cite: str = "") -> str:
    """A list item of escaped text with a citation behind it."""
    return f"- {text} \\[{cite}\\]" if cite else f"- {text}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """The lines of a table; cells are escaped already. Columns in `right` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join(rule)} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return lines
