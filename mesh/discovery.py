"""Core: where a swarm's bus may be, from what people typed, what was saved, what an invite says, and what the network whispers.

Rules. Every address is a hint: the pinned key decides whether a server is ours, so a wrong hint costs a connection attempt and nothing
else, and the number of attempts is bounded. What a person typed comes first, then what worked before, then the invite, then mDNS. What is
announced on the network holds no secret and no name of the swarm: anybody there can read it. Counterpart: `discovery_mdns.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from .errors import BadSettings

__all__ = [
    "DEFAULT_PORT",
    "MAX_CANDIDATES",
    "SWARM_TAG_CHARS",
    "Beacon",
    "Endpoint",
    "Source",
    "choose",
    "instance_name",
    "parse_endpoint",
    "read_txt",
    "swarm_tag",
    "write_txt",
]

DEFAULT_PORT: Final = 4747
"""The port of an address that names none."""

MAX_CANDIDATES: Final = 12
"""Addresses worth trying; a network full of false announcements cannot keep a node busy for longer than these take."""

SWARM_TAG_CHARS: Final = 8
"""Hex digits of the swarm's id that are announced: enough to tell neighbours apart, no more."""

TXT_VERSION: Final = "1"

Source = Literal["flag", "saved", "invite", "mdns"]
_ORDER: Final[tuple[Source, ...]] = ("flag", "saved", "invite", "mdns")
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_-]{1,63})*\.?"
)
_TAG: Final = re.compile(rf"[0-9a-f]{{{SWARM_TAG_CHARS}}}")
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,40}")


class Endpoint(NamedTuple):
    """An address at which a bus may be."""

    host: str
    port: int
    source: Source = "flag"

    @property
    def url(self) -> str:
        """As a bus client wants it."""
        return f"tls://[{self.host}]:{self.port}" if ":" in self.host else f"tls://{self.host}:{self.port}"


class Beacon(NamedTuple):
    """What one node announces on its network, or what was heard there."""

    swarm: str
    """`swarm_tag` of the swarm."""
    node: str
    """A short name of the node, unique enough: letters, digits and dashes."""
    port: int
    addresses: tuple[str, ...] = ()
    """IP addresses."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """Where its bus may be."""
        return [Endpoint(address, self.port, "mdns") for address in self.addresses]


def swarm_tag(swarm_id: bytes) -> str:
    """How a swarm is recognised on the network: the first 8 hex digits of its id."""
    return swarm_id.hex()[:SWARM_TAG_CHARS]


def parse_endpoint(text: str, source: Source = "flag") -> Endpoint:
    """An endpoint from `host`, `host:port`, `[v6]:port` or `tls://host:port`.

    Raises:
        BadSettings: it is none.
    """
    bare = text.strip()
    # More than one colon and no bracket: an IPv6 address without a port.
    if bare.count(":") > 1 and "://" not in bare and not bare.startswith("["):
        bare = f"[{bare}]"
    try:
        parts = urlsplit(bare if "://" in bare else f"tls://{bare}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if (
        parts.scheme not in {"tls", "nats"}
        or not _is_host(host)
        or port == 0
        or parts.username is not None
        or not bare.isprintable()  # line breaks would be dropped silently
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise BadSettings(
            f"{text[:80]!r} is not the address of a bus",
            "Give it as host:port, for example 192.168.1.10:4747.",
        )
    return Endpoint(host, port or DEFAULT_PORT, source)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # What looks like a number but is no address is a mistyped address, not a name.
        return bool(_HOST.fullmatch(host)) and not host.rsplit(".", 1)[-1].isdigit()
    return True


def choose(
    endpoints: Iterable[Endpoint], *, beacons: Iterable[Beacon] = (), swarm: str = ""
) -> list[Endpoint]:
    """The addresses to try, best first, each once, at most `MAX_CANDIDATES`.

    Args:
        endpoints: known ones, of any source; within a source the order is kept.
        beacons: what was heard on the network; those of other swarms are left out.
        swarm: our swarm's tag; empty leaves beacons out.
    """
    heard = [
        endpoint for beacon in beacons if swarm and beacon.swarm == swarm for endpoint in beacon.endpoints
    ]
    ranked = sorted(
        [*endpoints, *heard], key=lambda endpoint: (_ORDER.index(endpoint.source), _reach(endpoint))
    )
    kept: dict[tuple[str, int], Endpoint] = {}
    for endpoint in ranked:
        kept.setdefault((endpoint.host, endpoint.port), endpoint)
    return list(kept.values())[:MAX_CANDIDATES]


def _reach(endpoint: Endpoint) -> int:
    """Among addresses heard on the network, those that surely are on it first."""
    if endpoint.source != "mdns":
        return 0
    address = ipaddress.ip_address(endpoint.host)
    if address.is_link_local:
        return 2
    return 0 if address.is_private and address.version == 4 else 1


def instance_name(name: str, node_hex: str) -> str:
    """What a node is called on its network: the start of its name, and of its id because names may be equal."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:24] or "node"
    return f"{plain}-{node_hex[:8]}"


def write_txt(beacon: Beacon) -> dict[str, str]:
    """The announcement's TXT record. Anybody on the network reads it."""
    return {"v": TXT_VERSION, "id": beacon.swarm}


def read_txt(
    instance: str, port: int | None, addresses: Iterable[str], txt: Mapping[bytes, bytes | None]
) -> Beacon | None:
    """What was heard, if it could be one of ours; it comes from anybody and is believed in nothing."""
    tag = (txt.get(b"id") or b"").decode("ascii", "replace")
    version = (txt.get(b"v") or b"").decode("ascii", "replace")
    if version != TXT_VERSION or not _TAG.fullmatch(tag) or not _NAME.fullmatch(instance):
        return None
    if port is None or not 0 < port <= 65_535:
        return None
    usable = []
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.split("%", 1)[0])
        except ValueError:
            continue
        if not (address.is_multicast or address.is_unspecified):
            usable.append(str(address))
    return Beacon(tag, instance, port, tuple(usable[:8])) if usable else None
