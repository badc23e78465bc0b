"""A stand-in for Ed25519 in simulated worlds: a keyed hash behind the same port, thirty times as fast.

Rules. It proves nothing to anybody who can read memory, so nothing but a simulator may use it; everything around the signature (seal, order of the tests,
replay windows, decoding) stays the real code. Every hundredth seed uses real signatures.
"""

from __future__ import annotations

import hashlib

from protocol.signing import SIGNATURE_BYTES, PublicKey, SigningKey

__all__ = ["HashPublicKey", "HashSigningKey", "pair"]


def _mac(secret: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=secret, digest_size=SIGNATURE_BYTES).digest()


class HashSigningKey(SigningKey):
    """The signing half. Its public key, and so the node's id, is the real one."""

    __slots__ = ()

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self._secret = seed

    def sign(self, data: bytes) -> bytes:
        """Sign: 64 bytes, the same for the same data."""
        assert isinstance(self._secret, bytes)
        return _mac(self._secret, data)


class HashPublicKey(PublicKey):
    """The verifying half, which knows the secret."""

    __slots__ = ("_secret",)

    def __init__(self, public: bytes, seed: bytes) -> None:
        super().__init__(public)
        self._secret = seed

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` is this key's over `data`."""
        return _mac(self._secret, data) == signature

    def verify_tail(self, prefix: bytes, message: bytes) -> bool:
        """Tell whether the last 64 bytes of `message` sign `prefix` and all of `message` before them."""
        return _mac(self._secret, prefix + message[:-SIGNATURE_BYTES]) == message[-SIGNATURE_BYTES:]


def pair(seed: bytes, *, real: bool) -> tuple[SigningKey, PublicKey | bytes]:
    """A key pair made from 32 bytes: real Ed25519, or the stand-in."""
    if real:
        key = SigningKey.from_seed(seed)
        return key, key.public
    stand_in = HashSigningKey(seed)
    return stand_in, HashPublicKey(stand_in.public, seed)
