"""Sealing to one recipient: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (SPEC SEAL-1).

A sealed thing is `enc (32 bytes) ‖ ciphertext ‖ tag (16 bytes)`: 48 bytes more than the plaintext. `info` binds it to its place (the
enrolment, the header of an envelope), so it cannot be opened, or be passed off, anywhere else. HPKE in base mode does not say who sealed:
whoever needs to know that signs as well. The ephemeral key is drawn by the library.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from .errors import Rejected

__all__ = ["SEAL_OVERHEAD", "BoxKey", "check_box_key", "seal"]

SEAL_OVERHEAD: Final = 48
"""Bytes that sealing adds."""
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_PROBE: Final = X25519PrivateKey.from_private_bytes(b"\1" * 32)


def check_box_key(public: bytes) -> None:
    """Refuse an X25519 public key with which every shared secret is zero.

    Raises:
        Rejected: E_KEY for a wrong length or a point of small order (RFC 7748 section 6.1).
    """
    if len(public) != 32:
        raise Rejected("E_KEY", f"a box key has 32 bytes, not {len(public)}")
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Rejected("E_KEY", "the box key is a point of small order") from None


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal `plaintext` to the owner of the X25519 key `public`, bound to `info`.

    Raises:
        Rejected: E_KEY, see `check_box_key`.
    """
    check_box_key(public)
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)


class BoxKey:
    """A private X25519 key. It never shows its seed."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"a seed has 32 bytes, not {len(seed)}")
        self._secret: Final = X25519PrivateKey.from_private_bytes(seed)
        self.public: Final = self._secret.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> BoxKey:
        """Make the key that belongs to 32 secret bytes."""
        return cls(seed)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open what was sealed to this key with the same `info`.

        Raises:
            Rejected: E_DECRYPT, whatever is wrong: telling more would help a forger.
        """
        try:
            return _SUITE.decrypt(sealed, self._secret, info)
        except (InvalidTag, ValueError):
            raise Rejected("E_DECRYPT") from None

    def __repr__(self) -> str:
        return f"BoxKey(public={self.public.hex()})"
