"""Bus credentials: the signed JSON tokens by which a bus server knows operators, accounts and users.

Pure Python on nkeys (no `nsc`). The chain is operator -> account -> user: a server holds only the operator's and the accounts' tokens and
no secret at all; a user token signed by one of an account's *scoped* signing keys carries no permission of its own, the scope does, so
nobody can widen it. Times are whole Unix seconds, and a revocation compares with one-second granularity: a token made in the same second
as its revocation is revoked too. Counterpart: the server's `resolver`; the scopes themselves are in `bus_accounts.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from protocol.errors import Rejected
from protocol.signing import verify

from .errors import KeyFormat, TokenRefused
from .nkeys import Kind, NKey, raw_public

__all__ = [
    "MAX_TOKEN_CHARS",
    "REVOKE_ALL",
    "TokenKind",
    "account_token",
    "expiry",
    "operator_token",
    "read_token",
    "user_scope",
    "user_token",
]

TokenKind = Literal["operator", "account", "user"]
"""The three kinds of token."""

MAX_TOKEN_CHARS: Final = 3_800
"""A token travels in the CONNECT line, which the server limits to 4,096 bytes with all else that is in it."""

REVOKE_ALL: Final = "*"
"""Key of the revocation map that stands for every user of the account."""

_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_NO_LIMITS: Final = {
    "subs": -1,
    "data": -1,
    "payload": -1,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "conn": -1,
    "leaf": -1,
}
_JETSTREAM: Final = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _token(
    body: dict[str, Any], signer: NKey, *, name: str, subject: str, now: float, exp: float | None
) -> str:
    claims: dict[str, Any] = {
        "iat": int(now),
        "iss": signer.public,
        "name": name,
        "nats": {**body, "version": 2},
        "sub": subject,
    }
    if exp is not None:
        claims["exp"] = int(exp)
    digest = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).digest()
    claims["jti"] = base64.b32encode(digest).rstrip(b"=").decode("ascii")
    header, payload = (_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
    signed = f"{header}.{payload}"
    return f"{signed}.{_b64(signer.sign(signed.encode('ascii')))}"


def operator_token(
    operator: NKey, name: str, *, system_account: str, signing_keys: Sequence[str], now: float
) -> str:
    """The swarm's root on the bus. Made once and kept: a server refuses to reload when these bytes change."""
    body = {"type": "operator", "system_account": system_account, "signing_keys": list(signing_keys)}
    return _token(body, operator, name=name, subject=operator.public, now=now, exp=None)


def account_token(
    operator: NKey,
    account: str,
    name: str,
    *,
    now: float,
    scopes: Sequence[Mapping[str, Any]] = (),
    limits: Mapping[str, int] | None = None,
    jetstream: bool = False,
    exports: Sequence[Mapping[str, Any]] = (),
    imports: Sequence[Mapping[str, Any]] = (),
    revocations: Mapping[str, int] | None = None,
    default_permissions: Mapping[str, Any] | None = None,
) -> str:
    """An account: its scoped signing keys, limits, what it exports and imports, and who is revoked.

    Args:
        operator: the operator's key or one of its signing keys.
        account: the account's public key.
        name: shown in the server's monitoring.
        now: Unix seconds; a server keeps the token with the newest time.
        scopes: from `user_scope`, one for each role.
        limits: replaces single entries of "no limit".
        jetstream: whether the account may store anything.
        exports: services or streams offered to other accounts.
        imports: services or streams of other accounts.
        revocations: user's public key (or `REVOKE_ALL`) -> Unix seconds; tokens made up to then are void.
        default_permissions: for users signed by the account key itself.
    """
    body: dict[str, Any] = {
        "type": "account",
        "limits": {**_NO_LIMITS, **(_JETSTREAM if jetstream else {}), **(limits or {})},
        "default_permissions": dict(default_permissions or {"pub": {}, "sub": {}}),
        "signing_keys": [dict(scope) for scope in scopes],
    }
    if exports:
        body["exports"] = [dict(entry) for entry in exports]
    if imports:
        body["imports"] = [dict(entry) for entry in imports]
    if revocations:
        body["revocations"] = dict(sorted(revocations.items()))
    return _token(body, operator, name=name, subject=account, now=now, exp=None)


