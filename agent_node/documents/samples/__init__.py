"""The sample documents that `zwerm demo` works on: a small design studio's papers, all of our own making."""

from __future__ import annotations

from pathlib import Path

__all__ = ["sample_files"]

_SUFFIXES = frozenset((".txt", ".md", ".html", ".csv", ".pdf", ".docx"))


def sample_files() -> list[Path]:
    """The paths of the sample documents, sorted by name."""
    return sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in _SUFFIXES)
