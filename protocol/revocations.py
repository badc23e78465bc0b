"""The list of what no longer holds: nodes, certificates, invites, issuers (SPEC REV-1 to REV-4). A signed object of kind 3.

The list is whole: number n+1 contains everything of number n that may still matter, so whoever has the newest needs no other. It says by
when the next one will come. Revocations are dated: what was stored before stays true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from .charter import Charter
from .directory import Directory
from .errors import Rejected
from .fields import Seconds, Wire, decode_model, encode_model
from .limits import REVOCATIONS_NODES, REVOKED_MAX
from .objects import Kind, open_object, read_head, sign_object
from .signing import SigningKey

__all__ = ["NEXT_S", "Revocations", "Revoked", "open_revocations", "sign_revocations"]

NEXT_S = 86_400
"""A new list comes at least daily."""
_ID_BYTES: Final = {"node": 16, "issuer": 16, "serial": 8, "invite": 8}


class Revoked(Wire):
    """One entry."""

    kind: Literal["node", "serial", "invite", "issuer"]
    id: Annotated[bytes, Field(min_length=8, max_length=16)]
    """Node id or issuer key id (16 bytes), serial or invite id (8 bytes)."""
    at: Seconds
    """What it signed from this Unix second on is void."""
    why: Annotated[str, StringConstraints(max_length=200)] = ""

    @model_validator(mode="after")
    def _id_fits(self) -> Self:
        if len(self.id) != _ID_BYTES[self.kind]:
            raise ValueError(f"the id of a {self.kind} has {_ID_BYTES[self.kind]} bytes, not {len(self.id)}")
        return self


class Revocations(Wire):
    """The whole list."""

    v: Annotated[int, Field(ge=1, le=1)] = 1
    n: Annotated[int, Field(ge=1, le=1 << 48)]
    issued: Seconds
    next: Seconds
    revoked: Annotated[list[Revoked], Field(max_length=REVOKED_MAX)]

    def apply(self, directory: Directory) -> None:
        """Strike everything listed from a directory."""
        for entry in self.revoked:
            directory.revoke(entry.at * 1000, **{entry.kind: entry.id})

    def with_entries(self, entries: Sequence[Revoked], now_s: float) -> Revocations:
        """The next list: this one and more.

        Raises:
            Rejected: E_LONG, the list would have more entries than its readers take.
        """
        known = {(entry.kind, entry.id) for entry in self.revoked}
        fresh = [entry for entry in entries if (entry.kind, entry.id) not in known]
        if len(self.revoked) + len(fresh) > REVOKED_MAX:
            raise Rejected(
                "E_LONG",
                f"the list would have {len(self.revoked) + len(fresh):,} entries; {REVOKED_MAX:,} is the most",
                "Name a new issuer in the charter, and revoke the old one with all that it certified.",
            )
        return Revocations(
            n=self.n + 1, issued=int(now_s), next=int(now_s) + NEXT_S, revoked=[*self.revoked, *fresh]
        )


def sign_revocations(revocations: Revocations, issuer: SigningKey) -> bytes:
    """The list as a signed object.

    Raises:
        Rejected: E_LONG, the reasons in it make it longer than an object may be.
    """
    body = encode_model(revocations, max_nodes=REVOCATIONS_NODES)
    return sign_object(Kind.REVOCATIONS, body, issuer)


def open_revocations(raw: bytes, charter: Charter) -> Revocations:
    """Verify a list against the charter.

    Raises:
        Rejected: the object codes, `E_ISSUER`, `E_SIG`, `E_BODY`, `E_SCHEMA`.
    """
    head = read_head(raw)
    if head.kind is not Kind.REVOCATIONS:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not a list of revocations")
    body = open_object(raw, Kind.REVOCATIONS, charter.issuer_key(head.issuer))
    revocations = decode_model(Revocations, body, max_nodes=REVOCATIONS_NODES)
    charter.issuer(head.issuer, revocations.issued)
    return revocations
