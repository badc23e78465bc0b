"""Shell: the node's own append-only file of attempts taken and endings not yet acknowledged.

Rules. `append` writes at once and survives the death of the process; `sync` makes everything appended so far survive a power cut, and many
appends share one `sync` (group commit). Each record is a frame: length, CRC-32, msgpack. A frame that a crash cut short ends the file and
is dropped; so is everything behind a damaged one, which is said in the log. What is no longer needed goes when the file is rewritten, at a
start or when it has grown. Counterpart: `outbox.replay` folds the records.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack
from pydantic import ValidationError

from mesh.errors import no_room
from protocol.messages import Cancelled, Failed, Result

from .errors import OutboxError, OutboxFull
from .events import AttemptKey, Ended, Fenced, Forgot, LocalRecord, Terminal, Took

__all__ = ["COMPACT_BYTES", "OutboxFile", "encode", "parse"]

log = logging.getLogger("zwerm.agent.outbox")

COMPACT_BYTES: Final = 4 << 20
"""Rewrite the file when it has grown by this much."""
_HEAD: Final = struct.Struct(">II")
_FRAME_MAX: Final = 4 << 20
_ITEMS: Final[dict[str, type[Terminal]]] = {"r": Result, "f": Failed, "c": Cancelled}
_KINDS: Final = {model: kind for kind, model in _ITEMS.items()}


def encode(record: LocalRecord) -> bytes:
    """One record as a frame."""
    value: list[Any]
    if isinstance(record, Fenced):
        value = ["E", record.run, record.epoch]
    elif isinstance(record, Ended):
        kind = _KINDS[type(record.item)]
        value = [kind, *record.key, record.at, record.item.model_dump(exclude_defaults=True)]
    else:
        value = ["T" if isinstance(record, Took) else "F", *record.key]
    body: bytes = msgpack.packb(value)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _decode(body: bytes) -> LocalRecord:
    kind, *rest = msgpack.unpackb(body)
    if kind == "E":
        return Fenced(str(rest[0]), int(rest[1]))
    key = AttemptKey(str(rest[0]), str(rest[1]), int(rest[2]), int(rest[3]))
    if kind == "T":
        return Took(key)
    if kind == "F":
        return Forgot(key)
    return Ended(key, _ITEMS[kind].model_validate(rest[5]), float(rest[4]))


def parse(data: bytes) -> tuple[list[LocalRecord], int]:
    """The records of a file's content, oldest first, and how many of its bytes are good."""
    records: list[LocalRecord] = []
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        body = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if length > _FRAME_MAX or len(body) < length or zlib.crc32(body) != checksum:
            break
        try:
            records.append(_decode(body))
        except (ValueError, KeyError, IndexError, ValidationError, msgpack.UnpackException):
            break
        offset += _HEAD.size + length
    return records, offset


class OutboxFile:
    """One file, open for appending while the node runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._unsynced = False
        self._size = 0
        self._kept = 0

    def open(self) -> list[LocalRecord]:
        """Read what is there, oldest first, and open the file for appending.

        Raises:
            OutboxError: the file cannot be read or written.
        """
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
            records, good = parse(data)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
            if good < len(data):
                log.warning(
                    "%s: %d bytes behind a cut or damaged record were dropped", self.path, len(data) - good
                )
                os.ftruncate(self._descriptor, good)
        except OSError as error:
            raise self._failed(error) from None
        self._size = self._kept = good
        return records

    def append(self, records: Iterable[LocalRecord]) -> None:
        """Write records behind what is there, all of them or none.

        Raises:
            OutboxFull: there is no room now.
            OutboxError: they are not written; the node must not act on them.
        """
        data = b"".join(map(encode, records))
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            # A frame that was begun would hide everything that is written behind it later.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise self._failed(error) from None
        self._size += len(data)
        self._unsynced = True

    @property
    def unsynced(self) -> bool:
        """Whether something was appended since the last `sync` began."""
        return self._unsynced

    def sync(self) -> None:
        """Wait until everything appended so far is on the disk. Blocks: call it in a thread.

        Raises:
            OutboxError: the disk says that it is not.
        """
        self._unsynced = False
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._unsynced = True
            raise self._failed(error) from None

    @property
    def grown(self) -> bool:
        """Whether it is worth rewriting."""
        return self._size > self._kept * 2 + COMPACT_BYTES

    def rewrite(self, records: Sequence[LocalRecord]) -> None:
        """Replace the content with `records`, durably: a crash leaves the old content or the new.

        Raises:
            OutboxError: the old content is still there.
        """
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        data = b"".join(map(encode, records))
        try:
            descriptor = os.open(
                temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
                temporary.replace(self.path)
                self._sync_folder()
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise self._failed(error) from None
        self.close()
        self._descriptor, self._size, self._kept, self._unsynced = descriptor, len(data), len(data), False

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _failed(self, error: OSError) -> OutboxError:
        kind = OutboxFull if no_room(error) else OutboxError
        return kind(
            f"the record of this node's work, {self.path}, cannot be kept: {error.strerror}",
            "Make room on the disk: the node then goes on by itself."
            if kind is OutboxFull
            else "Correct the permissions, or replace the disk, then start the node again.",
        )
