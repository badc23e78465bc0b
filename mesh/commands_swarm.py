"""Verbs about the swarm: init, join, invite, nodes, leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from .output import Exit, Out, clean
from .verbs import DURATION, Session, command, run_async

__all__ = ["COMMANDS", "print_nodes"]


@command()
@click.argument("name", required=False)
@click.option("--node-name", metavar="N", help="This device's name in the swarm (default: its host name).")
@click.option(
    "--bind", default="lan", show_default=True, metavar="lan|loopback|IP", help="Who can reach the bus."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the bus (default: 4747, or the next free one; 0: any).",
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    metavar="HOST:PORT",
    help="Another server of the bus, so that it outlives the loss of one; name two, or four.",
)
@click.option("--no-service", is_flag=True, help="Do not start anything; run `zwerm up` yourself.")
@click.option("--no-agent", is_flag=True, help="This device coordinates but does no subtasks itself.")
def init(
    session: Session,
    name: str | None,
    node_name: str | None,
    bind: str,
    port: int | None,
    servers: tuple[str, ...],
    no_service: bool,
    no_agent: bool,
) -> int:
    """Start a swarm on this device.

    Makes all keys and the embedded bus; asks nothing, contacts nobody. Afterwards this device can do work by itself, and
    `zwerm invite` lets others join.
    """
    from .background import start_in_background
    from .discovery import parse_endpoint
    from .founding import found_swarm

    out = session.out
    home = session.home
    founded = found_swarm(
        home,
        name=name,
        node_name=node_name,
        bind=bind,
        port=port,
        agent=not no_agent,
        servers=[parse_endpoint(server) for server in servers],
    )
    node = founded.node
    out.done(f"Swarm {node.swarm!r} created on {node.name}    identity {node.swarm_id[:8]}    ({home.path})")
    out.done(f"Bus       {', '.join(node.bus_urls)}")
    if founded.note:
        out.warn(founded.note)
    out.warn(
        f"The root key lies in {home.file('admin/root.key')}: move it to a safe place off this device; nothing daily needs it."
    )
    pid = None
    kits = [home.file(f"servers/{number}") for number, _ in enumerate(servers, 2)]
    for server, kit in zip(servers, kits, strict=True):
        out.line(f"Move        {kit}   to the machine at {server}, and run there: zwerm serve FOLDER")
    if no_service or servers:
        out.line("Next        zwerm up            (in this terminal; Ctrl-C stops it)")
    else:
        pid = start_in_background(home, timeout_s=session.timeout_s or 30.0)
        out.done(
            f"Running in the background (process {pid}); `zwerm down` stops it, `zwerm up --background` starts it again"
        )
        out.line('Next        zwerm run "Report on this folder" -i .    ·  add a device: zwerm invite')
    out.document(
        "init",
        {
            "swarm": {"name": node.swarm, "id": node.swarm_id},
            "node": node.name,
            "bus": node.bus_urls,
            "roles": node.roles,
            "home": str(home.path),
            "servers": [str(kit) for kit in kits],
            "pid": pid,
        },
    )
    return Exit.OK


@command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
@click.option("--with-parent", type=int, hidden=True, help="Stop when this process, our parent, is gone.")
def serve(session: Session, folder: str, with_parent: int | None) -> int:
    """Run one more server of the bus on this machine, until Ctrl-C.

    FOLDER is one of those that `zwerm init --server` made for the other servers. The machine need not be in the swarm.
    """
    from pathlib import Path

    from .server_kit import serve as run_server
    from .server_proc import NatsServer

    def ready(server: NatsServer) -> None:
        session.out.done(f"Serves the bus at {server.url}  (nats-server, process {server.pid})")
        session.out.document("serve", {"url": server.url, "pid": server.pid, "process": os.getpid()})

    run_async(run_server(Path(folder), ready), parent=with_parent)
    return Exit.OK


@command()
@click.argument("token", required=False)
@click.option("--token-file", type=click.File("r"), help="Read the token from a file.")
@click.option(
    "--node-name",
    "--name",
    "node_name",
    metavar="N",
    help="This device's name in the swarm (default: its host name).",
)
@click.option(
    "--server", metavar="HOST:PORT", help="Where the bus is, if neither the token nor the network says so."
)
@click.option("--no-service", is_flag=True, help="Do not start anything; run `zwerm up` yourself.")
def join(
    session: Session,
    token: str | None,
    token_file: Any,
    node_name: str | None,
    server: str | None,
    no_service: bool,
) -> int:
    """Add this device to a swarm.

    TOKEN comes from `zwerm invite`; `-` reads it from standard input, which keeps it out of the process list. The bus must show the key
    that the token names before anything is sent to it.
    """
    from .background import start_in_background
    from .joining import join_swarm

    out = session.out
    text = _token_text(token, token_file)
    home = session.home
    node = run_async(
        join_swarm(home, text, node_name=node_name, server=server, say=out.say), timeout_s=session.timeout_s
    )
    out.done(f"The bus is the one that issued the invite (swarm {node.swarm_id[:8]})")
    out.done(f"Joined {node.swarm!r} as {node.name}: {', '.join(node.roles)}")
    pid = None
    if no_service:
        out.line("Next        zwerm up            (in this terminal; Ctrl-C stops it)")
    else:
        pid = start_in_background(home, timeout_s=session.timeout_s or 30.0)
        out.done(f"Running in the background (process {pid})    Undo: zwerm leave")
    out.document(
        "join",
        {
            "swarm": {"name": node.swarm, "id": node.swarm_id},
            "node": node.name,
            "roles": node.roles,
            "home": str(home.path),
            "pid": pid,
        },
    )
    return Exit.OK


def _token_text(token: str | None, token_file: Any) -> str:
    if token_file is not None:
        text = str(token_file.read(8192))
    elif token == "-" or (token is None and not sys.stdin.isatty()):  # noqa: S105 - a dash
        text = sys.stdin.readline(8192)
    elif token is None:
        raise click.UsageError(
            "Which swarm? Give the token that `zwerm invite` printed, or `-` to read it from standard input."
        )
    else:
        text = token
    return text.strip()


@command()
@click.argument("action", required=False, type=click.Choice(["ls", "revoke"]))
@click.argument("invite_id", required=False)
@click.option(
    "--role",
    type=click.Choice(["agent", "coordinator", "client", "bus", "admin"]),
    default="agent",
    show_default=True,
    help="What the new device may do.",
)
@click.option(
    "--uses", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many devices may use it."
)
@click.option(
    "--ttl", type=DURATION, default="1h", show_default=True, help="How long it is good (at most 7d)."
)
@click.option("--label", default="", help="A note for `invite ls`.")
@click.option(
    "--no-address",
    is_flag=True,
    help="Leave the addresses out: the device finds the bus on the local network.",
)
def invite(
    session: Session,
    action: str | None,
    invite_id: str | None,
    role: Any,
    uses: int,
    ttl: float,
    label: str,
    no_address: bool,
) -> int:
    """Make a one-time token with which a device joins; list or revoke invites."""
    from protocol.messages import ListInvites, RevokeInvite

    from .client import connect_home
    from .inviting import MadeInvite, make_invite

    out = session.out

    async def ask(item: Any) -> Any:
        async with connect_home(session.home, role="admin", timeout_s=5.0) as swarm:
            return (await swarm.endpoint.call("enroll", item, timeout_s=5.0)).data

    if action == "ls":
        invites = run_async(ask(ListInvites()), timeout_s=session.timeout_s)["invites"]
        out.table(
            ("INVITE", "ROLE", "USED", "STATE", "EXPIRES", "LABEL"),
            [
                (i["invite"], i["role"], f"{i['used']}/{i['uses']}", i["state"], i["expires"], i["label"])
                for i in invites
            ],
        )
        out.document("invites", {"invites": invites})
        return Exit.OK
    if action == "revoke":
        if invite_id is None:
            raise click.UsageError("Which invite? `zwerm invite ls` shows them.")
        run_async(ask(RevokeInvite(invite=invite_id)), timeout_s=session.timeout_s)
        out.done(f"Invite {invite_id} revoked")
        out.document("invite.revoked", {"invite": invite_id})
        return Exit.OK
    if not 60 <= ttl <= 7 * 86400:
        raise click.UsageError("--ttl must be between 1m and 7d.")

    async def make() -> MadeInvite:
        async with connect_home(session.home, role="admin", timeout_s=5.0) as swarm:
            return await make_invite(
                swarm, role=role, uses=uses, ttl_s=int(ttl), label=label, addresses=not no_address
            )

    made = run_async(make(), timeout_s=session.timeout_s)
    out.line("On the other device:")
    out.line()
    out.line(f"  zwerm join {made.token}")
    out.line()
    reaches = ", ".join(made.reaches) or "whatever the local network announces"
    out.line(
        f"{'One use' if uses == 1 else f'{uses} uses'} · expires {made.expires} · role {role} · reaches {reaches}"
    )
    out.document("invite", asdict(made))
    return Exit.OK


@command()
@click.argument("action", required=False, type=click.Choice(["ls", "show", "rm"]))
@click.argument("which", required=False)
def nodes(session: Session, action: str | None, which: str | None) -> int:
    """See the swarm's devices (ls), one of them (show), or end a membership (rm)."""
    from protocol.errors import ZwermError
    from protocol.messages import ListNodes, RevokeNode

    from .client import connect_home

    out = session.out
    me = session.home.load()

    async def listed() -> list[dict[str, Any]]:
        async with connect_home(session.home, timeout_s=5.0) as swarm:
            reply = await swarm.endpoint.call("runs", ListNodes(), timeout_s=5.0)
            return reply.data["nodes"]  # type: ignore[return-value]

    async def removed(node: str) -> None:
        async with connect_home(session.home, role="admin", timeout_s=5.0) as swarm:
            await swarm.endpoint.call("enroll", RevokeNode(node=node), timeout_s=10.0)

    if action in ("show", "rm") and which is None:
        raise click.UsageError("Which device? `zwerm nodes` lists them.")
    found = run_async(listed(), timeout_s=session.timeout_s)
    if action in ("show", "rm"):
        assert which is not None
        matches = [node for node in found if node["name"] == which or node["node"].startswith(which)]
        if len(matches) != 1:
            raise ZwermError(
                "E_NOT_FOUND" if not matches else "E_USAGE",
                f"{'no device is' if not matches else f'{len(matches)} devices are'} called {which!r}",
                "`zwerm nodes` lists them; the first digits of an id are enough.",
            )
        [node] = matches
        if action == "rm":
            if not session.confirm(f"End the membership of {node['name']} ({node['node'][:8]})?"):
                return Exit.REFUSED
            run_async(removed(node["node"]), timeout_s=session.timeout_s)
            out.done(f"{node['name']} is no longer a member; the bus has cut it off")
        else:
            for key, value in node.items():
                out.line(f"{key:14} {value if not isinstance(value, list) else ', '.join(map(str, value))}")
        out.document("node", {"node": node, "removed": action == "rm"})
        return Exit.OK
    print_nodes(out, found, me.node)
    out.document("nodes", {"nodes": found})
    return Exit.OK


