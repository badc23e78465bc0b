"""What is told to everybody who watches, and to everybody at once."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from .base import Item, JsonObject, Note

__all__ = ["EVENT_SCHEMA", "CharterNotice", "Event", "Halt", "Revocation"]

EVENT_SCHEMA: Final = "zwerm.event/1"
"""The form of an event for programs (EVT-5)."""


class Event(Item):
    """0401: something happened in a run (EVT-1 to EVT-3).

    A durable event tells of one record, and `seq` is the record's number in its run, so a watcher sees what it missed and can ask for it. A volatile one
    tells of something that is not worth a record; `seq` is the number of the last record before it, and nobody is owed it.
    """

    seq: Annotated[int, Field(ge=0, le=1 << 60)]
    at_ms: Annotated[int, Field(ge=0, le=1 << 52)]
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z_]+)*$", max_length=48)]
    subtask: Annotated[str, StringConstraints(max_length=64)] = ""
    node: Annotated[str, StringConstraints(max_length=64)] = ""
    data: JsonObject = {}
    node_name: Annotated[str, StringConstraints(max_length=64)] = ""
    """What the coordinator calls the node: for people, not for programs to go by."""
    volatile: bool = False

    def document(self, run: str) -> dict[str, Any]:
        """The event as programs get it, the same from every door: `--json`, the SDK, the dashboard (EVT-5)."""
        return {
            "schema": EVENT_SCHEMA,
            "run": run,
            "seq": self.seq,
            "at_ms": self.at_ms,
            "kind": self.kind,
            "subtask": self.subtask,
            "node": self.node,
            "node_name": self.node_name,
            "volatile": self.volatile,
            "data": self.data,
        }


class Revocation(Item):
    """0501: these certificates no longer hold (the signed list itself is the authority)."""

    revocations: Annotated[bytes, Field(max_length=262_144)]


class CharterNotice(Item):
    """0502: the charter has a new head."""

    charter: Annotated[bytes, Field(max_length=65_536)]


class Halt(Item):
    """0503: stop every agent process now, or go on (the signed order itself is the authority)."""

    halt: Annotated[bytes, Field(max_length=4096)]
    reason: Note = ""
    certificate: Annotated[bytes, Field(max_length=4096)] = b""
    """Of the admin that signed it, so that whoever holds the charter can judge it."""
