"""The workspace in one process: what tests and simulated worlds use in place of `workspace_nats.py`.

A `MemoryStore` is what all members share; `workspace()` gives the ports over it, which are the very ones of the real workspace
(`workspace_streams.py`). By a given `random.Random` a write can be lost, or done and not confirmed: both look the same to the writer.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

from .bus import matches
from .clock import Clock, SystemClock
from .errors import DiskFull, PayloadTooLarge, StoreUnavailable
from .workspace import MAX_MESSAGE_BYTES, STREAMS, Usage, Workspace, WorkspaceSizes
from .workspace_streams import Found, assemble, conflict, stream_configs

__all__ = ["MemoryStore"]


class MemoryStore:
    """All streams of a swarm."""

    def __init__(
        self,
        clock: Clock | None = None,
        sizes: WorkspaceSizes | None = None,
        rng: random.Random | None = None,
        *,
        lose: float = 0.0,
        lose_ack: float = 0.0,
    ) -> None:
        """Chances (0.0 to 1.0) that a write is lost, or that only its confirmation is; they need `rng`."""
        self.rng = rng or random.Random(0)  # noqa: S311  # a simulation, not a secret
        self.lose = lose
        self.lose_ack = lose_ack
        self.clock = clock or SystemClock()
        configs = stream_configs(sizes or WorkspaceSizes())
        self._streams = {name: MemoryStream(self, name, configs[name]) for name in STREAMS}

    def workspace(self) -> Workspace:
        """The ports."""
        return assemble(self.stream)

    def stream(self, name: str) -> MemoryStream:
        """One stream, for tests that look inside."""
        return self._streams[name]


class MemoryStream:
    """`workspace_streams.Stream` in a dictionary."""

    def __init__(self, store: MemoryStore, name: str, config: dict[str, Any]) -> None:
        """Use `MemoryStore`."""
        self._store = store
        self._name = name
        self._config = config
        self._messages: dict[int, Found] = {}
        self._newest: dict[str, int] = {}
        self._seq = 0
        self._bytes = 0

    async def write(
        self, subject: str, data: bytes, *, expected: int, removes: bool = False, same_bytes: bool = False
    ) -> int:
        """See `workspace_streams.Stream`."""
        if len(data) > MAX_MESSAGE_BYTES:
            raise PayloadTooLarge(len(data), MAX_MESSAGE_BYTES)
        store = self._store
        if store.lose and store.rng.random() < store.lose:
            raise StoreUnavailable(f"writing {subject}: the workspace does not answer (lost)")
        found = self._present(subject)
        if (found.seq if found else 0) != expected:
            if found is not None and same_bytes and found.data == data:
                return found.seq
            raise conflict(subject, found)
        self._append(subject, data, removes)
        if store.lose_ack and store.rng.random() < store.lose_ack:
            raise StoreUnavailable(f"writing {subject}: the workspace does not answer (not confirmed)")
        return self._seq

    def _append(self, subject: str, data: bytes, removes: bool) -> None:
        found = self._present(subject)
        replaced = self._config.get("max_msgs_per_subject") == 1 and found is not None
        added = _cost(subject, data) - (_cost(subject, found.data) if replaced and found else 0)
        if self._bytes + added > self._config["max_bytes"]:
            raise DiskFull(f"the space for {self._name} is used up")
        if replaced and found is not None:
            del self._messages[found.seq]
        self._seq += 1
        self._bytes += added
        self._newest[subject] = self._seq
        at_ms = int(self._store.clock.now() * 1000)
        self._messages[self._seq] = Found(subject, bytes(data), self._seq, at_ms, removes)

    def _present(self, subject: str) -> Found | None:
        seq = self._newest.get(subject)
        return None if seq is None else self._messages[seq]

    async def get(self, subject: str) -> Found | None:
        """See `workspace_streams.Stream`."""
        return self._present(subject)

    async def last(self, subject: str) -> Found | None:
        """See `workspace_streams.Stream`."""
        return self._present(subject)

    async def scan(self, pattern: str, after: int = 0) -> AsyncIterator[Found]:
        """See `workspace_streams.Stream`."""
        for seq in list(self._messages):
            found = self._messages.get(seq)
            if found is not None and seq > after and matches(pattern, found.subject):
                yield found

    async def subjects(self, pattern: str) -> list[str]:
        """See `workspace_streams.Stream`."""
        return [subject for subject in self._newest if matches(pattern, subject)]

    async def usage(self) -> Usage:
        """See `workspace_streams.Stream`."""
        return Usage(self._bytes, int(self._config["max_bytes"]))

    async def purge(self, pattern: str) -> None:
        """See `workspace_streams.Stream`."""
        for seq, found in list(self._messages.items()):
            if matches(pattern, found.subject):
                del self._messages[seq]
                self._newest.pop(found.subject, None)
                self._bytes -= _cost(found.subject, found.data)


def _cost(subject: str, data: bytes) -> int:
    # About what a server counts: content, subject, and a fixed header.
    return len(data) + len(subject) + 100
