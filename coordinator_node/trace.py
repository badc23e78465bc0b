"""A written-down history of an engine: every event with its time, in order, so that the same run can be played again.

An engine is deterministic: the same seed, settings, events and times make the same records. Format: a stream of msgpack arrays, first
`["zwerm.trace/1", seed, node, now]`, then `[now, kind, fields]` for each event. For debugging and tests; nothing reads it in normal work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgpack
from pydantic import BaseModel

from protocol import messages
from protocol.artifact import ArtifactRef
from protocol.plan import Plan

from . import orders
from .orders import Event, NodeInfo
from .state import RunState

__all__ = ["Head", "TraceReader", "TraceWriter"]

_SCHEMA = "zwerm.trace/1"


class Head(NamedTuple):
    """How the engine was made."""

    seed: int
    node: str
    now: float


class TraceWriter:
    """Appends to a file; each event is on its way to the disk before the engine sees it."""

    def __init__(self, path: Path, head: Head) -> None:
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._file.write(msgpack.packb([_SCHEMA, head.seed, head.node, head.now]))

    def event(self, event: Event, now: float) -> None:
        """Write one event. A recovered run is left out: its records are in the journal."""
        if isinstance(event, orders.RunRecovered):
            return
        content = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
        self._file.write(msgpack.packb([now, type(event).__name__, content]))

    def close(self) -> None:
        """Finish."""
        self._file.close()


class TraceReader:
    """Reads what a `TraceWriter` wrote; a torn last entry is left out."""

    def __init__(self, path: Path) -> None:
        self._unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 30)
        self._unpacker.feed(path.read_bytes())
        first = self._unpacker.unpack()
        if first[0] != _SCHEMA:
            raise ValueError(f"{path} is not a trace of this version")
        self.head = Head(*first[1:])

    def __iter__(self) -> Iterator[tuple[float, Event]]:
        for now, kind, content in self._unpacker:
            yield now, _event(kind, content)


def _plain(value: Any) -> Any:
    if isinstance(value, (BaseModel, NodeInfo)):
        if isinstance(value, NodeInfo):
            return ["NodeInfo", [value.node, value.bus_key, value.name, value.slots]]
        return [type(value).__name__, value.model_dump(by_alias=True)]
    if isinstance(value, (list, tuple)):
        return ["list", [_plain(item) for item in value]]
    assert not isinstance(value, RunState)
    return ["", value]


def _event(kind: str, content: dict[str, Any]) -> Event:
    event: Event = getattr(orders, kind)(**{name: _rich(value) for name, value in content.items()})
    return event


_MODELS: dict[str, type[BaseModel]] = {
    "Plan": Plan,
    "ArtifactRef": ArtifactRef,
    **{
        name: model
        for name in messages.__all__
        if isinstance(model := getattr(messages, name), type) and issubclass(model, BaseModel)
    },
}


def _rich(tagged: Any) -> Any:
    kind, value = tagged
    if kind == "":
        return value
    if kind == "list":
        return [_rich(item) for item in value]
    if kind == "NodeInfo":
        return NodeInfo(*value)
    return _MODELS[kind].model_validate(value)
