"""The shared workspace as ports: key-value with compare-and-set, artifacts by digest, the journal, write-once records.

Rules, the same for every implementation (`workspace_memory.py`, `workspace_nats.py`; one set of contract tests runs on both):
a write that names what it expects happens exactly then or raises `WriteConflict` with what is there; a write that was not
confirmed is looked up before anything is concluded, so repeating one is harmless; an artifact's digest is checked on the way out; nothing
that is written once is ever written again. Revisions and sequence numbers grow, with gaps, and are fencing tokens: no clock is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from protocol.artifact import ArtifactRef

from .errors import BadSettings

__all__ = [
    "ART",
    "BOARD",
    "CERTS",
    "INVITES",
    "JOURNAL",
    "JOURNAL_DAYS",
    "MAX_MESSAGE_BYTES",
    "STREAMS",
    "SWARM_BUCKET",
    "ArtifactSource",
    "Artifacts",
    "Change",
    "Entry",
    "Journal",
    "KeyValue",
    "Stored",
    "Usage",
    "Workspace",
    "WorkspaceSizes",
    "WriteOnce",
    "check_key",
    "kv_stream",
]

JOURNAL: Final = "JOURNAL"
"""Stream of the runs' records, subject `s.j.<run>`."""

ART: Final = "ART"
"""Stream of the artifacts' chunks."""

CERTS: Final = "CERTS"
"""Stream of membership certificates by serial."""

INVITES: Final = "INVITES"
"""Stream of invite records, and of the burns that make them single-use."""

BOARD: Final = "BOARD"
"""Key-value bucket that coordinators write: ownership of runs and the like."""

SWARM_BUCKET: Final = "SWARM"
"""Key-value bucket that enrollers write and every member reads: charter, revocations."""


def kv_stream(bucket: str) -> str:
    """Name of the stream that holds a key-value bucket."""
    return f"KV_{bucket}"


_KEY: Final = re.compile(r"[A-Za-z0-9_/=-]+(\.[A-Za-z0-9_/=-]+)*")


def check_key(key: str) -> str:
    """The key itself, if it is one: tokens without wildcards or spaces, which would reach other keys.

    Raises:
        BadSettings: it is not.
    """
    if len(key) > 200 or not _KEY.fullmatch(key):
        raise BadSettings(
            f"{key[:60]!r} is not a key of the workspace", "Use letters, digits, `_`, `-`, `=`, `/` and dots."
        )
    return key


STREAMS: Final = (JOURNAL, ART, CERTS, INVITES, kv_stream(BOARD), kv_stream(SWARM_BUCKET))
"""All streams of a swarm."""

JOURNAL_DAYS: Final = 90
"""How long runs' records are kept."""

MAX_MESSAGE_BYTES: Final = 960 * 1024
"""Largest value, headers left aside: the bus cuts a connection that sends headers and payload of more than 1 MiB together."""

ArtifactSource = bytes | Path | AsyncIterable[bytes]
"""What an artifact is made from. A file is read twice (digest, then content); a stream is spooled to disk first."""


@dataclass(frozen=True, slots=True)
class WorkspaceSizes:
    """Space set aside for each part, in bytes. When one is full, writes to it raise `DiskFull`: nothing old is dropped for new."""

    journal: int = 1 << 30
    artifacts: int = 8 << 30
    certs: int = 64 << 20
    invites: int = 64 << 20
    board: int = 256 << 20
    swarm: int = 64 << 20

    def __post_init__(self) -> None:
        for part in fields(self):
            if getattr(self, part.name) < 64 << 10:
                raise BadSettings(f"the workspace's space for {part.name} is below 64 KiB")

    @property
    def total(self) -> int:
        """Bytes of all parts together: what the server must be allowed to store."""
        return sum(int(getattr(self, part.name)) for part in fields(self))


class Entry(NamedTuple):
    """A key's value and the revision to expect when replacing it."""

    value: bytes
    revision: int


class Change(NamedTuple):
    """What became of a key: its value, None if it was removed; the revision of that; when it was written (Unix milliseconds, the server's clock)."""

    key: str
    value: bytes | None
    revision: int
    at_ms: int


class Stored(NamedTuple):
    """One journal message: its sequence number, its bytes, and when it was stored (Unix milliseconds, the server's clock)."""

    seq: int
    data: bytes
    at_ms: int


