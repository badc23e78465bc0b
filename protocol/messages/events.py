"""What is told to everybody who watches, and to everybody at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from .base import Item, JsonObject, Note

__all__ = ["CharterNotice", "Event", "Halt", "Revocation"]


class Event(Item):
    """0401: something happened in a run. `seq` grows with the journal, so a watcher can ask for what it missed."""

    seq: Annotated[int, Field(ge=0, le=1 << 60)]
    at_ms: Annotated[int, Field(ge=0, le=1 << 52)]
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z_]+)*$", max_length=48)]
    subtask: Annotated[str, StringConstraints(max_length=64)] = ""
    node: Annotated[str, StringConstraints(max_length=64)] = ""
    data: JsonObject = {}


class Revocation(Item):
    """0501: these certificates no longer hold (the signed list itself is the authority)."""

    revocations: Annotated[bytes, Field(max_length=262_144)]


class CharterNotice(Item):
    """0502: the charter has a new head."""

    charter: Annotated[bytes, Field(max_length=65_536)]


class Halt(Item):
    """0503: stop every agent process now."""

    halt: Annotated[bytes, Field(max_length=4096)]
    reason: Note = ""
