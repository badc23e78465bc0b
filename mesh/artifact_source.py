"""Shell: content to be stored, whatever it comes from, as a digest and numbered chunks.

An artifact's chunks are filed under its digest, so the content is needed twice: bytes lie in memory, a file is read twice, and a stream is
spooled to a temporary file (in memory while it is small). Files are read in a thread: a disk must not hold up the bus. Each chunk's own digest
is kept from the first reading, so that of a file which changes meanwhile no wrong chunk is ever handed out: it would be stored
under a name it does not deserve, for good. Counterparts: `workspace_memory.py` and `workspace_nats.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Final

from protocol.artifact import CHUNK_BYTES, ArtifactRef

from .errors import DigestMismatch, DiskFull, no_room
from .workspace import ArtifactSource

__all__ = ["Content", "opened"]

_SPOOL_BYTES: Final = 1 << 20
"""A stream up to this size never touches the disk."""


class Content:
    """Content whose digest is known and that can be read again."""

    def __init__(self, file: IO[bytes] | None, data: bytes = b"") -> None:
        """Use `opened`."""
        self._file = file
        self._data = data
        self._chunk_digests: list[bytes] = []
        self._reading = asyncio.Lock()
        self.sha256 = b""
        """The digest of all of it."""
        self.size = 0
        """In bytes."""

    def measure(self) -> None:
        """The first reading: digests and size."""
        whole = hashlib.sha256()
        number = 0
        while chunk := self._read(number):
            whole.update(chunk)
            self._chunk_digests.append(hashlib.sha256(chunk).digest())
            self.size += len(chunk)
            number += 1
        self.sha256 = whole.digest()

    @property
    def chunks(self) -> int:
        """How many chunks it has; none if it is empty."""
        return len(self._chunk_digests)

    def ref(self, writer: str) -> ArtifactRef:
        """The reference by which others find it."""
        return ArtifactRef(sha256=self.sha256, size=self.size, chunks=self.chunks, writer=writer)

    async def chunk(self, number: int) -> bytes:
        """One chunk, the first is 0.

        Raises:
            DigestMismatch: the content is no longer what it was when the digest was made.
        """
        if self._file is None:
            chunk = self._read(number)
        else:
            async with self._reading:  # one file, one position
                chunk = await asyncio.to_thread(self._read, number)
        if hashlib.sha256(chunk).digest() != self._chunk_digests[number]:
            raise DigestMismatch("the file was changed while it was being stored")
        return chunk

    def _read(self, number: int) -> bytes:
        offset = number * CHUNK_BYTES
        if self._file is None:
            return self._data[offset : offset + CHUNK_BYTES]
        self._file.seek(offset)
        return self._file.read(CHUNK_BYTES)


@contextlib.asynccontextmanager
async def opened(source: ArtifactSource) -> AsyncIterator[Content]:
    """Content ready to be stored.

    Raises:
        DiskFull: there is no room to spool a stream.
        OSError: a file cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = Content(None, bytes(source))
        content.measure()
        yield content
        return
    with contextlib.ExitStack() as stack:
        if isinstance(source, Path):
            file: IO[bytes] = stack.enter_context(await asyncio.to_thread(source.open, "rb"))
        else:
            file = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))
            try:
                async for part in source:
                    file.write(part)
            except OSError as error:
                if no_room(error):
                    raise DiskFull("there is no room in the temporary directory to store this") from error
                raise
        content = Content(file)
        await asyncio.to_thread(content.measure)
        yield content
