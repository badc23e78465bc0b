"""Sealing to one recipient: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 (SPEC SEAL-1).

A sealed thing is `enc (32 bytes) ‖ ciphertext ‖ tag (16 bytes)`: 48 bytes more than the plaintext. `info` binds it to its place (the
enrolment, the header of an envelope), so it cannot be opened, or be passed off, anywhere else. HPKE in base mode does not say who sealed:
whoever needs to know that signs as well. The ephemeral key is drawn by the library.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from .errors import Rejected

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import Suite

__all__ = ["SEAL_OVERHEAD", "BoxKey", "check_box_key", "seal"]

SEAL_OVERHEAD: Final = 48
"""Bytes that sealing adds."""
_P: Final = 2**255 - 19
_SMALL_ORDER_U: Final = frozenset(
    (
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
)
"""The u-coordinates, of the curve and of its twist, whose order divides 8: with them every shared secret is zero."""


@functools.cache
def _suite() -> Suite:
    # Imported when something is sealed or opened for the first time: most nodes never do, and the library weighs 6 MiB.
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def check_box_key(public: bytes) -> None:
    """Refuse an X25519 public key with which every shared secret is zero.

    Raises:
        Rejected: E_KEY for a wrong length or a point of small order (RFC 7748 section 6.1).
    """
    if len(public) != 32:
        raise Rejected("E_KEY", f"a box key has 32 bytes, not {len(public)}")
    if (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _P in _SMALL_ORDER_U:
        raise Rejected("E_KEY", "the box key is a point of small order")


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal `plaintext` to the owner of the X25519 key `public`, bound to `info`.

    Raises:
        Rejected: E_KEY, see `check_box_key`.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    check_box_key(public)
    return _suite().encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)


class BoxKey:
    """A private X25519 key. It never shows its seed."""

    __slots__ = ("_made", "_seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"a seed has 32 bytes, not {len(seed)}")
        self._seed: Final = bytes(seed)
        self._made: X25519PrivateKey | None = None

    @property
    def _secret(self) -> X25519PrivateKey:
        if self._made is None:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

            self._made = X25519PrivateKey.from_private_bytes(self._seed)
        return self._made

    @property
    def public(self) -> bytes:
        """The public half, 32 bytes."""
        return self._secret.public_key().public_bytes_raw()

    @classmethod
    def from_seed(cls, seed: bytes) -> BoxKey:
        """Make the key that belongs to 32 secret bytes."""
        return cls(seed)

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Open what was sealed to this key with the same `info`.

        Raises:
            Rejected: E_DECRYPT, whatever is wrong: telling more would help a forger.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return _suite().decrypt(sealed, self._secret, info)
        except (InvalidTag, ValueError):
            raise Rejected("E_DECRYPT") from None

    def __repr__(self) -> str:
        return f"BoxKey(public={self.public.hex()})"
