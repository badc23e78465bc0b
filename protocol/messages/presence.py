"""Who is here and what they can do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from ..ids import AgentName, CapabilityName
from .base import Fraction, Item, Note

__all__ = ["AgentCard", "Goodbye", "Heartbeat", "Hello", "Who"]

Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class AgentCard(Item):
    """One agent of a node: its name, what it can do, in words and in capability names."""

    name: AgentName
    description: Note = ""
    capabilities: Annotated[list[CapabilityName], Field(max_length=256)]
    adapter: AgentName = "python"
    slots: Annotated[int, Field(ge=1, le=1 << 16)] = 1
    warning: Note = ""
    """What people should know before they trust it with their data; "" if there is nothing."""


class Hello(Item):
    """0201: this node has (re)started or (re)connected: what it is, what it offers, and its certificate for those who do not know it."""

    name: Name
    version: Name
    roles: Annotated[list[Name], Field(max_length=16)]
    protocols: Annotated[list[int], Field(max_length=8)] = [1]
    agents: Annotated[list[AgentCard], Field(max_length=256)] = []
    slots: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    certificate: Annotated[bytes, Field(max_length=4096)]
    started_ms: Annotated[int, Field(ge=0, le=1 << 52)] = 0


class Heartbeat(Item):
    """0202: still here. Says nothing about any attempt's progress."""

    load: Fraction
    slots_used: Annotated[int, Field(ge=0, le=1 << 16)]
    slots: Annotated[int, Field(ge=0, le=1 << 16)]
    running: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    refused: Annotated[int, Field(ge=0, le=1 << 52)] = 0
    """Envelopes that this node has refused since it started (invariant 8: counted and shown)."""
    halted: bool = False
    """Its agents were stopped by order, and it takes no work."""
    halt: Annotated[int, Field(ge=0, le=1 << 48)] = 0
    """Number of the newest order to halt or to go on that it has carried out; 0: none."""
    stopped: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    """Processes that it ended because of the order."""


class Goodbye(Item):
    """0203: leaving on purpose."""

    reason: Note = ""


class Who(Item):
    """0204: a coordinator that does not know this node (it has just started, say) asks it to say hello."""
