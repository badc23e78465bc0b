"""NATS keys: Ed25519 keys in the text form that the bus server reads.

A bus key is base32 of one prefix byte (two for a seed), 32 key bytes and a CRC-16 (little-endian), without padding. The first letter
shows the kind: `O` operator, `A` account, `U` user, `S` a seed. A node's bus key only ever signs what a bus server chooses
(its nonce), therefore it is never the key that signs envelopes (SPEC ENV-1), and `sign_nonce` refuses anything that is not a nonce.
Counterpart: `bus_jwt.py`, which signs credentials with operator and account keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, Literal

from protocol.signing import SigningKey

from .errors import KeyFormat

__all__ = ["KEY_BYTES", "Kind", "NKey", "public_text", "raw_public"]

Kind = Literal["O", "A", "U"]
"""What a key stands for: operator, account or user."""

KEY_BYTES: Final = 32
"""Size of an Ed25519 seed and of a public key."""

_PREFIX: Final[dict[str, int]] = {"O": 14 << 3, "A": 0, "U": 20 << 3}
_KIND_OF: Final = {value: kind for kind, value in _PREFIX.items()}
_SEED_PREFIX: Final = 18 << 3
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{11,64}")


def _crc16(data: bytes) -> bytes:
    # binascii's CRC is the CCITT polynomial from zero: the one that nkeys use.
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")


def _encode(data: bytes) -> str:
    return base64.b32encode(data + _crc16(data)).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, TypeError) as error:
        raise KeyFormat("this is not a bus key: it holds characters outside base32") from error
    if len(raw) < 4 or _encode(raw[:-2]) != text or _crc16(raw[:-2]) != raw[-2:]:
        raise KeyFormat("this bus key is damaged: its checksum does not match")
    return raw[:-2]


def public_text(kind: Kind, raw: bytes) -> str:
    """The text form (`U...`) of a raw 32-byte public key."""
    if len(raw) != KEY_BYTES:
        raise KeyFormat(f"a public key is {KEY_BYTES} bytes, not {len(raw)}")
    return _encode(bytes([_PREFIX[kind]]) + raw)


def raw_public(text: str, kind: Kind) -> bytes:
    """The 32 raw bytes of a public key in text form.

    Raises:
        KeyFormat: the text is damaged or is a key of another kind.
    """
    raw = _decode(text)
    if raw[0] != _PREFIX[kind] or len(raw) != 1 + KEY_BYTES:
        raise KeyFormat(f"this is not a bus key of kind {kind}")
    return raw[1:]


class NKey:
    """A private bus key; `public` is its name on the bus."""

    __slots__ = ("_private", "_seed", "kind", "public")

    def __init__(self, kind: Kind, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise KeyFormat(f"a key seed is {KEY_BYTES} bytes, not {len(seed)}")
        self.kind: Kind = kind
        self._seed = seed
        self._private = SigningKey.from_seed(seed)
        self.public = public_text(kind, self._private.public)

    def __repr__(self) -> str:
        return f"NKey({self.public})"

    @classmethod
    def from_seed_bytes(cls, kind: Kind, seed: bytes) -> NKey:
        """A key from 32 random bytes."""
        return cls(kind, seed)

    @classmethod
    def from_seed(cls, text: str) -> NKey:
        """A key from its seed in text form (`SU...`).

        Raises:
            KeyFormat: the text is damaged, or not a seed.
        """
        raw = _decode(text)
        if len(raw) != 2 + KEY_BYTES or raw[0] & 0xF8 != _SEED_PREFIX:
            raise KeyFormat("this is not the seed of a bus key")
        kind = _KIND_OF.get((raw[0] & 7) << 5 | raw[1] >> 3)
        if kind is None:
            raise KeyFormat("this seed is of a kind that the swarm does not use")
        return cls(kind, raw[2:])  # type: ignore[arg-type]  # the table's keys are exactly Kind

    @property
    def raw(self) -> bytes:
        """The 32-byte raw public key, as the membership certificate carries it."""
        return raw_public(self.public, self.kind)

    @property
    def seed_bytes(self) -> bytes:
        """The 32 secret bytes."""
        return self._seed

    @property
    def seed(self) -> str:
        """The secret in text form (`SU...`)."""
        prefix = _PREFIX[self.kind]
        return _encode(bytes([_SEED_PREFIX | prefix >> 5, (prefix & 31) << 3]) + self._seed)

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature over `data`."""
        return self._private.sign(data)

    def sign_nonce(self, nonce: str) -> bytes:
        """Answer a bus server's challenge; the base64 form that CONNECT carries.

        The server chooses the nonce, so anything but the shape of a nonce is refused: else a rogue server could have an arbitrary
        text signed.

        Raises:
            KeyFormat: the server sent something that is not a nonce.
        """
        if not _NONCE.fullmatch(nonce):
            raise KeyFormat("the server asked this device to sign something that is not a nonce")
        return base64.b64encode(self.sign(nonce.encode("ascii")))
