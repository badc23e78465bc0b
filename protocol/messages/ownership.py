"""What coordinators say about whose a run is: a request handed on to a run's owner, and the checkpoint of a run's journal.

A run belongs to one coordinator at a time, and any of them may be asked. The one that was asked hands what only the owner can do to the
owner, and answers with the owner's answer.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..artifact import ArtifactRef
from ..ids import NodeHex, RunId
from .base import Item, JsonObject
from .contract import Epoch

__all__ = ["ForRun", "Head"]


class ForRun(Item):
    """0310: a request about a run, handed to the owner `to` on behalf of the member `by`. `asks` and `item` are the request's type and its one item."""

    to: NodeHex
    by: NodeHex
    run: RunId
    asks: Annotated[int, Field(ge=0x0301, le=0x037F)]
    item: JsonObject
    body: Annotated[bytes, Field(max_length=1 << 19)] = b""
    """The item in msgpack, where it has bytes; `item` is empty then."""


class Head(Item):
    """0602: how far a run's journal has come: its last message then, its SHA-256, and the records up to it."""

    run: RunId
    seq: Annotated[int, Field(ge=1, le=1 << 52)]
    count: Annotated[int, Field(ge=1, le=1 << 52)]
    digest: Annotated[bytes, Field(min_length=32, max_length=32)]
    epoch: Epoch
    owner: NodeHex
    closed: bool = False
    snapshot: ArtifactRef | None = None
    """The run's state as of some message up to `seq`, in the owner's own form."""