def print_nodes(out: Out, nodes: Sequence[dict[str, Any]], me: str) -> None:
    """The table of devices; `*` marks this one."""
    out.table(
        ("  DEVICE", "STATE", "SLOTS", "LOAD", "AGENTS", "ROLES", "VERSION", "SEEN"),
        [
            (
                f"{'*' if node['node'] == me else ' '} {node['name']}",
                "halted" if node.get("halted") and node["state"] == "up" else node["state"],
                f"{node['slots_used']}/{node['slots']}",
                f"{node['load']:.0%}",
                len(node["agents"]),
                ",".join(node["roles"]),
                node["version"],
                "now" if node["seen_s"] < 10 else f"{int(node['seen_s'])}s ago",
            )
            for node in nodes
        ],
    )
    for node in nodes:
        for agent in node["agents"]:
            if agent.get("warning") and node["state"] == "up":
                out.warn(f"{clean(node['name'])}: agent {clean(agent['name'])}: {clean(agent['warning'])}")


@command()
@click.option("--wipe", is_flag=True, help="Also delete this device's keys and everything stored here.")
def leave(session: Session, wipe: bool) -> int:
    """Take this device out of the swarm.

    Stops the daemon and ends the membership. With --wipe the state directory is deleted too; on the device that holds the bus and the
    keys that ends the swarm.
    """
    from .home import HomeDamaged
    from .leaving import leave_swarm

    home = session.home
    try:
        node = home.load()
    except HomeDamaged:
        if not wipe:
            raise
        return _wipe_damaged(session, home)
    owner = "enroller" in node.roles
    question = (
        f"Leave {node.swarm!r}? This device holds the swarm's bus and keys: without it the swarm ends."
        if owner
        else f"Leave {node.swarm!r}?"
    )
    if not session.confirm(question + (f" Everything in {home.path} will be deleted." if wipe else "")):
        return Exit.REFUSED
    told, aside = leave_swarm(home, wipe=wipe, timeout_s=session.timeout_s or 20.0)
    if not told and not owner:
        session.out.warn(
            "The swarm could not be told; its admin should run `zwerm nodes rm " + node.name + "`."
        )
    session.out.done(
        f"{node.name} has left {node.swarm!r}"
        + (f"; {home.path} is gone" if aside is None else f"; its state is still in {aside}")
    )
    session.out.document("leave", {"swarm": node.swarm, "node": node.name, "wiped": wipe, "told": told})
    return Exit.OK


def _wipe_damaged(session: Session, home: Any) -> int:
    """The way out when the state directory cannot even be read."""
    from .leaving import leave_swarm

    if not session.confirm(f"The state in {home.path} is damaged. Delete all of it?"):
        return Exit.REFUSED
    leave_swarm(home, wipe=True, timeout_s=session.timeout_s or 20.0)
    session.out.done(f"{home.path} is gone; the swarm's admin should run `zwerm nodes rm` for this device")
    session.out.document("leave", {"swarm": "", "node": "", "wiped": True, "told": False})
    return Exit.OK


COMMANDS = [init, serve, join, invite, nodes, leave]