def user_scope(
    key: str,
    role: str,
    *,
    publish: Sequence[str],
    subscribe: Sequence[str],
    respond_s: float | None = None,
    limits: Mapping[str, int] | None = None,
    connection_types: Sequence[str] = ("STANDARD",),
) -> dict[str, Any]:
    """What every user signed by the account's signing key `key` may do, whatever its own token says.

    Subjects may contain `{{subject()}}`, which the server replaces by the user's own public key. No other template is ever used:
    `{{name()}}` and tags are values that the joiner chooses, and a name of `*` would open every subject.

    Args:
        key: public key of the signing key.
        role: name of the scope.
        publish: allowed subjects; an empty list allows nothing.
        subscribe: allowed subjects; `"subject queue"` allows only that queue group.
        respond_s: for how long after a request one reply may be sent to its reply subject; None for never.
        limits: `subs`, `data`, `payload` where they are limited.
        connection_types: what kinds of connection are accepted.
    """
    # An empty allow list would mean "everything" to the server.
    template: dict[str, Any] = {
        "pub": {"allow": list(publish)} if publish else {"deny": [">"]},
        "sub": {"allow": list(subscribe)} if subscribe else {"deny": [">"]},
        "subs": -1,
        "data": -1,
        "payload": -1,
        "allowed_connection_types": list(connection_types),
        **(limits or {}),
    }
    if respond_s is not None:
        template["resp"] = {"max": 1, "ttl": int(respond_s * 1e9)}
    return {"kind": "user_scope", "key": key, "role": role, "template": template, "description": ""}


def user_token(
    signer: NKey,
    user: str,
    name: str,
    *,
    account: str,
    now: float,
    exp: float | None,
    permissions: Mapping[str, Any] | None = None,
) -> str:
    """A user's credential.

    Args:
        signer: the account's key or one of its scoped signing keys.
        user: the user's public bus key.
        name: for people, in the server's monitoring; no permission depends on it.
        account: public key of the account.
        now: Unix seconds.
        exp: when the server cuts the connection, Unix seconds; None for never.
        permissions: only for a user signed by the account key itself: a scoped user that carries any is refused by the server.
    """
    body: dict[str, Any] = {"type": "user", "issuer_account": account, **(permissions or {})}
    if signer.public == account:
        del body["issuer_account"]
    token = _token(body, signer, name=name, subject=user, now=now, exp=exp)
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused(f"a bus credential of {len(token):,} characters does not fit into CONNECT")
    return token


def read_token(token: str, *, now: float | None = None, kind: TokenKind | None = None) -> dict[str, Any]:
    """The claims of a token whose signature holds.

    Whether the issuer may issue it is the caller's question (compare `iss`).

    Args:
        token: the token's text.
        now: Unix seconds to judge the expiry by; None leaves it out.
        kind: the type that is expected.

    Raises:
        TokenRefused: malformed, forged, expired, or of another kind.
    """
    try:
        header_part, payload_part, signature_part = token.strip().split(".")
        header, claims = json.loads(_unb64(header_part)), json.loads(_unb64(payload_part))
        signature = _unb64(signature_part)
        issuer = claims["iss"]
        issuer_key = raw_public(issuer, cast("Kind", issuer[0]))
        found = claims["nats"]["type"]
    except (ValueError, KeyError, TypeError, IndexError, KeyFormat) as error:
        raise TokenRefused("this bus credential is malformed") from error
    if header != _HEADER:
        raise TokenRefused("this bus credential names another signature algorithm than the bus's own")
    try:
        genuine = verify(issuer_key, signature, f"{header_part}.{payload_part}".encode("ascii"))
    except Rejected:  # a key that proves nothing
        genuine = False
    if not genuine:
        raise TokenRefused("the signature of this bus credential does not hold")
    if kind is not None and found != kind:
        raise TokenRefused(f"this bus credential is one of {found!r}, not of {kind!r}")
    exp = claims.get("exp")
    if now is not None and isinstance(exp, int) and exp <= now:
        raise TokenRefused("this bus credential has expired")
    return cast("dict[str, Any]", claims)


def expiry(token: str) -> float | None:
    """When a token expires, in Unix seconds; None for never. Reads its own device's token: nothing is verified."""
    try:
        exp = json.loads(_unb64(token.split(".")[1])).get("exp")
    except (ValueError, IndexError, AttributeError) as error:
        raise TokenRefused("this bus credential is malformed") from error
    return float(exp) if isinstance(exp, int) else None
