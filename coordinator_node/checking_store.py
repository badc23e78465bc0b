"""Shell: fetches what a worker says it made, and has it checked.

Rules. Every output must be in the workspace with the bytes that its reference names; the first one must satisfy the subtask's schema, if there is one.
A workspace that does not answer for a while says nothing about the result, so the question is put again. Long checks run beside the event loop.
Answers with a reason, never an exception. Counterparts: `acceptance` judges, `engine` draws the conclusion.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mesh.errors import MeshError
from mesh.workspace import Artifacts
from protocol.artifact import ArtifactRef
from protocol.messages.base import JsonObject

from .acceptance import CHECKED_BYTES_MAX, Acceptance
from .orders import CheckResult, ResultChecked

__all__ = ["Checker"]

_AT_ONCE: Final = 16
_INLINE_BYTES: Final = 16 * 1024
"""Checking less takes under a millisecond: cheaper than another thread."""
_FETCHED_MAX: Final = 256 << 20
"""Larger outputs are not read through here; whoever reads them checks the digest."""
_PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)


class Checker:
    """Checks of one coordinator; at most so many at once."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._acceptance = Acceptance()
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def check(self, command: CheckResult) -> ResultChecked:
        """Fetch, compare, judge."""
        async with self._room:
            reason = await self._reason(command)
        return ResultChecked(command.run, command.subtask, command.attempt, command.epoch, reason)

    async def _reason(self, command: CheckResult) -> str:
        if command.schema is not None and not command.outputs:
            return "the result has no output, but its form was prescribed"
        for place, output in enumerate(command.outputs):
            schema = command.schema if place == 0 else None
            reason = await self._output(output.ref, schema)
            if reason:
                return f"{output.name}: {reason}"
        return ""

    async def _output(self, ref: ArtifactRef, schema: JsonObject | None) -> str:
        if schema is not None and ref.size > CHECKED_BYTES_MAX:
            return f"{ref.size:,} bytes is more than can be checked ({CHECKED_BYTES_MAX:,})"
        for pause in (*_PAUSES_S, None):
            try:
                data = await self._fetch(ref, keep=schema is not None)
            except MeshError as error:
                if not error.retryable or pause is None:
                    return f"it is not in the workspace: {error.message}"
                await asyncio.sleep(pause)
                continue
            return await self._judge(data, schema)
        return ""

    async def _fetch(self, ref: ArtifactRef, *, keep: bool) -> bytes:
        if ref.size > _FETCHED_MAX:
            return b""
        parts = [chunk if keep else b"" async for chunk in self._artifacts.get(ref)]
        return b"".join(parts)

    async def _judge(self, data: bytes, schema: JsonObject | None) -> str:
        if schema is None:
            return ""
        try:
            if len(data) <= _INLINE_BYTES:
                return self._acceptance.check(data, schema)
            return await asyncio.to_thread(self._acceptance.check, data, schema)
        except Exception as error:  # noqa: BLE001 - a schema may break its checker in ways that nobody foresaw (a pattern, say)
            return f"it cannot be checked against its schema ({type(error).__name__}: {error})"[:500]
