"""A further server of the bus: a folder with all that one needs, made with the swarm, carried to its machine, and run there by `zwerm serve`.

The folder can serve and nothing else: it holds no key that admits devices or signs for anybody. Its certificate is its own, its store is encrypted with a key of
its own. Counterparts: `founding` makes the folders, `server_proc` runs the server.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .discovery import Endpoint
from .errors import BadSettings
from .home import Home
from .identity import load_seed, save_seed
from .pki import CertAuthority
from .server import ClusterSettings, ServerSettings, ServerTokens
from .server_proc import NatsServer
from .tasks import background

__all__ = ["ROUTE_PORT_STEP", "ServerFile", "load_kit", "route_of", "serve", "write_kit"]

ROUTE_PORT_STEP: Final = 2000
"""The servers of a bus reach each other at the port of the bus plus this."""
_CERT_DAYS: Final = 400
"""As long as the first charter lets its issuer admit devices: the machine has no key with which to make another certificate."""


class ServerFile(BaseModel):
    """`server.json`: what this server is. Nothing in it is secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Annotated[str, Field(alias="schema")] = "zwerm.server/1"
    swarm: str
    name: str
    bind: str
    port: int
    route_port: int
    routes: list[str]
    operator: str
    system_account: str
    accounts: dict[str, str]
    sentinel: str
    max_store_mib: int
    sync_always: bool = True


def route_of(server: Endpoint) -> str:
    """Where the other servers reach this one.

    Raises:
        BadSettings: no such port.
    """
    port = server.port + ROUTE_PORT_STEP
    if port > 65_535:
        raise BadSettings(
            f"the servers of a bus talk at its port plus {ROUTE_PORT_STEP}, and {port} is none",
            f"Choose ports up to {65_535 - ROUTE_PORT_STEP}.",
        )
    return f"[{server.host}]:{port}" if ":" in server.host else f"{server.host}:{port}"


def write_kit(
    folder: Home,
    server: Endpoint,
    *,
    swarm: str,
    name: str,
    others: Sequence[Endpoint],
    tokens: ServerTokens,
    ca: CertAuthority,
    store_key: bytes,
    max_store_mib: int,
    now: float,
) -> None:
    """Make the folder of one server, which is reached at `server` and reaches the `others`."""
    numeric = ":" in server.host or server.host.replace(".", "").isdigit()
    cert = ca.issue_server(
        now,
        addresses=("127.0.0.1", server.host) if numeric else ("127.0.0.1",),
        names=() if numeric else (server.host,),
        days=_CERT_DAYS,
    )
    folder.write("server.pem", cert.chain_pem)
    folder.write("server.key", cert.key_pem)
    folder.write("bus-ca.pem", ca.cert_pem)
    save_seed(folder, "store.key", store_key)
    file = ServerFile(
        swarm=swarm,
        name=name,
        # As with the first server: the whole network, unless it is this machine alone.
        bind=server.host if server.host in ("127.0.0.1", "::1") else "0.0.0.0",  # noqa: S104
        port=server.port,
        route_port=server.port + ROUTE_PORT_STEP,
        routes=[route_of(other) for other in others],
        operator=tokens.operator,
        system_account=tokens.system_account,
        accounts=tokens.accounts,
        sentinel=tokens.sentinel,
        max_store_mib=max_store_mib,
    )
    folder.write("server.json", (file.model_dump_json(by_alias=True, indent=1) + "\n").encode())


def load_kit(folder: Path) -> ServerSettings:
    """The settings of the server whose folder this is.

    Raises:
        BadSettings: it is no such folder.
        HomeDamaged: something in it is missing.
    """
    kit = Home(folder.resolve())
    path = kit.file("server.json")
    if not path.exists():
        raise BadSettings(
            f"{folder} is not the folder of a server of the bus",
            "`zwerm init --server HOST:PORT` makes one for each server, under `servers/` of the state directory.",
        )
    try:
        file = ServerFile.model_validate_json(kit.read("server.json"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadSettings(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return ServerSettings(
        state_dir=kit.file("nats"),
        tokens=ServerTokens(file.operator, file.system_account, file.accounts, file.sentinel),
        cert_file=kit.file("server.pem"),
        key_file=kit.file("server.key"),
        store_key=load_seed(kit, "store.key"),
        host=file.bind,
        port=file.port,
        name=file.name,
        max_store_bytes=file.max_store_mib << 20,
        sync_always=file.sync_always,
        cluster=ClusterSettings(file.swarm, file.route_port, tuple(file.routes), kit.file("bus-ca.pem")),
    )


async def serve(folder: Path, ready: Callable[[NatsServer], None]) -> None:
    """Run the server until SIGINT or SIGTERM.

    Raises:
        BadSettings: it is no folder of a server.
        MeshError: the server cannot start, or does not come up again after it died.
    """
    server = NatsServer(load_kit(folder))
    failed: list[BaseException] = []
    over = asyncio.Event()

    def on_failure(error: BaseException) -> None:
        failed.append(error)
        over.set()

    await server.start()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for name in signals:
        loop.add_signal_handler(name, over.set)
    try:
        async with background(server.run(), on_failure=on_failure):
            ready(server)
            await over.wait()
    finally:
        for name in signals:
            loop.remove_signal_handler(name)
        await server.stop()
    if failed:
        raise failed[0]
