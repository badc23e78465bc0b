"""Files going into and coming out of a capability, and the one way that JSON is written.

A capability is `f(params, inputs, progress) -> outputs`: inputs lie in the job's private directory, outputs are bytes in memory. Output
JSON is canonical (sorted keys, UTF-8, no NaN, one newline at the end), so the same input gives the same bytes on every node and a
result can be named by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .errors import DocumentError

__all__ = [
    "CSV",
    "JSON",
    "MAX_INPUT_BYTES",
    "MAX_JSON_BYTES",
    "Capability",
    "InputFile",
    "OutputFile",
    "Progress",
    "canonical_json",
    "clean_text",
    "json_output",
    "load_json",
    "only_input",
    "read_bytes",
]

JSON = "application/json"
CSV = "text/csv"

MAX_INPUT_BYTES = 32 * 1024 * 1024
"""Largest document, in bytes. A book of 1,000 pages of text is about 3 MB; what is beyond this is data, not a document."""

MAX_JSON_BYTES = 256 * 1024 * 1024
"""Largest JSON between two capabilities, in bytes: eight times a document, for its markup."""

Progress: TypeAlias = Callable[[str, float], None]
"""Called with (what is being done, fraction done in 0..1); it renews the lease of the work, so long work calls it often."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to work on: `name` as the person knows it, `path` where its bytes are, `media_type` as guessed by the sender."""

    name: str
    path: Path
    media_type: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that was made: `name` within the result, its bytes, and its media type."""

    name: str
    data: bytes
    media_type: str


Capability: TypeAlias = Callable[[dict[str, Any], list[InputFile], Progress], list[OutputFile]]
"""What a capability's function looks like; it raises `DocumentError` and nothing else for bad input."""


def clean_text(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot carry (a damaged PDF or JSON may bring them in)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def canonical_json(value: object) -> bytes:
    """The one encoding of `value`: sorted keys, no spaces, UTF-8, newline at the end. Raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return clean_text(text).encode("utf-8") + b"\n"


def json_output(name: str, value: object) -> OutputFile:
    """An output file with canonical JSON in it."""
    return OutputFile(name, canonical_json(value), JSON)


def only_input(inputs: Sequence[InputFile], capability: str) -> InputFile:
    """The single input of a capability that takes exactly one; `E_INPUT` otherwise."""
    if len(inputs) != 1:
        raise DocumentError(
            "E_INPUT",
            f"{capability} takes exactly one input file and was given {len(inputs)}.",
            "Map the capability over the files, one subtask each.",
        )
    return inputs[0]


def read_bytes(file: InputFile, limit: int = MAX_INPUT_BYTES) -> bytes:
    """The file's content.

    Raises:
        DocumentError: `E_MISSING` when it vanished, `E_UNREADABLE` when it may not be opened or is no ordinary file, `E_TOO_LARGE`
            when it has more than `limit` bytes (found out without reading it), `E_EMPTY` when it has none.
    """
    try:
        with file.path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError:
        raise DocumentError(
            "E_MISSING",
            f"{file.name} is not there any more: it was moved or deleted after the run began.",
            "Put it back and run again; the other files are not affected.",
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DocumentError(
            "E_UNREADABLE",
            f"{file.name} cannot be opened: {reason}.",
            "Check that it is an ordinary file and that its permissions let you read it.",
        ) from None
    if len(data) > limit:
        size = max(file.path.stat().st_size, len(data))
        raise DocumentError(
            "E_TOO_LARGE",
            f"{file.name} has {size:,} bytes; the most that is read of one document is {limit:,}.",
            "Split it, or leave it out.",
        )
    if not data.strip(b"\0 \t\r\n\f\v"):
        raise DocumentError(
            "E_EMPTY",
            f"{file.name} is empty: it has {len(data)} bytes and nothing but blanks in them.",
            "Check that it was saved or copied completely.",
        )
    return data


def load_json(file: InputFile, schemas: Mapping[str, str] | Sequence[str]) -> dict[str, Any]:
    """The JSON object in `file`, whose `schema` must be one of `schemas`.

    Raises:
        DocumentError: `E_INPUT` when it is no JSON object or has another schema; the errors of `read_bytes`.
    """
    data = read_bytes(file, MAX_JSON_BYTES)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("schema") not in schemas:
        found = value.get("schema") if isinstance(value, dict) else None
        what = f"has the schema {found!r}" if isinstance(found, str) else "is not such a file"
        raise DocumentError(
            "E_INPUT",
            f"{file.name} {what}; expected {' or '.join(schemas)}.",
            "Check the order of the steps in the plan.",
        )
    return value
