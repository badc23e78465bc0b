"""Starting a swarm: every key, token and certificate that `zwerm init` makes, all at once or not at all.

Three kinds of key never meet: the root (signs charters; may leave the device), the issuer (admits nodes) and this node's own three. Everything is made
locally; nobody is contacted. The home is built beside its place and moved there when it is whole, so a full disk leaves nothing behind.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.certificate import issue
from protocol.charter import BusServer, IssuerGrant, found_charter, swarm_id_of, verify_chain
from protocol.errors import Rejected
from protocol.objects import FRAME_BYTES, read_head
from protocol.sealing import BoxKey
from protocol.signing import SigningKey

from .addresses import bind_host, choose_port, reachable_addresses
from .bus_accounts import BusAuthority, Role, found_accounts
from .clock import Clock, SystemClock
from .config import Config, load_config
from .discovery import Endpoint
from .errors import BadSettings
from .home import Home, NodeFile
from .identity import Identity, load_seed, save_seed
from .membership import pack_chain
from .pki import CertAuthority, found_ca, spki_sha256
from .server import ClusterSettings, ServerSettings, ServerTokens
from .server_kit import ROUTE_PORT_STEP, route_of, write_kit
from .workspace import WorkspaceSizes

__all__ = [
    "CERTIFICATE_S",
    "ISSUER_GRANT_S",
    "MEMBER_ROLES",
    "Founded",
    "clean_name",
    "found_swarm",
    "mint_tokens",
    "renew_server_certificate",
    "server_settings",
]

CERTIFICATE_S = 7 * 86_400
"""A membership lasts a week and is renewed at half of it: a device that is off for three days notices nothing."""
ISSUER_GRANT_S = 400 * 86_400
"""How long the first charter lets this device admit others; a new charter, signed by the root, extends it."""

MEMBER_ROLES: dict[str, tuple[str, ...]] = {
    "agent": ("agent", "client"),
    "coordinator": ("coordinator", "client", "observer"),
    "client": ("client",),
    "bus": ("bus", "client"),
    "admin": ("admin", "client", "observer"),
}
"""What an invite of each kind grants; agent implies client."""

_TOKEN_ROLES: dict[str, tuple[Role, ...]] = {"bus": ("bus",), "enroller": ("enroller", "registrar")}
_FREE_SHARE = 0.5
_ARTIFACTS_MIB_MAX = 8192


@dataclass(frozen=True, slots=True)
class Founded:
    """What `found_swarm` made."""

    node: NodeFile
    note: str


def clean_name(text: str) -> str:
    """A device's or swarm's name out of whatever text: letters, digits, `-`, `_`; at most 48 characters."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:48] or "node"


