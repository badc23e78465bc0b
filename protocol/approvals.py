"""A person's answer to an agent that asked for leave (SPEC APR-1 to APR-4). A signed object of kind 5, bound to what exactly was asked.

The binding is a digest over the tool, its arguments and the run: an answer to one question is none to another, and an answer counts once, because
the asker forgets the question with it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from pydantic import Field

from .codec import pack
from .errors import Rejected
from .fields import Bytes16, Bytes32, Seconds, Wire, decode_model, encode_model
from .objects import Kind, open_object, sign_object
from .signing import PublicKey, SigningKey

__all__ = ["Approval", "asked_digest", "open_approval", "sign_approval"]

_DOMAIN: Final = b"swarm-approval-v1\0"


class Approval(Wire):
    """The body."""

    v: Annotated[int, Field(ge=1, le=1)] = 1
    swarm: Bytes32
    ask: Bytes16
    """Which question, by the id that its asker drew."""
    digest: Bytes32
    granted: bool
    at: Seconds


def asked_digest(tool: str, arguments: str, run: str) -> bytes:
    """What an answer is bound to."""
    return hashlib.sha256(_DOMAIN + pack([tool, arguments, run])).digest()


def sign_approval(approval: Approval, key: SigningKey) -> bytes:
    """The answer as a signed object; `key` is the one with which the device signs its messages."""
    return sign_object(Kind.APPROVAL, encode_model(approval), key)


def open_approval(raw: bytes, public: PublicKey, swarm: bytes, ask: bytes, digest: bytes) -> Approval:
    """Verify an answer to this very question.

    Raises:
        Rejected: in this order: the codes of an object of kind 5 by this key, E_BODY, E_SCHEMA, E_SWARM, E_AUD (it answers another question).
    """
    approval = decode_model(Approval, open_object(raw, Kind.APPROVAL, public))
    if approval.swarm != swarm:
        raise Rejected("E_SWARM", "the answer is for another swarm")
    if (approval.ask, approval.digest) != (ask, digest):
        raise Rejected("E_AUD", "the answer is to another question")
    return approval
