"""`python -m protocol.conformance KIND`: compare anybody's implementation with this one (SPEC CONF-1 to CONF-4).

Reads one JSON object on standard input, writes one JSON object a line for each case; bytes are hex. KIND is `envelope`, `invite` or `key`.
The only file of this package that does I/O. Exit status: 0 when every case got an answer, 2 when the input cannot be read (one JSON object
with the reason on standard error); a refused case is an answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from .directory import Directory, Member
from .envelope import audience_hash
from .errors import Rejected, ZwermError
from .invite import decode_invite
from .limits import BODY_MAX_BYTES, CLEARANCE_MAX
from .signing import PublicKey, check_public_key, prepare
from .verify import TypeRule, Verifier

__all__ = ["main", "run"]

OK: Final = "OK"
_USAGE: Final = "usage: python -m protocol.conformance envelope|invite|key < input.json"
_EVERY_ROLE: Final = frozenset(("member",))
_EVERY_ZONE: Final = range(1 << 16)


class _BadInputError(ZwermError):
    """The input object is not what this KIND takes."""


def _get(where: dict[str, Any], name: str, kind: type, place: str) -> Any:
    value = where.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _BadInputError("E_INPUT", f"{place} needs {name!r} as {kind.__name__}")
    return value


def _hex(where: dict[str, Any], name: str, size: int | None, place: str) -> bytes:
    text = _get(where, name, str, place)
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise _BadInputError("E_INPUT", f"{name!r} of {place} is not hex") from None
    if size is not None and len(value) != size:
        raise _BadInputError("E_INPUT", f"{name!r} of {place} has {len(value)} bytes, not {size}")
    return value


def _objects(where: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, item in enumerate(_get(where, name, list, "the input")):
        if not isinstance(item, dict):
            raise _BadInputError("E_INPUT", f"{name}[{number}] is not an object")
        yield f"{name}[{number}]", item


def _audience(text: str) -> bytes:
    """The audience as text, or its 16-byte hash as 32 hex digits."""
    if len(text) == 32:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    return audience_hash(text)


class _NoKey(PublicKey):
    """A member's key that nobody should have admitted: no signature holds under it."""

    __slots__ = ()

    def __init__(self) -> None:
        # Not checked, since it is only here because the check failed.
        self.raw = bytes(32)

    def verify(self, signature: bytes, data: bytes) -> bool:
        return False

    def verify_tail(self, prefix: bytes, message: bytes) -> bool:
        return False


def _member_key(public: bytes) -> PublicKey:
    try:
        return prepare(public)
    except Rejected:
        return _NoKey()


def _envelope(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    now_ms = _get(given, "now_ms", int, "the input")
    swarm8 = _hex(given, "swarm8", 8, "the input")
    audience = _audience(_get(given, "audience", str, "the input"))
    types = _get(given, "types", list, "the input")
    if not all(type(kind) is int for kind in types):
        raise _BadInputError("E_INPUT", "'types' has something else than integers")
    rules = {kind: TypeRule(kind, f"{kind:04x}", BODY_MAX_BYTES, _EVERY_ROLE) for kind in types}
    directory = Directory()
    for place, item in _objects(given, "members"):
        directory.add(
            Member(
                _hex(item, "sender", 16, place),
                _member_key(_hex(item, "public_key", 32, place)),
                _hex(item, "serial", 8, place),
                expires_ms=_get(item, "expires_ms", int, place),
                roles=_EVERY_ROLE,
                zones=_EVERY_ZONE,
                clearance=CLEARANCE_MAX,
            )
        )
    allowed = frozenset(rules)
    for place, case in _objects(given, "cases"):
        raw = _hex(case, "hex", None, place)
        # A verifier of its own for each case: a fresh replay window and a full bucket.
        verifier = Verifier(swarm8, directory, rules)
        code = OK
        try:
            verifier.verify(raw, audience=audience, types=allowed, now_ms=now_ms)
        except Rejected as error:
            code = error.code
        yield {"id": case.get("id"), "code": code}


def _invite(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for place, case in _objects(given, "cases"):
        text = _get(case, "text", str, place)
        try:
            invite = decode_invite(text)
        except Rejected as error:
            yield {"id": case.get("id"), "code": error.code}
            continue
        yield {
            "id": case.get("id"),
            "code": OK,
            "version": invite.version,
            "flags": invite.flags,
            "expiry": invite.expiry,
            "invite_id": invite.invite_id.hex(),
            "secret": invite.secret.hex(),
            "swarm_id": invite.swarm_id.hex(),
            "bus_pin": invite.bus_pin.hex(),
            "endpoints": [endpoint._asdict() for endpoint in invite.endpoints],
        }


def _key(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for place, case in _objects(given, "cases"):
        code = OK
        try:
            check_public_key(_hex(case, "public_key", None, place))
        except Rejected as error:
            code = error.code
        yield {"id": case.get("id"), "code": code}


_KINDS: Final[dict[str, Callable[[dict[str, Any]], Iterator[dict[str, Any]]]]] = {
    "envelope": _envelope,
    "invite": _invite,
    "key": _key,
}


def run(kind: str, text: str | bytes, out: IO[str]) -> None:
    """Answer every case of one input.

    Args:
        kind: `envelope`, `invite` or `key`.
        text: The JSON object.
        out: Takes one JSON object a line.

    Raises:
        ZwermError: E_INPUT, when the input is not as it should be.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _BadInputError("E_INPUT", f"standard input is not one JSON object: {error}") from None
    if not isinstance(given, dict):
        raise _BadInputError("E_INPUT", "standard input is not one JSON object")
    for answer in _KINDS[kind](given):
        out.write(json.dumps(answer, separators=(",", ":")) + "\n")


def main(arguments: list[str]) -> int:
    """The command; gives the exit status."""
    if len(arguments) != 1 or arguments[0] not in _KINDS:
        sys.stderr.write(_USAGE + "\n")
        return 2
    try:
        run(arguments[0], sys.stdin.buffer.read(), sys.stdout)
    except ZwermError as error:
        sys.stderr.write(json.dumps({"code": error.code, "message": error.message}) + "\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