class Usage(NamedTuple):
    """How full a part of the workspace is, in bytes."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """0.0 (empty) to 1.0 (full)."""
        return self.used / self.limit if self.limit > 0 else 0.0


class KeyValue(Protocol):
    """Small shared values. Keys are dot-separated tokens of letters, digits, `_`, `-`, `=` and `/`."""

    async def get(self, key: str) -> Entry | None:
        """The present value; None if there is none."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Set a key that has no value; returns its revision.

        Raises:
            WriteConflict: it has one, which is attached.
        """
        ...

    async def put(self, key: str, value: bytes, expected: int) -> int:
        """Replace the value at revision `expected` (0: no value was ever there); returns the new revision.

        Raises:
            WriteConflict: another revision is there, which is attached.
        """
        ...

    async def delete(self, key: str, expected: int) -> None:
        """Remove the value at revision `expected`.

        Raises:
            WriteConflict: another revision is there, which is attached.
        """
        ...

    async def keys(self, prefix: str = "") -> list[str]:
        """All keys that have a value and start with the tokens `prefix`, sorted."""
        ...

    def changes(self, prefix: str = "", after: int = 0) -> AsyncIterator[Change]:
        """The last change of each key below `prefix` whose revision is above `after`, in the order of writing; removals too."""
        ...


class Artifacts(Protocol):
    """Files by content (SPEC ART-1): immutable, in chunks, each writer under its own name."""

    async def put(self, source: ArtifactSource, writer: str) -> ArtifactRef:
        """Store content; storing it again is harmless and writes nothing.

        Args:
            source: the content.
            writer: the public bus key of this device: the bus lets it write under no other.

        Raises:
            DiskFull: no space is left for artifacts; what was written of it is harmless.
        """
        ...

    def get(self, ref: ArtifactRef) -> AsyncIterator[bytes]:
        """The content, chunk by chunk. It is good only when the iteration ended without an error.

        Raises:
            NotFound: a chunk is missing.
            DigestMismatch: the bytes are not those that the reference names.
        """
        ...

    async def read(self, ref: ArtifactRef, max_bytes: int) -> bytes:
        """The whole content, for what is small.

        Raises:
            PayloadTooLarge: it is larger than `max_bytes`; nothing was fetched.
            NotFound: a chunk is missing.
            DigestMismatch: the bytes are not those that the reference names.
        """
        ...

    async def delete(self, ref: ArtifactRef) -> None:
        """Remove the content that `ref.writer` stored; harmless when it is gone. Coordinators only."""
        ...


class Journal(Protocol):
    """The append-only records of runs (SPEC REC-1). A message is at most `MAX_MESSAGE_BYTES`."""

    async def append(self, run: str, data: bytes, *, expected: int) -> int:
        """Append a message if the run's last one is `expected` (0: none yet); returns its sequence number.

        At most one append a run may be in flight, and no two messages of a run may have the same bytes (a signed envelope never does):
        after a lost confirmation the message is recognised by them.

        Raises:
            WriteConflict: another message came first; it is attached.
            DiskFull: the journal's space is used up.
            StoreUnavailable: not confirmed in time, and it may or may not be there: call again with the same arguments.
        """
        ...

    def read(self, run: str, after: int = 0) -> AsyncIterator[Stored]:
        """The run's messages with a sequence number above `after`, in order."""
        ...

    async def last(self, run: str) -> Stored | None:
        """The run's last message, read where writes are decided, so never an outdated one."""
        ...

    async def runs(self) -> list[str]:
        """Every run that has messages, the oldest first."""
        ...

    async def usage(self) -> Usage:
        """How full the journal is."""
        ...


class WriteOnce(Protocol):
    """Records that are written once and neither changed nor deleted: certificates, invites, burns."""

    async def create(self, key: str, value: bytes) -> bool:
        """Write the record; True if it is now there with this very value, False if another value was first.

        The value must tell its writer apart from others (a fingerprint, a signature): the same value from two writers is one record.
        """
        ...

    async def get(self, key: str) -> bytes | None:
        """The record; None if there is none."""
        ...

    def items(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """All records whose key starts with the tokens `prefix`, in the order of writing. Not for workers."""
        ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """All parts of a swarm's workspace."""

    journal: Journal
    artifacts: Artifacts
    board: KeyValue
    swarm: KeyValue
    certs: WriteOnce
    invites: WriteOnce
    burns: WriteOnce
