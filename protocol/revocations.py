"""The list of what no longer holds: nodes, certificates, invites, issuers (SPEC REV-1 to REV-4). A signed object of kind 3.

The list is whole: number n+1 contains everything of number n that may still matter, so whoever has the newest needs no other. It says by when the next one
will come; a node whose list is older than that stops privileged actions. Revocations are dated: what was stored before stays true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .charter import Charter
from .directory import Directory
from .errors import Rejected
from .fields import Seconds, Wire, decode_model, encode_model
from .objects import Kind, open_object, read_head, sign_object
from .signing import SigningKey

__all__ = ["NEXT_S", "Revocations", "Revoked", "open_revocations", "sign_revocations"]

NEXT_S = 86_400
"""A new list comes at least daily."""


class Revoked(Wire):
    """One entry."""

    kind: Literal["node", "serial", "invite", "issuer"]
    id: Annotated[bytes, Field(min_length=8, max_length=16)]
    """Node id or issuer key id (16 bytes), serial or invite id (8 bytes)."""
    at: Seconds
    """What it signed from this Unix second on is void."""
    why: Annotated[str, StringConstraints(max_length=200)] = ""


class Revocations(Wire):
    """The whole list."""

    v: Annotated[int, Field(ge=1, le=1)] = 1
    n: Annotated[int, Field(ge=1, le=1 << 48)]
    issued: Seconds
    next: Seconds
    revoked: Annotated[list[Revoked], Field(max_length=5000)]

    def apply(self, directory: Directory) -> None:
        """Strike everything listed from a directory."""
        for entry in self.revoked:
            directory.revoke(entry.at * 1000, **{entry.kind: entry.id})

    def with_entries(self, entries: Sequence[Revoked], now_s: float) -> Revocations:
        """The next list: this one and more."""
        known = {(entry.kind, entry.id) for entry in self.revoked}
        fresh = [entry for entry in entries if (entry.kind, entry.id) not in known]
        return Revocations(
            n=self.n + 1, issued=int(now_s), next=int(now_s) + NEXT_S, revoked=[*self.revoked, *fresh]
        )


def sign_revocations(revocations: Revocations, issuer: SigningKey) -> bytes:
    """The list as a signed object."""
    return sign_object(Kind.REVOCATIONS, encode_model(revocations), issuer)


def open_revocations(raw: bytes, charter: Charter) -> Revocations:
    """Verify a list against the charter.

    Raises:
        Rejected: the object codes, `E_ISSUER`, `E_SIG`, `E_BODY`, `E_SCHEMA`.
    """
    head = read_head(raw)
    if head.kind is not Kind.REVOCATIONS:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not a list of revocations")
    revocations = decode_model(
        Revocations, open_object(raw, Kind.REVOCATIONS, charter.issuer_key(head.issuer))
    )
    charter.issuer(head.issuer, revocations.issued)
    return revocations
