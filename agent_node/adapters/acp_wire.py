"""Shell: an agent's standard input and output as a stream of JSON messages, one a line, with bounds on everything.

It is the `Transport` of `acp.connection.Connection`. Lines that are no JSON object are noise and are counted; text that is not UTF-8 is read with
replacement characters; a line, the noise, and all of it together have a limit. Counterpart: `acp`.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Any, Final

from agent_node.errors import WorkError

from .acp_turn import Turn

__all__ = ["LINE_MOST", "Wire"]

LINE_MOST: Final = 64 << 20
"""Bytes of one message: results of tools are put into one."""
_NOISE_MOST: Final = 1 << 18


class Wire:
    """Both directions. `failed` is told once when a bound is met; reading ends then."""

    def __init__(
        self, process: Process, turn: Turn, most: int, failed: Callable[[WorkError], None], who: str
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in = process.stdin
        self._out = process.stdout
        self._turn = turn
        self._left = most
        self._most = most
        self._noise = 0
        self._failed = failed
        self._who = who

    async def send(self, message: dict[str, Any]) -> None:
        """Write one message."""
        self._in.write(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        await self._in.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when there will be no other."""
        try:
            return await self._next()
        except WorkError as error:
            self._failed(error)
        except ConnectionError:
            pass
        return None

    async def close(self) -> None:
        """End its input, which is how it is told that nobody listens any more."""
        self._in.close()

    async def _next(self) -> dict[str, Any] | None:
        while True:
            # What has arrived already is read without a wait, and others have work to do as well.
            await asyncio.sleep(0)
            try:
                line = await self._out.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                line = error.partial
                if not line:
                    return None
            except asyncio.LimitOverrunError:
                raise self._flood(f"a message of more than {LINE_MOST:,} bytes") from None
            self._left -= len(line)
            if self._left < 0:
                raise self._flood(f"more than the {self._most:,} bytes allowed")
            if not line.strip():
                continue
            message = _parsed(line)
            if message is not None:
                return message
            self._turn.noticed(line)
            self._noise += len(line)
            if self._noise > _NOISE_MOST:
                raise WorkError(
                    "E_AGENT_NONSENSE",
                    f"{self._who} writes what is no Agent Client Protocol; it begins: {self._turn.first_noise!r}. "
                    "Check its command line: `zwerm agents test`",
                    again=True,
                )

    def _flood(self, what: str) -> WorkError:
        return WorkError("E_OUTPUT_LIMIT", f"{self._who} wrote {what} and was ended", again=False)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
