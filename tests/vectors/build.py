"""Raw material of the test vectors: deterministic keys, and formats put together by hand so that they can also be put together wrongly.

Nothing here uses the code under test except Ed25519 and X25519 themselves: an error in the project's encoders cannot hide in the vectors.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
NOW_MS = 1_800_000_000_000
NOW_S = NOW_MS // 1000
ENV_DOMAIN = b"\xffswarm-env-v1\0\0\0"
OBJ_DOMAIN = b"\xffswarm-obj-v1\0"


@dataclass(frozen=True)
class Case:
    """One vector: what is given, what must come out, and the clause that says so."""

    kind: str
    id: str
    clause: str
    comment: str
    given: dict[str, Any]
    expect: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": f"{self.kind}/{self.id}",
            "kind": self.kind,
            "clause": self.clause,
            "comment": self.comment,
            "given": self.given,
            "expect": self.expect,
        }


def seed(label: str) -> bytes:
    """32 bytes that anybody can compute again."""
    return hashlib.sha256(b"zwerm test vector: " + label.encode()).digest()


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def compact(data: bytes) -> str | list[list[Any]]:
    """Hex; for more than 64 KiB a list of [hex, times], where all but the first 110 and the last 64 bytes is one byte repeated."""
    if len(data) <= 65536:
        return data.hex()
    head, middle, tail = data[:110], data[110:-64], data[-64:]
    assert middle == middle[:1] * len(middle)
    return [[head.hex(), 1], [middle[:1].hex(), len(middle)], [tail.hex(), 1]]


class Sign:
    """An Ed25519 key by label."""

    def __init__(self, label: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed(label))
        self.public = self._key.public_key().public_bytes_raw()
        self.id = sha(b"swarm-key-id-v1\0", self.public)[:16]
        self.node = sha(b"swarm-node-id-v1\0", self.public)[:16]

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class Box:
    """An X25519 key by label."""

    def __init__(self, label: str) -> None:
        self.seed = seed(label)
        self.key = X25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.key.public_key().public_bytes_raw()


def msg(value: object) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


# --- envelope ------------------------------------------------------------------------------------------------------------------

HEADER = struct.Struct(">2sBBHBBHI8s16s8s8sQQI16s16sI")
SWARM = sha(b"the swarm of the vectors")
AUDIENCE = "run/aaaaaaaaaaaaaaaaaaaaaaaaaa/bids"
TYPES = [0x0102, 0x0103]
NODE = Sign("node")
OTHER = Sign("other node")
EXPIRED = Sign("expired node")
SERIAL = bytes.fromhex("0102030405060708")
BODY = msg([{"subtask": "s1", "price": 0.25, "seconds": 12, "node": NODE.node}])


def audience_hash(text: str) -> bytes:
    return sha(b"swarm-aud-v1\0", text.encode())[:16]


@dataclass
class Env:
    """An envelope's fields, each of which a case may set to what it must not be."""

    magic: bytes = b"\xc1\x53"
    version: int = 1
    flags: int = 0
    type: int = 0x0102
    cls: int = 0
    reserved: int = 0
    zone: int = 0
    epoch: int = 0
    swarm: bytes = SWARM[:8]
    sender: bytes = NODE.node
    serial: bytes = SERIAL
    session: bytes = b"session1"
    seq: int = 1
    time_ms: int = NOW_MS
    ttl_s: int = 30
    audience: bytes = field(default_factory=lambda: audience_hash(AUDIENCE))
    context: bytes = bytes(16)
    length: int | None = None
    body: bytes = BODY
    key: Sign = NODE
    domain: bytes = ENV_DOMAIN

    def header(self) -> bytes:
        return HEADER.pack(
            self.magic,
            self.version,
            self.flags,
            self.type,
            self.cls,
            self.reserved,
            self.zone,
            self.epoch,
            self.swarm,
            self.sender,
            self.serial,
            self.session,
            self.seq,
            self.time_ms,
            self.ttl_s,
            self.audience,
            self.context,
            len(self.body) if self.length is None else self.length,
        )

    def signed(self) -> bytes:
        return self.header() + self.body

    def raw(self) -> bytes:
        signed = self.signed()
        return signed + self.key.sign(self.domain + signed)


# --- objects -------------------------------------------------------------------------------------------------------------------


def framed(
    kind: int,
    issuer: bytes,
    body: bytes,
    *,
    magic: bytes = b"\xc1\x4f",
    version: int = 1,
    length: int | None = None,
) -> bytes:
    return (
        struct.pack(">2sBB16sI", magic, version, kind, issuer, len(body) if length is None else length) + body
    )


def signed_object(kind: int, body: bytes, key: Sign, *, domain: bytes = OBJ_DOMAIN, **frame: Any) -> bytes:
    head = framed(kind, frame.pop("issuer", key.id), body, **frame)
    return head + key.sign(domain + head)


ROOT = Sign("root")
ROOT2 = Sign("second root")
ROOT3 = Sign("third root")
ISSUER = Sign("issuer")
ISSUER2 = Sign("second issuer")
ISSUER_BOX = Box("issuer box")
ISSUER_BOX2 = Box("second issuer box")
NODE_BOX = Box("node box")
NODE_BUS = Sign("node bus")


def grant(key: Sign = ISSUER, box: Box = ISSUER_BOX, **over: Any) -> dict[str, Any]:
    return {
        "pub": key.public,
        "box": box.public,
        "roles": ["agent", "client", "coordinator"],
        "zones": [1],
        "max_ttl": 604_800,
        "exp": NOW_S + 90 * 86_400,
        **over,
    }


