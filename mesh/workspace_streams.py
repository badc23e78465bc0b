"""The workspace's ports over streams, whatever keeps the streams.

A stream maps subjects to messages and is written by compare-and-set; everything that the ports promise beyond that is made here, once, for the
real workspace (`workspace_nats.py`) and for its twin (`workspace_memory.py`). Artifacts are one message a chunk under the writer's own name
(SPEC ART-1), because an object store's reader needs consumers, which workers must not have.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from protocol import subjects
from protocol.artifact import CHUNK_BYTES, ArtifactRef
from protocol.ids import by_time

from .artifact_source import Content, opened
from .errors import DigestMismatch, MeshError, NotFound, PayloadTooLarge, WriteConflict
from .workspace import (
    ART,
    BOARD,
    CERTS,
    INVITES,
    JOURNAL,
    JOURNAL_DAYS,
    SWARM_BUCKET,
    ArtifactSource,
    Change,
    Entry,
    Stored,
    Usage,
    Workspace,
    WorkspaceSizes,
    check_key,
    kv_stream,
)

__all__ = ["Found", "Stream", "assemble", "conflict", "stream_configs"]

_WINDOW: Final = 4
"""Chunks under way at one time: a megabyte of memory, and no round trip is waited for in vain."""

_T = TypeVar("_T")
_DAY_NS: Final = 24 * 3600 * 10**9
_COMMON: Final[dict[str, Any]] = {
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "allow_direct": True,
    "deny_delete": True,
}
# A subject that has a message takes no other.
_ONCE: Final = {"max_msgs_per_subject": 1, "discard_new_per_subject": True}


class Found(NamedTuple):
    """A stored message."""

    subject: str
    data: bytes
    seq: int
    at_ms: int
    """Unix milliseconds by the store's clock."""
    removed: bool
    """It says that the key has no value any more."""
    mark: str = ""
    """Tells one write from another of the same bytes."""


class Stream(Protocol):
    """Compare-and-set writes to, and reads from, one stream."""

    async def write(
        self, subject: str, data: bytes, *, expected: int, removes: bool = False, same_bytes: bool = False
    ) -> int:
        """Write if the subject's last message has sequence number `expected` (0: there is none); the new number.

        With `same_bytes`, a last message of these bytes is taken for this write's; otherwise only this call's own.

        Raises:
            WriteConflict: another message is the last one; it is attached.
            DiskFull: no space is left.
            PayloadTooLarge: over `MAX_MESSAGE_BYTES`.
            StoreUnavailable: neither confirmed nor refused; it may have been written.
        """
        ...

    async def get(self, subject: str) -> Found | None:
        """The subject's last message; on a cluster it may be a moment old."""
        ...

    async def last(self, subject: str) -> Found | None:
        """The subject's last message, read where writes are decided."""
        ...

    def scan(self, pattern: str, after: int = 0) -> AsyncIterator[Found]:
        """All messages to `pattern` with a sequence number above `after`, in order."""
        ...

    async def subjects(self, pattern: str) -> list[str]:
        """Every subject within `pattern` that has messages."""
        ...

    async def usage(self) -> Usage:
        """How full the stream is."""
        ...

    async def purge(self, pattern: str) -> None:
        """Remove all messages to `pattern`."""
        ...


def stream_configs(sizes: WorkspaceSizes, replicas: int = 1) -> dict[str, dict[str, Any]]:
    """Name -> configuration of every stream, which is kept on so many servers.

    Records of runs, certificates, invites and burns can neither be deleted nor overwritten, by anybody: the store enforces it. A stream
    that is full refuses new messages and drops no old ones.
    """
    common = {**_COMMON, "num_replicas": replicas}

    def bucket(name: str, size: int) -> dict[str, Any]:
        return {**common, "subjects": [f"$KV.{name}.>"], "max_msgs_per_subject": 1, "max_bytes": size}

    forever = {**common, "deny_purge": True}
    return {
        JOURNAL: {
            **forever,
            "subjects": [subjects.journals()],
            "max_age": JOURNAL_DAYS * _DAY_NS,
            "max_bytes": sizes.journal,
        },
        ART: {**common, **_ONCE, "subjects": [subjects.artifacts()], "max_bytes": sizes.artifacts},
        CERTS: {**forever, **_ONCE, "subjects": [subjects.certs()], "max_bytes": sizes.certs},
        INVITES: {
            **forever,
            **_ONCE,
            "subjects": [subjects.invites(), subjects.burns()],
            "max_bytes": sizes.invites,
        },
        kv_stream(BOARD): bucket(BOARD, sizes.board),
        kv_stream(SWARM_BUCKET): bucket(SWARM_BUCKET, sizes.swarm),
    }


