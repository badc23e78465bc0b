"""Names of runs, and the patterns of every other name that travels.

A run id is 16 bytes: a UUIDv7 (RFC 9562), so ids sort by time. On the wire's header it is raw (`context`), in subjects and on screens
it is lower-case base32 without padding (26 characters). Nothing here reads a clock or makes randomness: the caller passes both.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from typing import Annotated

from pydantic import StringConstraints

from .errors import Rejected

__all__ = [
    "NO_RUN",
    "RUN_ID_CHARS",
    "AgentName",
    "CapabilityName",
    "NodeHex",
    "RunId",
    "SubtaskId",
    "by_time",
    "new_run_id",
    "run_bytes",
    "run_text",
    "short_run",
]

RUN_ID_CHARS = 26
NO_RUN = bytes(16)
"""The header's context when a message belongs to no run."""

RunId = Annotated[str, StringConstraints(pattern=r"^[a-z2-7]{26}$")]
SubtaskId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
CapabilityName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*){0,5}$", max_length=64)
]
"""Lower-case dotted words, e.g. `text.extract`; safe as part of a bus subject."""
AgentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
NodeHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A node id (first 16 bytes of a hash of its signing key) as hex."""

_RUN = re.compile(r"[a-z2-7]{26}\Z")
_IN_ORDER = str.maketrans("234567", "{|}~\x7f\x80")


def new_run_id(now: float, entropy: bytes) -> str:
    """Mint a run id from Unix time in seconds and at least 10 random bytes (UUIDv7 layout).

    Raises:
        ValueError: `entropy` is shorter than 10 bytes.
    """
    if len(entropy) < 10:
        raise ValueError("a run id needs 10 random bytes")
    raw = bytearray(int(now * 1000).to_bytes(6, "big") + entropy[:10])
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return run_text(bytes(raw))


@functools.lru_cache(maxsize=1024)
def run_text(raw: bytes) -> str:
    """The 26-character text of a 16-byte run id."""
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def by_time(run: str) -> str:
    """A key by which the texts of run ids sort as their bytes do, oldest first (in ASCII, base32's digits stand before its letters)."""
    return run.translate(_IN_ORDER)


@functools.lru_cache(maxsize=1024)
def run_bytes(run: str) -> bytes:
    """The 16 bytes of a run id.

    Raises:
        Rejected: `E_SCHEMA`, the text is not a run id in its one canonical form.
    """
    if not _RUN.match(run):
        raise Rejected("E_SCHEMA", f"{run[:40]!r} is not a run id")
    try:
        raw = base64.b32decode(run.upper() + "======")
    except binascii.Error:
        raise Rejected("E_SCHEMA", f"{run!r} is not a run id") from None
    if run_text(raw) != run:
        raise Rejected("E_SCHEMA", f"{run!r} is not the canonical form of a run id")
    return raw


def short_run(run: str) -> str:
    """The last six characters: what people type and screens show."""
    return run[-6:]