def found_swarm(
    home: Home,
    *,
    name: str | None,
    node_name: str | None = None,
    bind: str = "lan",
    port: int | None = None,
    agent: bool = True,
    servers: Sequence[Endpoint] = (),
    clock: Clock | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Founded:
    """Make a swarm with this device as its first.

    With `servers` its bus has these beside the one of this device, and keeps everything on three; what each needs is put into a folder `servers/N` of the home.

    Raises:
        HomeBusy: this device is in a swarm already.
        PortTaken: the port asked for is in use.
        DiskFull: nothing was left behind.
        BadSettings: a name or address cannot be.
    """
    now = (clock or SystemClock()).now()
    host = bind_host(bind)
    if len(servers) not in (0, 2, 4):
        raise BadSettings(
            f"a bus has 1, 3 or 5 servers, not {1 + len(servers)}: with an even number it outlives no more losses than with one less",
            "Name two others, or four, or none.",
        )
    with home.build() as scratch:
        chosen, moved = choose_port(host, port)
        addresses = reachable_addresses(host)
        device = node_name or clean_name(socket.gethostname())
        swarm_name = name or f"{device}-swarm"
        identity = Identity.create(scratch, random_bytes)
        root, issuer_key, issuer_box = (random_bytes(32) for _ in range(3))
        for key_name, seed in (("root", root), ("issuer", issuer_key), ("issuer-box", issuer_box)):
            save_seed(scratch, f"admin/{key_name}.key", seed)
        authority = found_accounts(clean_name(swarm_name), random_bytes, now)
        scratch.write("admin/bus.json", authority.to_json().encode())
        ca = found_ca(now, clean_name(swarm_name))
        scratch.write("admin/ca.key.pem", ca.key_pem)
        scratch.write("bus-ca.der", ca.cert_der)
        scratch.write("bus-ca.pem", ca.cert_pem)
        roles = [
            "client",
            "coordinator",
            "bus",
            "enroller",
            "admin",
            "observer",
            *(["agent"] if agent else []),
        ]
        urls = [
            f"tls://{_bracket(address)}:{chosen}"
            for address in dict.fromkeys([*addresses, *(["127.0.0.1"] if bind == "lan" else [])])
        ] + [server.url for server in servers]
        try:
            charter_raw = found_charter(
                name=swarm_name,
                root=SigningKey.from_seed(root),
                issuers=[
                    IssuerGrant(
                        pub=SigningKey.from_seed(issuer_key).public,
                        box=BoxKey.from_seed(issuer_box).public,
                        roles=["agent", "coordinator", "client", "bus", "enroller", "admin", "observer"],
                        zones=[],
                        max_ttl=CERTIFICATE_S,
                        exp=int(now) + ISSUER_GRANT_S,
                    )
                ],
                bus=[BusServer(url=url, ca_spki=spki_sha256(ca.cert_der)) for url in urls[:16]],
            )
            head = read_head(charter_raw)
            swarm_id = swarm_id_of(charter_raw[FRAME_BYTES : head.body_end])
            charter = verify_chain([charter_raw], swarm_id)
            certificate = issue(
                charter,
                SigningKey.from_seed(issuer_key),
                serial=random_bytes(8),
                sig=identity.sign.public,
                box=identity.box.public,
                bus=identity.bus.raw,
                name=device,
                roles=roles,
                now_s=now,
                ttl_s=CERTIFICATE_S,
            )
        except (Rejected, ValueError) as error:
            message = error.message if isinstance(error, Rejected) else str(error).splitlines()[-1]
            raise BadSettings(
                f"this name cannot be used: {message}",
                "Names have letters, digits, `-` and `_`, and no spaces.",
            ) from None
        scratch.write("charter.bin", pack_chain([charter_raw]))
        scratch.write("certificate.bin", certificate)
        for role, token in mint_tokens(
            authority, identity.bus.public, device, roles, now=now, exp=now + CERTIFICATE_S
        ).items():
            scratch.write(f"tokens/{role}.jwt", token.encode())
        save_seed(scratch, "nats/store.key", random_bytes(32))
        _write_server_certificate(scratch, ca, addresses, now)
        first = Endpoint(addresses[0], chosen)
        config = _first_config(scratch.path, 3 if servers else 1)
        scratch.write("config.toml", config.encode())
        for number, server in enumerate(servers, 2):
            write_kit(
                Home(scratch.file(f"servers/{number}")),
                server,
                swarm=clean_name(swarm_name),
                name=f"{device}-{number}",
                others=[one for one in (first, *servers) if one != server],
                tokens=_server_tokens(authority),
                ca=ca,
                store_key=random_bytes(32),
                max_store_mib=_store_mib(load_config(scratch).workspace_sizes()),
                now=now,
            )
        node = NodeFile(
            swarm=swarm_name,
            swarm_id=swarm_id.hex(),
            name=device,
            node=identity.node.hex(),
            roles=roles,
            bus_urls=urls,
            bus_ca_sha256=spki_sha256(ca.cert_der).hex(),
            bind=host,
            bus_port=chosen,
            route_port=chosen + ROUTE_PORT_STEP if servers else 0,
            routes=[route_of(server) for server in servers],
        )
        scratch.save(node)
    note = f"port {4747} is taken; the bus uses {chosen}" if moved else ""
    return Founded(node, note)


def mint_tokens(
    authority: BusAuthority, bus_public: str, name: str, roles: list[str], *, now: float, exp: float
) -> dict[str, str]:
    """Bus credentials for all roles of one device: role -> token."""
    wanted: list[Role] = []
    for role in roles:
        wanted += _TOKEN_ROLES.get(role, (role,))  # type: ignore[arg-type]
    return {
        role: authority.mint_user(role, bus_public, clean_name(name), now=now, exp=exp)
        for role in dict.fromkeys(wanted)
    }


def server_settings(home: Home, node: NodeFile, config: Config) -> ServerSettings:
    """The embedded server's settings, from the home of a device that has the role bus and the bus authority."""
    authority = BusAuthority.from_json(home.read("admin/bus.json"))
    sizes = config.workspace_sizes()
    return ServerSettings(
        state_dir=home.file("nats"),
        tokens=_server_tokens(authority),
        cert_file=home.file("nats/server.pem"),
        key_file=home.file("nats/server.key"),
        store_key=load_seed(home, "nats/store.key"),
        host=node.bind,
        port=node.bus_port,
        name=clean_name(node.name),
        max_store_bytes=_store_mib(sizes) << 20,
        sync_always=config.sync_always,
        cluster=ClusterSettings(
            clean_name(node.swarm), node.route_port, tuple(node.routes), home.file("bus-ca.pem")
        )
        if node.routes
        else None,
    )


def _server_tokens(authority: BusAuthority) -> ServerTokens:
    return ServerTokens(
        operator=authority.operator_token,
        system_account=authority.sys_public,
        accounts=authority.account_tokens,
        sentinel=authority.sentinel,
    )


def _store_mib(sizes: WorkspaceSizes) -> int:
    """What a server may store: all parts, and a little for what the server writes beside them."""
    return (sizes.total >> 20) + 64


def renew_server_certificate(home: Home, node: NodeFile, now: float) -> None:
    """Make a fresh server certificate for the addresses that this device has now (at each start: addresses change, certificates end)."""
    ca = CertAuthority(home.read("admin/ca.key.pem"), home.read("bus-ca.pem"))
    _write_server_certificate(home, ca, reachable_addresses(node.bind), now)


def _write_server_certificate(home: Home, ca: CertAuthority, addresses: list[str], now: float) -> None:
    server = ca.issue_server(now, addresses=list(dict.fromkeys([*addresses, "127.0.0.1"])))
    home.write("nats/server.pem", server.chain_pem)
    home.write("nats/server.key", server.key_pem)


def _bracket(address: str) -> str:
    return f"[{address}]" if ":" in address else address


_REPLICAS = "replicas = {}           # on how many servers of the bus all of it is kept\n"


def _first_config(path: Path, replicas: int) -> str:
    """The config file that a new bus device starts with: the workspace's size follows the disk."""
    import shutil

    free_mib = shutil.disk_usage(path).free >> 20
    artifacts = max(64, min(_ARTIFACTS_MIB_MAX, int(free_mib * _FREE_SHARE)))
    journal = max(16, min(1024, free_mib // 16))
    return (
        "# What you may set on this device. Restart zwerm after a change.\n"
        f"artifacts_mib = {artifacts}   # space for inputs and results\n"
        f"journal_mib = {journal}      # space for the runs' records\n"
        f"{_REPLICAS.format(replicas) if replicas > 1 else ''}"
        "mdns = true           # announce the bus on the local network\n"
        "\n"
        "# [coordinator]\n"
        '# budget_run = "money=20,tokens=10M"   # the most that one run may spend\n'
        '# budget_day = "money=100"             # the most that all runs of the swarm may spend in a day\n'
        '# budget_node_day = "money=30"         # and at one node; budget_agent_day: with one of its agents\n'
    )