def assemble(stream: Callable[[str], Stream]) -> Workspace:
    """The workspace over the streams of these names."""
    invites = stream(INVITES)
    return Workspace(
        journal=StreamJournal(stream(JOURNAL)),
        artifacts=StreamArtifacts(stream(ART)),
        board=StreamKeyValue(stream(kv_stream(BOARD)), BOARD),
        swarm=StreamKeyValue(stream(kv_stream(SWARM_BUCKET)), SWARM_BUCKET),
        certs=StreamWriteOnce(stream(CERTS), subjects.certs()),
        invites=StreamWriteOnce(invites, subjects.invites()),
        burns=StreamWriteOnce(invites, subjects.burns()),
    )


def conflict(subject: str, found: Found | None) -> WriteConflict:
    """The error for a write that came too late."""
    if found is None:
        return WriteConflict(f"{subject} is not there any more")
    return WriteConflict(
        f"somebody else wrote {subject} first", revision=found.seq, data=None if found.removed else found.data
    )


class StreamKeyValue:
    """`workspace.KeyValue` over one stream, laid out as NATS tools expect it of a bucket."""

    def __init__(self, stream: Stream, bucket: str) -> None:
        self._stream = stream
        self._root = f"$KV.{bucket}."

    async def get(self, key: str) -> Entry | None:
        """See `workspace.KeyValue`."""
        found = await self._stream.get(self._root + check_key(key))
        return None if found is None or found.removed else Entry(found.data, found.seq)

    async def create(self, key: str, value: bytes) -> int:
        """See `workspace.KeyValue`."""
        subject = self._root + check_key(key)
        try:
            return await self._stream.write(subject, value, expected=0)
        except WriteConflict as conflict:
            # What is left of a deleted key is no value.
            if conflict.data is not None or not conflict.revision:
                raise
            return await self._stream.write(subject, value, expected=conflict.revision)

    async def put(self, key: str, value: bytes, expected: int) -> int:
        """See `workspace.KeyValue`."""
        return await self._stream.write(self._root + check_key(key), value, expected=expected)

    async def delete(self, key: str, expected: int) -> None:
        """See `workspace.KeyValue`."""
        await self._stream.write(self._root + check_key(key), b"", expected=expected, removes=True)

    async def keys(self, prefix: str = "") -> list[str]:
        """See `workspace.KeyValue`."""
        root = self._root + (f"{check_key(prefix)}." if prefix else "")
        return sorted(
            [
                found.subject.removeprefix(self._root)
                async for found in self._stream.scan(root + ">")
                if not found.removed
            ]
        )

    async def changes(self, prefix: str = "", after: int = 0) -> AsyncIterator[Change]:
        """See `workspace.KeyValue`."""
        root = self._root + (f"{check_key(prefix)}." if prefix else "")
        async for found in self._stream.scan(root + ">", after):
            key = found.subject.removeprefix(self._root)
            yield Change(key, None if found.removed else found.data, found.seq, found.at_ms)


