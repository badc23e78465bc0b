"""Which type may be said by whom, where, and how large (SPEC MSG-2, MSG-3, SUB-2).

The verification door takes these tables as arguments; they are data, so that the specification's table and the code can be compared by a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, TypeAdapter
from pydantic_core import SchemaValidator

from .messages import BATCH_MAX, MESSAGES, Type
from .verify import TypeRule

if TYPE_CHECKING:
    from pydantic.plugin._schema_validator import PluggableSchemaValidator

__all__ = [
    "BODY_BYTES_MAX",
    "BODY_NODES_MAX",
    "RULES",
    "TYPES_ON",
    "body_adapter",
    "body_validator",
    "types_on",
]

_CONTROL = 64 * 1024
"""Bodies that anybody may send: a hostile 64 KiB of msgpack expands to 5.5 MiB at the worst."""
_LARGE = 512 * 1024
"""Bodies that name many files, or hold many records. Half of the bus's largest message."""

BODY_BYTES_MAX: Final[dict[int, int]] = {
    kind: _LARGE
    if kind in (Type.AWARD, Type.SUBMIT_RUN, Type.FOR_RUN, Type.REPLY, Type.JOURNAL, Type.REVOCATION)
    else _CONTROL
    for kind in Type
}

BODY_NODES_MAX: Final[dict[int, int]] = {
    kind: 60_000 if BODY_BYTES_MAX[kind] == _LARGE else 10_000 for kind in Type
}
"""Decoded values in one body: a file reference is about 14 of them, so 60,000 is some 4,000 files."""

_ANY = frozenset({"agent", "coordinator", "client", "bus", "enroller", "admin", "observer"})
_AGENT = frozenset({"agent"})
_COORDINATOR = frozenset({"coordinator"})
_ENROLLER = frozenset({"enroller"})
_SUBMITTER = frozenset({"client", "coordinator", "admin"})
_WATCHER = _SUBMITTER | {"observer"}
_ADMIN = frozenset({"admin"})

_SENDERS: Final[dict[Type, frozenset[str]]] = {
    Type.ANNOUNCE: _COORDINATOR,
    Type.WITHDRAW: _COORDINATOR,
    Type.AWARD: _COORDINATOR,
    Type.REJECT: _COORDINATOR,
    Type.CANCEL: _COORDINATOR,
    Type.RESULT_ACK: _COORDINATOR,
    Type.BID: _AGENT,
    Type.DECLINE: _AGENT,
    Type.OFFER: _AGENT,
    Type.CONFIRM: _AGENT,
    Type.REFUSE: _AGENT,
    Type.STARTED: _AGENT,
    Type.PROGRESS: _AGENT,
    Type.RESULT: _AGENT,
    Type.FAILED: _AGENT,
    Type.CANCELLED: _AGENT,
    Type.HELLO: _ANY,
    Type.HEARTBEAT: _ANY,
    Type.GOODBYE: _ANY,
    Type.WHO: _COORDINATOR,
    Type.SUBMIT_RUN: _SUBMITTER,
    Type.CANCEL_RUN: _SUBMITTER,
    Type.LIST_RUNS: _WATCHER,
    Type.SHOW_RUN: _WATCHER,
    Type.LIST_NODES: _ANY,
    Type.CREATE_INVITE: _ADMIN,
    Type.LIST_INVITES: _ADMIN,
    Type.REVOKE_INVITE: _ADMIN,
    Type.LEAVE: _ANY,
    Type.REVOKE_NODE: _ADMIN,
    Type.RENEW: _ANY,
    Type.PING: _ANY,
    Type.PAUSE_RUN: _SUBMITTER,
    Type.RESUME_RUN: _SUBMITTER,
    Type.RUN_EVENTS: _WATCHER,
    Type.FOR_RUN: _COORDINATOR,
    Type.REPLY: _COORDINATOR | _ENROLLER,
    Type.EVENT: _COORDINATOR,
    Type.REVOCATION: _ENROLLER,
    Type.CHARTER: _ENROLLER,
    Type.HALT: _ADMIN,
    Type.JOURNAL: _COORDINATOR,
    Type.HEAD: _COORDINATOR,
}

RULES: Final[dict[int, TypeRule]] = {
    int(kind): TypeRule(
        code=int(kind), name=kind.name.lower(), max_body_bytes=BODY_BYTES_MAX[kind], roles=roles
    )
    for kind, roles in _SENDERS.items()
}
"""Every type: its name, its largest body, and the roles that may send it (`E_ROLE` otherwise)."""


def _codes(*kinds: Type) -> frozenset[int]:
    return frozenset(int(kind) for kind in kinds)


TYPES_ON: Final[dict[str, frozenset[int]]] = {
    "announce": _codes(Type.ANNOUNCE, Type.WITHDRAW),
    "to": _codes(
        Type.ANNOUNCE, Type.WITHDRAW, Type.AWARD, Type.REJECT, Type.CANCEL, Type.RESULT_ACK, Type.WHO
    ),
    "bid": _codes(Type.BID, Type.DECLINE),
    "work": _codes(
        Type.CONFIRM, Type.REFUSE, Type.STARTED, Type.PROGRESS, Type.RESULT, Type.FAILED, Type.CANCELLED
    ),
    "offer": _codes(Type.OFFER),
    "heartbeat": _codes(Type.HELLO, Type.HEARTBEAT, Type.GOODBYE),
    "request": frozenset(int(kind) for kind in Type if 0x0300 < kind < 0x0380),
    "inbox": _codes(Type.REPLY),
    "events": _codes(Type.EVENT),
    "control": _codes(Type.REVOCATION, Type.CHARTER, Type.HALT),
    "journal": _codes(Type.JOURNAL, Type.HEAD),
}
"""Kind of subject (`protocol.subjects.Route.kind`) -> the types that may come on it (`E_TYPE` otherwise)."""

_NONE: Final[frozenset[int]] = frozenset()


def types_on(kind: str) -> frozenset[int]:
    """The types that are allowed on a kind of subject."""
    return TYPES_ON.get(kind, _NONE)


_KNOWN: Final = frozenset(int(kind) for kind in MESSAGES)
_ADAPTERS: dict[int, TypeAdapter[Any]] = {}
_VALIDATORS: dict[int, SchemaValidator | PluggableSchemaValidator] = {}


def body_adapter(code: int) -> TypeAdapter[Any]:
    """The validator of a body (a list of items) of this type.

    Made when a type is first met: a node that only works never pays for the messages of a coordinator.

    Raises:
        KeyError: no such type; the verification door has refused it before (`E_TYPE`).
    """
    adapter = _ADAPTERS.get(code)
    if adapter is None:
        adapter = _ADAPTERS[code] = _make_adapter(code)
    return adapter


def body_validator(code: int) -> SchemaValidator | PluggableSchemaValidator:
    """The same validator without its Python wrapper, which costs a microsecond on every message.

    Raises:
        KeyError: no such type.
    """
    validator = _VALIDATORS.get(code)
    if validator is None:
        validator = _VALIDATORS[code] = body_adapter(code).validator
    return validator


def _make_adapter(code: int) -> TypeAdapter[Any]:
    if code == Type.JOURNAL:
        from .records import record_adapter

        return record_adapter()
    model = MESSAGES[Type(code)] if code in _KNOWN else None
    if model is None:
        raise KeyError(code)
    # A request has one reply, so it is alone in its body, and so is the reply.
    most = 1 if code in TYPES_ON["request"] or code in TYPES_ON["inbox"] else BATCH_MAX
    return TypeAdapter(Annotated[list[model], Field(min_length=1, max_length=most)])  # type: ignore[arg-type, valid-type]
