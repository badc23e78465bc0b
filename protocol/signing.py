"""Ed25519 (RFC 8032): one port, two libraries, one verdict (SPEC KEY-1 to KEY-5).

libsodium (by PyNaCl) verifies about twice as fast; `cryptography` (OpenSSL) is always there. The first that can be imported and passes a
self-test is chosen, once, when this module is loaded: `BACKEND` names it. Left alone the two do not agree about every signature: OpenSSL
takes public keys and nonce points of small order, libsodium does not; a later libsodium may verify with the cofactor. A swarm in which
two nodes disagree about a message can be split by whoever makes such a message. So:

- a public key is checked here, in Python, when it is prepared (`check_public_key`): wrong length, non-canonical, not on the curve, or
  one of the points of small order is `E_KEY`;
- a signature whose nonce point R has small order is refused whatever the library says;
- a library that takes a signature which holds only after multiplication by the cofactor is not used.

No randomness: keys are made from 32 bytes that the caller draws.
"""

from __future__ import annotations

import abc
import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .errors import Rejected

try:
    import nacl.bindings as _sodium
    from nacl._sodium import ffi as _ffi
    from nacl._sodium import lib as _lib
except ImportError:  # PyNaCl is an extra: not every platform has a wheel
    _HAVE_SODIUM = False
else:
    _HAVE_SODIUM = True
    # PyNaCl's own function makes two copies of the message that it returns. libsodium returns none when told so, which is
    # 2 % of accepting a message; the self-test below covers this binding like any other.
    _sodium_open: Callable[..., int] = _lib.crypto_sign_open
    _NULL = _ffi.NULL

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "BACKEND",
    "BACKENDS",  # noqa: F822 - made on demand by __getattr__
    "SIGNATURE_BYTES",
    "PublicKey",
    "SigningKey",
    "check_public_key",
    "key_id",
    "prepare",
    "verify",
]

SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
SEED_BYTES: Final = 32

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(encoding)
    for encoding in (
        "0100000000000000000000000000000000000000000000000000000000000000",  # the neutral element
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
"""The eight points whose order divides 8. Under such a key one signature holds for many messages, or for all."""

# A self-made key and its signatures of the empty message, which tell libraries apart.
_PROBE_KEY: Final = bytes.fromhex("24fa87fb224f72713b1eb78ea81a1746f62a686723aff7b25392a17fd8e55b62")
_PROBE_GOOD: Final = bytes.fromhex(
    "cae8aa7fe2b23c782ec08511f39efff5fd1a23472e32eebd326c4cf1e4a106c9"
    "8dc3f5eba1f1863c43f274e7e2a6a7c05a10e408521ef6e2e1e53e2412785d0d"
)
_PROBE_COFACTOR: Final = bytes.fromhex(  # holds only when both sides are multiplied by 8
    "7d50a11035f146a57dac73d7238ccc47ee1bdbd8b93c9ba3edfd676b37d5855e"
    "839de14deee1f70902698ca229cdff0c59adaa4f44ee48997b66dbbde488fc01"
)
_PROBE_NEUTRAL: Final = bytes.fromhex(  # holds, and R is the neutral element
    "0100000000000000000000000000000000000000000000000000000000000000"
    "ba7d697ae9792c18ee292dd2599c7125ead0bd86b73483ca1d72ff886cc7930c"
)


def check_public_key(public: bytes) -> None:
    """Refuse a public key that proves nothing, or that libraries read differently.

    Raises:
        Rejected: E_KEY for a wrong length, an encoding that is not the canonical one, no point of the curve, or one of the eight
            points of small order (KEY-2).
    """
    if len(public) != KEY_BYTES:
        raise Rejected("E_KEY", f"a public key has {KEY_BYTES} bytes, not {len(public)}")
    if public in _SMALL_ORDER:
        raise Rejected("E_KEY", "the public key is a point of small order")
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _P:
        raise Rejected("E_KEY", "the public key is not in its canonical encoding")
    y2 = y * y % _P
    # x^2 = u / v; u * v is a square exactly when u / v is. x = 0 only for y = 1 and y = -1: their canonical encodings are
    # in the list above, so what comes here with x = 0 has the sign of zero set.
    u = y2 - 1
    if u % _P == 0:
        raise Rejected("E_KEY", "the public key is not in its canonical encoding")
    if pow(u * (_D * y2 + 1) % _P, (_P - 1) // 2, _P) != 1:
        raise Rejected("E_KEY", "the public key is not a point of the curve")


def key_id(public: bytes) -> bytes:
    """Name a key that signs objects: 16 bytes (KEY-4)."""
    return hashlib.sha256(b"swarm-key-id-v1\0" + public).digest()[:16]


class PublicKey(abc.ABC):
    """A checked public key, prepared for many verifications."""

    __slots__ = ("raw",)

    def __init__(self, public: bytes) -> None:
        check_public_key(public)
        self.raw = bytes(public)

    @abc.abstractmethod
    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` (64 bytes) is this key's over `data`. Never raises for any bytes."""

    @abc.abstractmethod
    def verify_tail(self, prefix: bytes, message: bytes) -> bool:
        """Tell whether the last 64 bytes of `message` sign `prefix` and all of `message` before them (the hot path)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw.hex()})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)


class _OpensslKey(PublicKey):
    """By `cryptography`."""

    __slots__ = ("_invalid", "_key")

    def __init__(self, public: bytes) -> None:
        # Imported here: where libsodium does the work, a node need not carry OpenSSL a second time.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        super().__init__(public)
        self._invalid = InvalidSignature
        self._key = Ed25519PublicKey.from_public_bytes(self.raw)

    def verify(self, signature: bytes, data: bytes) -> bool:
        if signature[:32] in _SMALL_ORDER:
            return False
        try:
            self._key.verify(signature, data)
        except self._invalid:
            return False
        return True

    def verify_tail(self, prefix: bytes, message: bytes) -> bool:
        if len(message) < SIGNATURE_BYTES:
            return False
        return self.verify(message[-SIGNATURE_BYTES:], prefix + message[:-SIGNATURE_BYTES])


class _SodiumKey(PublicKey):
    """By libsodium, which takes signature and message in one piece and refuses a small-order R itself."""

    __slots__ = ()

    def verify(self, signature: bytes, data: bytes) -> bool:
        if len(signature) != SIGNATURE_BYTES:
            return False
        signed = signature + data
        return _sodium_open(_NULL, _NULL, signed, len(signed), self.raw) == 0

    def verify_tail(self, prefix: bytes, message: bytes) -> bool:
        if len(message) < SIGNATURE_BYTES:
            return False
        signed = message[-SIGNATURE_BYTES:] + prefix + message[:-SIGNATURE_BYTES]
        return _sodium_open(_NULL, _NULL, signed, len(signed), self.raw) == 0


def _agrees(kind: type[PublicKey]) -> bool:
    """Try a library on the three signatures about which libraries differ."""
    key = kind(_PROBE_KEY)
    return (
        key.verify(_PROBE_GOOD, b"")
        and not key.verify(_PROBE_COFACTOR, b"")
        and not key.verify(_PROBE_NEUTRAL, b"")
    )


_CANDIDATES: Final[dict[str, type[PublicKey]]] = {
    **({"pynacl": _SodiumKey} if _HAVE_SODIUM else {}),
    "cryptography": _OpensslKey,
}


@functools.cache
def _usable(name: str) -> bool:
    return _agrees(_CANDIDATES[name])


def __getattr__(name: str) -> Any:
    """`BACKENDS`: the libraries that can be used here, best first; tests run every vector on each."""
    if name == "BACKENDS":
        return {name: kind for name, kind in _CANDIDATES.items() if _usable(name)}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


BACKEND: Final = next(name for name in _CANDIDATES if _usable(name))
"""The library in use: the first that is there and passes the self-test."""
_IN_USE: Final = _CANDIDATES[BACKEND]


def prepare(public: bytes, backend: str | None = None) -> PublicKey:
    """Check a public key and make it ready for verifying, by `BACKEND` or by another of `BACKENDS`.

    Raises:
        Rejected: E_KEY, see `check_public_key`.
    """
    return (_IN_USE if backend is None else _CANDIDATES[backend])(public)


def verify(public: PublicKey | bytes, signature: bytes, data: bytes) -> bool:
    """Tell whether `signature` is that of `public` over `data`.

    Raises:
        Rejected: E_KEY, when `public` is raw bytes that are no usable key.
    """
    key = public if isinstance(public, PublicKey) else prepare(public)
    return key.verify(signature, data)


class SigningKey:
    """A private Ed25519 key. It never shows its seed, in `repr` neither."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._secret: Ed25519PrivateKey | bytes
        if BACKEND == "pynacl":
            self.public, self._secret = _sodium.crypto_sign_seed_keypair(seed)
        else:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            self._secret = Ed25519PrivateKey.from_private_bytes(seed)
            self.public = self._secret.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Make the key that belongs to 32 secret bytes (RFC 8032 section 5.1.5)."""
        return cls(seed)

    def sign(self, data: bytes) -> bytes:
        """Sign: 64 bytes, the same for the same data."""
        secret = self._secret
        if isinstance(secret, bytes):
            signed: bytes = _sodium.crypto_sign(data, secret)
            return signed[:SIGNATURE_BYTES]
        return secret.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.hex()})"