class StreamWriteOnce:
    """`workspace.WriteOnce` under one subject prefix."""

    def __init__(self, stream: Stream, pattern: str) -> None:
        self._stream = stream
        self._root = pattern.split("*", 1)[0]

    async def create(self, key: str, value: bytes) -> bool:
        """See `workspace.WriteOnce`."""
        try:
            await self._stream.write(self._root + check_key(key), value, expected=0, same_bytes=True)
        except WriteConflict:
            return False
        return True

    async def get(self, key: str) -> bytes | None:
        """See `workspace.WriteOnce`."""
        found = await self._stream.get(self._root + check_key(key))
        return None if found is None else found.data

    async def items(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        """See `workspace.WriteOnce`."""
        root = self._root + (f"{check_key(prefix)}." if prefix else "")
        async for found in self._stream.scan(root + ">"):
            yield found.subject.removeprefix(self._root), found.data


class StreamJournal:
    """`workspace.Journal` over one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def append(self, run: str, data: bytes, *, expected: int) -> int:
        """See `workspace.Journal`."""
        return await self._stream.write(subjects.journal(run), data, expected=expected, same_bytes=True)

    async def read(self, run: str, after: int = 0) -> AsyncIterator[Stored]:
        """See `workspace.Journal`."""
        async for found in self._stream.scan(subjects.journal(run), after):
            yield Stored(found.seq, found.data, found.at_ms)

    async def last(self, run: str) -> Stored | None:
        """See `workspace.Journal`."""
        found = await self._stream.last(subjects.journal(run))
        return None if found is None else Stored(found.seq, found.data, found.at_ms)

    async def runs(self) -> list[str]:
        """See `workspace.Journal`."""
        found = [subjects.route(subject).run for subject in await self._stream.subjects(subjects.journals())]
        return sorted(found, key=by_time)

    async def usage(self) -> Usage:
        """See `workspace.Journal`."""
        return await self._stream.usage()


class StreamArtifacts:
    """`workspace.Artifacts` over one stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def put(self, source: ArtifactSource, writer: str) -> ArtifactRef:
        """See `workspace.Artifacts`."""
        async with opened(source) as content:
            ref = content.ref(writer)
            for first in range(0, ref.chunks, _WINDOW):
                numbers = range(first, min(first + _WINDOW, ref.chunks))
                await _together([self._store(content, ref, number) for number in numbers])
            return ref

    async def _store(self, content: Content, ref: ArtifactRef, number: int) -> None:
        chunk = await content.chunk(number)
        await self._stream.write(_chunk_subject(ref, number), chunk, expected=0, same_bytes=True)

    async def get(self, ref: ArtifactRef) -> AsyncIterator[bytes]:
        """See `workspace.Artifacts`."""
        digest, size = hashlib.sha256(), 0
        for first in range(0, ref.chunks, _WINDOW):
            numbers = range(first, min(first + _WINDOW, ref.chunks))
            for chunk in await _together([self._fetch(ref, number) for number in numbers]):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        if size != ref.size or digest.digest() != ref.sha256:
            raise _damaged(ref)

    async def _fetch(self, ref: ArtifactRef, number: int) -> bytes:
        found = await self._stream.get(_chunk_subject(ref, number))
        if found is None:
            raise NotFound(
                f"part {number + 1} of {ref.chunks} of artifact {ref.digest[:12]} is not in the workspace"
            )
        if len(found.data) > CHUNK_BYTES:
            raise _damaged(ref)
        return found.data

    async def read(self, ref: ArtifactRef, max_bytes: int) -> bytes:
        """See `workspace.Artifacts`."""
        if ref.size > max_bytes:
            raise PayloadTooLarge(ref.size, max_bytes)
        return b"".join([chunk async for chunk in self.get(ref)])

    async def delete(self, ref: ArtifactRef) -> None:
        """See `workspace.Artifacts`."""
        await self._stream.purge(_chunk_subject(ref, 0).removesuffix("0") + "*")


def _damaged(ref: ArtifactRef) -> DigestMismatch:
    return DigestMismatch(
        f"the stored copy of {ref.digest[:12]} by {ref.writer[:8]} is not what its name says"
    )


def _chunk_subject(ref: ArtifactRef, number: int) -> str:
    return subjects.artifact(ref.digest, ref.writer, number)


async def _together(coroutines: list[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All results in order; on a failure the others are cancelled and the first error of ours is raised bare."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as failures:
        ours = [error for error in failures.exceptions if isinstance(error, (MeshError, OSError))]
        if ours:
            raise ours[0] from None
        raise
    return [task.result() for task in tasks]
