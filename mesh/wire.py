"""Items to envelopes and back, without any I/O: the same code for the endpoint on a real bus and for the simulated one.

Rules. A body that receivers would not take is never sealed: what is too large is divided, and a single item that is too large is refused. What was verified is
decoded here and nowhere else; what does not decode is counted against its true sender. Counterparts: `endpoint`, `sim.network`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError

from protocol.codec import pack, unpack
from protocol.envelope import Sealer
from protocol.errors import Rejected
from protocol.messages import BATCH_MAX, Item, Type, type_of
from protocol.registry import BODY_BYTES_MAX, BODY_NODES_MAX, body_adapter, body_validator
from protocol.verify import Accepted, Verifier

from .errors import MeshError

__all__ = ["decode", "packed", "seal_items"]


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