def charter_fields(**over: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "name": "home",
        "n": 0,
        "prev": bytes(32),
        "roots": [ROOT.public],
        "k": 1,
        "issuers": [grant()],
        "bus": [{"url": "tls://192.0.2.1:4747", "ca_spki": sha(b"spki")}],
        "zones": ["lab"],
        "policy": {},
        "not_before_issue": {},
        **over,
    }


def charter_object(
    body: bytes, keys: list[Sign], *, issuer: bytes = bytes(16), count: int | None = None
) -> bytes:
    head = framed(1, issuer, body)
    signatures = b"".join(key.id + key.sign(OBJ_DOMAIN + head) for key in keys)
    return head + bytes([len(keys) if count is None else count]) + signatures


def swarm_id_of(body: bytes) -> bytes:
    return sha(b"swarm-charter-v1\0", body)


GENESIS = msg(charter_fields())
SWARM_ID = swarm_id_of(GENESIS)
GENESIS_OBJECT = charter_object(GENESIS, [ROOT])


def certificate_fields(**over: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "sw": SWARM_ID,
        "ser": SERIAL,
        "sig": NODE.public,
        "box": NODE_BOX.public,
        "bus": NODE_BUS.public,
        "nm": "laptop",
        "ro": ["agent", "client"],
        "cap": ["text.extract"],
        "zn": [1],
        "cl": 1,
        "nbf": NOW_S - 30,
        "exp": NOW_S - 30 + 604_800,
        "inv": b"invite01",
        "iss": ISSUER.id,
        "ch": 0,
        **over,
    }


# --- invite --------------------------------------------------------------------------------------------------------------------


def invite_bytes(
    *,
    version: int = 1,
    flags: int = 1,
    expiry: int = NOW_S + 3600,
    count: int | None = None,
    endpoints: list[bytes] | None = None,
    check: bytes | None = None,
    domain: bytes = b"swarm-invite-v1\0",
) -> bytes:
    entries = endpoints or []
    data = struct.pack(">BBI", version, flags, expiry) + seed("invite id")[:8] + seed("invite secret")[:16]
    data += (
        SWARM_ID + sha(b"spki")[:16] + bytes([len(entries) if count is None else count]) + b"".join(entries)
    )
    return data + (sha(domain, data)[:4] if check is None else check)


def ipv4(host: bytes, port: int) -> bytes:
    return b"\x01\x06" + host + port.to_bytes(2, "big")


def ipv6(host: bytes, port: int) -> bytes:
    return b"\x02\x12" + host + port.to_bytes(2, "big")


def dns(name: bytes, port: int) -> bytes:
    return b"\x03" + bytes([len(name) + 2]) + port.to_bytes(2, "big") + name


def invite_text(data: bytes, prefix: str = "swarm1") -> str:
    return prefix + base64.b32encode(data).decode().rstrip("=").lower()


# --- HPKE (RFC 9180), with a given ephemeral key so that the result is always the same ------------------------------------------

_KEM_ID = b"KEM\x00\x20"
_HPKE_ID = b"HPKE\x00\x20\x00\x01\x00\x03"


def _extract(salt: bytes, suite: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(prk: bytes, suite: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    done, block, n = b"", b"", 1
    while len(done) < size:
        block = hmac.digest(prk, block + labelled + bytes([n]), "sha256")
        done += block
        n += 1
    return done[:size]


def hpke_seal(public: bytes, plain: bytes, info: bytes, ephemeral: Box) -> bytes:
    enc = ephemeral.public
    dh = ephemeral.key.exchange(X25519PublicKey.from_public_bytes(public))
    shared = _expand(_extract(b"", _KEM_ID, b"eae_prk", dh), _KEM_ID, b"shared_secret", enc + public, 32)
    context = (
        b"\0" + _extract(b"", _HPKE_ID, b"psk_id_hash", b"") + _extract(b"", _HPKE_ID, b"info_hash", info)
    )
    secret = _extract(shared, _HPKE_ID, b"secret", b"")
    key = _expand(secret, _HPKE_ID, b"key", context, 32)
    nonce = _expand(secret, _HPKE_ID, b"base_nonce", context, 12)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, plain, b"")


# --- Ed25519 by hand, for signatures that no library makes ----------------------------------------------------------------------

_D = -121665 * pow(121666, -1, P) % P
_I = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]


def _x_of(y: int) -> int | None:
    u, v = (y * y - 1) % P, (_D * y * y + 1) % P
    x2 = u * pow(v, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * _I % P
    return None if (x * x - x2) % P else x


def add(a: Point, b: Point) -> Point:
    k = _D * a[0] * b[0] * a[1] * b[1] % P
    return (
        (a[0] * b[1] + b[0] * a[1]) * pow(1 + k, -1, P) % P,
        (a[1] * b[1] + a[0] * b[0]) * pow(1 - k, -1, P) % P,
    )


def mul(n: int, point: Point) -> Point:
    done: Point = (0, 1)
    while n:
        if n & 1:
            done = add(done, point)
        point = add(point, point)
        n >>= 1
    return done


_BY = 4 * pow(5, -1, P) % P
_BX = _x_of(_BY)
assert _BX is not None
BASE: Point = (_BX if _BX % 2 == 0 else P - _BX, _BY)
ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022  # the y of a point of order 8
_TX = _x_of(ORDER_8)
assert _TX is not None
TORSION: Point = (_TX, ORDER_8)


def encode_point(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def scalar(label: str) -> int:
    return int.from_bytes(hashlib.sha512(label.encode()).digest(), "little") % L


def hand_sign(secret: int, public: bytes, nonce: int, r_point: Point, data: bytes) -> bytes:
    """Sign with any nonce point; holds by the plain equation when `r_point` is `nonce` times the base point."""
    r = encode_point(r_point)
    k = int.from_bytes(hashlib.sha512(r + public + data).digest(), "little") % L
    return r + ((nonce + k * secret) % L).to_bytes(32, "little")
