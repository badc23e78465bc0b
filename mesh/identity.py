"""A device's three keys: `sign` (envelopes), `box` (what is sealed to it), `bus` (its login at the bus). Three purposes, three keys.

The bus key is never the signing key, because a server chooses what the bus key signs. Each lies in its own file, 64 hex digits, mode 0600.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocol.envelope import node_id
from protocol.sealing import BoxKey
from protocol.signing import SigningKey

from .home import Home, HomeDamaged
from .nkeys import NKey

__all__ = ["Identity", "load_seed", "save_seed"]


@dataclass(frozen=True, slots=True)
class Identity:
    """The keys of one device in one swarm."""

    sign: SigningKey
    box: BoxKey
    bus: NKey

    @property
    def node(self) -> bytes:
        """The node id: 16 bytes of a hash of the signing key."""
        return node_id(self.sign.public)

    @classmethod
    def create(cls, home: Home, random_bytes: Callable[[int], bytes]) -> Identity:
        """Make new keys and write them into `home`."""
        for name in ("sign", "box", "bus"):
            save_seed(home, f"keys/{name}.key", random_bytes(32))
        return cls.load(home)

    @classmethod
    def load(cls, home: Home) -> Identity:
        """The keys of `home`.

        Raises:
            HomeDamaged: a key file is missing or is no key.
        """
        return cls(
            sign=SigningKey.from_seed(load_seed(home, "keys/sign.key")),
            box=BoxKey.from_seed(load_seed(home, "keys/box.key")),
            bus=NKey.from_seed_bytes("U", load_seed(home, "keys/bus.key")),
        )


def save_seed(home: Home, name: str, seed: bytes) -> None:
    """Write a 32-byte seed as 64 hex digits."""
    home.write(name, seed.hex().encode() + b"\n")


def load_seed(home: Home, name: str) -> bytes:
    """Read a 32-byte seed.

    Raises:
        HomeDamaged: the file is missing or is no seed.
    """
    try:
        seed = bytes.fromhex(home.read(name).decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise HomeDamaged(
            f"{home.file(name)} holds no key",
            "Restore it from a backup, or leave with `zwerm leave --wipe` and join again.",
        )
    return seed
