"""Field types that charter, certificate, invite record and enrolment share, and the step from bytes to a checked model.

A name is shown to people and written into files, so it has no control or formatting characters, no spaces at all, and nothing that has a
meaning in a bus subject; names never reach a subject or a bus permission all the same.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from .codec import pack, unpack
from .errors import Rejected
from .limits import (
    CAPABILITIES_MAX,
    CAPABILITY_CHARS,
    CLEARANCE_MAX,
    MSGPACK_NODES,
    NAME_CHARS,
    ROLES_MAX,
    ZONES_MAX,
)

__all__ = [
    "ROLES",
    "Bytes8",
    "Bytes16",
    "Bytes32",
    "Capabilities",
    "Clearance",
    "Name",
    "Role",
    "Roles",
    "Seconds",
    "Wire",
    "ZoneIndexes",
    "decode_model",
    "encode_model",
]

ROLES: Final = (
    "agent",
    "coordinator",
    "client",
    "bus",
    "enroller",
    "admin",
    "observer",
    "keyholder",
    "declassifier",
)
"""Every role (CERT-4)."""

_FORBIDDEN_IN_NAMES: Final = frozenset(".*>/\\\"'`$")


class Wire(BaseModel):
    """Base of what is signed: strict, closed, frozen; `alias` is the key on the wire."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, validate_by_alias=True, validate_by_name=True
    )


def _check_name(name: str) -> str:
    for character in name:
        if character in _FORBIDDEN_IN_NAMES or unicodedata.category(character)[0] in "CZ":
            raise ValueError(f"a name cannot contain {character!r}")
    return name


def _check_role(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"{role!r} is not a role")
    return role


def _check_distinct(items: list[Any]) -> list[Any]:
    if len(set(items)) != len(items):
        raise ValueError("an entry occurs twice")
    return items


Bytes8 = Annotated[bytes, Field(min_length=8, max_length=8)]
Bytes16 = Annotated[bytes, Field(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Field(min_length=32, max_length=32)]
Seconds = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
"""Unix seconds, or a duration in seconds; u32, like the invite's expiry."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS), AfterValidator(_check_name)]
Role = Annotated[str, AfterValidator(_check_role)]
Roles = Annotated[list[Role], Field(min_length=1, max_length=ROLES_MAX), AfterValidator(_check_distinct)]
Capability = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9-]*(\.[a-z0-9][a-z0-9-]*){0,5}$", max_length=CAPABILITY_CHARS),
]
Capabilities = Annotated[
    list[Capability], Field(max_length=CAPABILITIES_MAX), AfterValidator(_check_distinct)
]
Zone = Annotated[int, Field(ge=1, le=0xFFFF)]
ZoneIndexes = Annotated[list[Zone], Field(max_length=ZONES_MAX), AfterValidator(_check_distinct)]
"""Indexes in the charter's zone table, from 1; zone 0 is the swarm and needs no right."""
Clearance = Annotated[int, Field(ge=0, le=CLEARANCE_MAX)]

W = TypeVar("W", bound=Wire)


def encode_model(model: Wire, *, max_nodes: int = MSGPACK_NODES) -> bytes:
    """Encode a model as msgpack, keys as on the wire; `max_nodes` as in `pack`.

    Raises:
        Rejected: E_BODY, when it has more values than its reader takes.
    """
    return pack(model.model_dump(by_alias=True), max_nodes=max_nodes)


def decode_model(kind: type[W], body: bytes, *, max_nodes: int = MSGPACK_NODES) -> W:
    """Decode and check a body; `max_nodes` as in `unpack`.

    Raises:
        Rejected: E_BODY, E_SCHEMA (with the field's name and what is wrong with it).
    """
    value = unpack(body, max_nodes=max_nodes)
    try:
        # By alias only: a second spelling of a key would be a second encoding of one meaning.
        return kind.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise Rejected("E_SCHEMA", f"{kind.__name__.lower()} field {where or '(all)'}: {what}") from None
