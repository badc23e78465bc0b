"""The two constants that both ends of a TLS connection share: `pki` writes them into certificates, `tls_pin` demands them."""

from typing import Final

__all__ = ["PIN_BYTES", "SERVER_NAME"]

SERVER_NAME: Final = "swarm.internal"
"""The name that every server's certificate carries and every client checks."""

PIN_BYTES: Final = 16
"""128 bits of the hash: a second CA with the same pin is out of anybody's reach, and the invite stays short."""
