"""What every message shares: strict, closed, frozen models, and the two value types that several messages use.

A body is a msgpack array of 1 to N items of one kind (SPEC MSG-1): one signature then covers a whole batch, and a batch of one costs
nothing extra.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from ..artifact import ArtifactRef

__all__ = [
    "Amount",
    "Budget",
    "Code",
    "Fraction",
    "Item",
    "JsonObject",
    "Millis",
    "Missing",
    "NamedRef",
    "Note",
    "Text",
    "Usage",
]


class Item(BaseModel):
    """One element of a body: unknown fields, wrong types and later changes are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


JsonObject = dict[str, JsonValue]
"""A declared free-form field; depth and size were bounded when the body was decoded."""

Millis = Annotated[int, Field(ge=0, le=10 * 24 * 3600 * 1000)]
"""A duration in milliseconds, at most ten days. Durations on the wire are relative: clocks differ."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Code = Annotated[str, StringConstraints(pattern=r"^[EW]_[A-Z0-9_]{1,40}$")]
Note = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]


class NamedRef(Item):
    """A file of a run: its name as people see it, its media type, and where its bytes are."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    media_type: Annotated[str, StringConstraints(max_length=127)] = "application/octet-stream"
    ref: ArtifactRef


class Missing(Item):
    """Something that a tolerant subtask goes on without, and why."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    code: Code
    message: Text = ""


Amount = Annotated[int, Field(ge=0, le=1 << 52)]
"""A count of something that is spent."""


class Usage(Item):
    """What was, will or may be spent. Money is in micro-credits, as in a bid's price; `children` are runs that an agent begins on its own."""

    money: Amount = 0
    tokens: Amount = 0
    steps: Amount = 0
    bytes_out: Amount = 0
    children: Amount = 0


class Budget(Item):
    """The most that a run may spend, each of what it names; what is None has no bound. `wall_ms`: from its beginning to its end."""

    money: Amount | None = None
    tokens: Amount | None = None
    steps: Amount | None = None
    bytes_out: Amount | None = None
    children: Amount | None = None
    wall_ms: Millis | None = None
