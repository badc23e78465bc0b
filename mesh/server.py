"""Core: what the embedded nats-server is told, as the text of its config file.

The server reads JSON as config, with two traps handled here: sizes must be integers, and a value from the environment must be a bare `$NAME`
(quoted, the server would encrypt the store with the four letters of the variable's name). There is no HTTP monitor: it would answer
anybody on the device, web pages included. Nothing secret is in the file: tokens are public, keys are in files of their own or in the
environment. Counterpart: `server_proc.py`, which runs it.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import BadSettings

__all__ = [
    "JS_KEY_ENV",
    "MAX_PAYLOAD_BYTES",
    "MIN_VERSION",
    "ClusterSettings",
    "ServerSettings",
    "ServerTokens",
    "parse_version",
    "render_config",
    "store_key_text",
]

MIN_VERSION: Final = (2, 15, 1)
"""Older ones lose streams, know no `sync_interval` or no `default_sentinel`."""

MAX_PAYLOAD_BYTES: Final = 1 << 20
"""Headers and payload of one message together."""

JS_KEY_ENV: Final = "ZWERM_JS_KEY"
"""Environment variable by which the server gets the key of its encrypted store."""

_LOG_BYTES: Final = 8 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION: Final = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class ServerTokens:
    """The public tokens that make a server one of the swarm's; from `BusAuthority`, or sent by an enroller."""

    operator: str
    system_account: str
    accounts: dict[str, str]
    sentinel: str


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How a server finds the others of its bus. Each shows the others a certificate of the swarm's CA, and believes nobody without one."""

    name: str
    """The same for all servers of one bus."""
    port: int
    """Where the others reach this one."""
    routes: tuple[str, ...]
    """`host:port` of the others."""
    ca_file: Path
    """The swarm's CA, PEM."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise BadSettings(f"{self.port} is not a port for the other servers of the bus")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What one embedded server is to be. Paths are absolute; `state_dir` belongs to this server alone."""

    state_dir: Path
    tokens: ServerTokens
    cert_file: Path
    key_file: Path
    store_key: bytes
    """32 bytes that the store is encrypted with; without them the store is lost."""
    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for the whole network."""
    port: int = 0
    """0: any free port, which then stays the same until `stop`."""
    name: str = "zwerm"
    max_store_bytes: int = 10 << 30
    max_memory_bytes: int = 64 << 20
    advertise: str = ""
    """`host:port` that clients are told to use, if it is not the address the server listens on."""
    sync_always: bool = True
    """Store on the disk before acknowledging; False is for throw-away servers only."""
    binary: Path | None = None
    """nats-server to run, instead of looking for one."""
    cluster: ClusterSettings | None = None
    """The other servers, if the bus has more than this one."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise BadSettings(
                f"{self.port} is not a port", "Give a port from 1 to 65535, or 0 for any free one."
            )
        if not _NAME.fullmatch(self.name):
            raise BadSettings(f"{self.name!r} is not a server name", "Use letters, digits, `-` and `_`.")
        if len(self.store_key) != 32:
            raise BadSettings(f"the store's key is 32 bytes, not {len(self.store_key)}")
        if self.max_store_bytes < 1 << 20:
            raise BadSettings("the server's store needs at least 1 MiB")
        try:
            ipaddress.ip_address(self.host)
        except ValueError as error:
            raise BadSettings(
                f"{self.host!r} is not an IP address to listen on",
                "Give an address of this device, or 0.0.0.0.",
            ) from error

    @property
    def store_dir(self) -> Path:
        """Where streams are kept."""
        return self.state_dir / "jetstream"

    @property
    def log_file(self) -> Path:
        """The server's own log; it starts a new one at 8 MiB and keeps three."""
        return self.state_dir / "nats-server.log"

    @property
    def config_file(self) -> Path:
        """The file that `render_config` is written to."""
        return self.state_dir / "nats-server.conf"


def store_key_text(key: bytes) -> str:
    """The store's key as the environment carries it.

    The server parses the value like a config value, so it must begin with a letter and hold no digit groups that read as a number.
    """
    return "k" + base64.b32encode(key).rstrip(b"=").decode("ascii").lower()


def render_config(settings: ServerSettings, *, port: int | None = None) -> str:
    """The config file's text.

    Args:
        settings: what the server is to be.
        port: the port found at an earlier start, to be used again; None for `settings.port`.
    """
    chosen = settings.port if port is None else port
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    config: dict[str, Any] = {
        "server_name": settings.name,
        # -1 is the server's own word for "any free port".
        "listen": f"{address}:{chosen or -1}",
        "ports_file_dir": str(settings.state_dir),
        "log_file": str(settings.log_file),
        "logfile_size_limit": _LOG_BYTES,
        "logfile_max_num": 3,
        "max_payload": MAX_PAYLOAD_BYTES,
        # A laptop's bus has no business with thousands of strangers, and each open handshake costs memory.
        "max_connections": 10_000,
        "ping_interval": "10s",
        "ping_max": 2,
        "write_deadline": "10s",
        "tls": {
            "cert_file": str(settings.cert_file),
            "key_file": str(settings.key_file),
            "handshake_first": True,
            "min_version": "1.3",
            "timeout": 5,
        },
        "operator": settings.tokens.operator,
        "system_account": settings.tokens.system_account,
        "default_sentinel": settings.tokens.sentinel,
        "resolver": {
            "type": "full",
            "dir": str(settings.state_dir / "accounts"),
            "allow_delete": False,
            # A server that was away during a revocation learns of it within this time: the default is two minutes.
            "interval": "1s",
        },
        "resolver_preload": settings.tokens.accounts,
        "jetstream": {
            "store_dir": str(settings.store_dir),
            "max_file_store": settings.max_store_bytes,
            "max_memory_store": settings.max_memory_bytes,
            "sync_interval": "always" if settings.sync_always else "1m",
            "cipher": "chachapoly",
            "key": _KEY_MARK,
        },
    }
    if settings.advertise:
        config["client_advertise"] = settings.advertise
    if settings.cluster is not None:
        config["cluster"] = _cluster(settings, settings.cluster, address)
    return json.dumps(config, indent=1).replace(f'"{_KEY_MARK}"', f"${JS_KEY_ENV}") + "\n"


def _cluster(settings: ServerSettings, cluster: ClusterSettings, address: str) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "listen": f"{address}:{cluster.port}",
        "routes": [f"nats-route://{route}" for route in cluster.routes],
        # Members know the servers from the charter, which is signed; what a server says of others is not.
        "no_advertise": True,
        "tls": {
            "cert_file": str(settings.cert_file),
            "key_file": str(settings.key_file),
            "ca_file": str(cluster.ca_file),
            "verify": True,
            "min_version": "1.3",
            "timeout": 5,
        },
    }


_KEY_MARK: Final = "@store-key@"


def parse_version(text: str) -> tuple[int, int, int]:
    """The version in the output of `nats-server --version`.

    Raises:
        BadSettings: there is none: this is some other program.
    """
    found = _VERSION.search(text)
    if found is None:
        raise BadSettings(f"this program is not a nats-server: it answered {text.strip()[:80]!r}")
    return int(found[1]), int(found[2]), int(found[3])
