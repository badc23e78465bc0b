"""Items to envelopes and back, and records to journal messages and back, without any I/O: the same code for the endpoint on a real bus and for the simulated one.

Rules. A body that receivers would not take is never sealed: what is too large is divided, and a single item that is too large is refused. What was verified is
decoded here and nowhere else; what does not decode is counted against its true sender. Counterparts: `endpoint`, `sim.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import ValidationError

from protocol import subjects
from protocol.codec import pack, unpack
from protocol.envelope import FLAG_JOURNAL, Header, Sealer, audience_hash
from protocol.errors import Rejected
from protocol.ids import run_bytes
from protocol.messages import BATCH_MAX, Item, Type, type_of
from protocol.registry import BODY_BYTES_MAX, BODY_NODES_MAX, body_adapter, body_validator
from protocol.verify import Accepted, Verifier

from .errors import MeshError

if TYPE_CHECKING:
    from protocol.records import Chain, Record

__all__ = ["Pack", "decode", "open_pack", "packed", "seal_items", "seal_pack"]


class Pack(NamedTuple):
    """One journal message: who wrote it, the link to the one before (none in journals of old), and its records."""

    header: Header
    chain: Chain | None
    records: list[Record]

    @property
    def author(self) -> str:
        """The writer's node id, hex."""
        return self.header.sender.hex()


def seal_items(
    sealer: Sealer, audience: str, items: Sequence[Item], *, context: bytes, now_ms: int, ttl_s: int
) -> list[bytes]:
    """Sign items of one type, in as few envelopes as the limits allow.

    Raises:
        MeshError: E_TOO_LARGE, one of them alone does not fit.
    """
    code = type_of(items[0])
    adapter = body_adapter(code)
    sealed: list[bytes] = []
    pending = [list(items[start : start + BATCH_MAX]) for start in range(0, len(items), BATCH_MAX)]
    pending.reverse()
    while pending:
        batch = pending.pop()
        try:
            body = packed(code, adapter.dump_python(batch, by_alias=True, exclude_defaults=True))
        except MeshError:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            pending += [batch[half:], batch[:half]]
            continue
        sealed.append(sealer.seal(code, audience, body, now_ms=now_ms, ttl_s=ttl_s, context=context))
    return sealed


def decode(verifier: Verifier, accepted: Accepted) -> list[Item]:
    """The items of a verified envelope.

    Raises:
        Rejected: E_BODY, E_SCHEMA; it was counted.
    """
    code = accepted.header.type
    try:
        return cast(
            "list[Item]",
            body_validator(code).validate_python(unpack(accepted.body, max_nodes=BODY_NODES_MAX[code])),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise verifier.refuse_accepted(
            accepted, "E_SCHEMA", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
    except Rejected as error:
        raise verifier.refuse_accepted(accepted, error.code, error.message) from None


def packed(code: Type, items: Any) -> bytes:
    """Encode a body that receivers of this type take.

    Raises:
        MeshError: E_TOO_LARGE, it has too many bytes or values, or values that no body can have (MSG-3).
    """
    name = code.name.lower()
    try:
        body = pack(items, max_nodes=BODY_NODES_MAX[code])
    except Rejected as error:
        raise MeshError(
            "E_TOO_LARGE",
            f"{len(items)} {name} cannot be sent: {error.message}",
            "Work on fewer files at a time.",
        ) from None
    if len(body) > BODY_BYTES_MAX[code]:
        raise MeshError(
            "E_TOO_LARGE",
            f"{len(items)} {name} take {len(body):,} bytes; {BODY_BYTES_MAX[code]:,} is the most",
            "Work on fewer files at a time.",
        )
    return body


def seal_pack(
    sealer: Sealer, run: str, records: Sequence[Record], chain: Chain | None, *, now_ms: int
) -> bytes:
    """One journal message: the link to the one before, and up to 255 records of one run (256 without a link), signed, flagged as stored.

    Raises:
        MeshError: E_TOO_LARGE.
    """
    from protocol.records import RECORDS_PER_MESSAGE_MAX

    items = [*([chain] if chain is not None else []), *records]
    assert records
    assert len(items) <= RECORDS_PER_MESSAGE_MAX
    body = packed(Type.JOURNAL, body_adapter(Type.JOURNAL).dump_python(items, by_alias=True))
    return sealer.seal(
        Type.JOURNAL,
        subjects.audience_journal(run),
        body,
        now_ms=now_ms,
        ttl_s=0,
        context=run_bytes(run),
        flags=FLAG_JOURNAL,
    )


def open_pack(verifier: Verifier, run: str, data: bytes, at_ms: int) -> Pack:
    """A journal message back: verified as of the time at which it was stored.

    Raises:
        Rejected: it is not what a coordinator of this swarm wrote for this run; E_VERSION: it was, and a newer zwerm is needed to read it.
    """
    from protocol.records import RECORDS_VERSION, Chain

    accepted = verifier.verify_stored(
        data,
        audience=audience_hash(subjects.audience_journal(run)),
        types=frozenset({int(Type.JOURNAL)}),
        at_ms=at_ms,
    )
    if accepted.header.context != run_bytes(run):
        raise verifier.refuse_accepted(accepted, "E_AUD")
    try:
        items = cast("list[Any]", decode(verifier, accepted))
    except Rejected as error:
        if error.code == "E_SCHEMA":
            _refuse_newer(accepted.body)
        raise
    chain = items[0] if isinstance(items[0], Chain) else None
    if chain is not None and chain.version > RECORDS_VERSION:
        _refuse_newer(accepted.body)
    records = items[1:] if chain is not None else items
    if not records or any(isinstance(record, Chain) for record in records):
        raise verifier.refuse_accepted(accepted, "E_SCHEMA", "a link stands at the beginning, before records")
    return Pack(accepted.header, chain, records)


def _refuse_newer(body: bytes) -> None:
    """Say which version of records a journal message needs, if it is one that this program does not know.

    Raises:
        Rejected: E_VERSION.
    """
    from protocol.records import RECORDS_VERSION

    items = unpack(body, max_nodes=BODY_NODES_MAX[Type.JOURNAL])
    first = items[0] if isinstance(items, list) and items else None
    version = first.get("version") if isinstance(first, dict) and first.get("k") == "chain" else None
    if type(version) is int and version > RECORDS_VERSION:
        raise Rejected(
            "E_VERSION",
            f"it was written with version {version} of the records, and this zwerm reads versions up to {RECORDS_VERSION}",
            "Update zwerm on this device.",
        )
