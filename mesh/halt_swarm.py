"""Shell: the admin's side of a halt. Signs the order, says it to everybody, keeps it in the swarm's store, and waits for the nodes' word.

It needs the bus and nothing else: no coordinator, no enroller. A node's word is the heartbeat that it sends when it has carried the order out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from protocol import subjects
from protocol.errors import Rejected, ZwermError
from protocol.messages import Heartbeat, ListNodes

from .endpoint import Endpoint, Received
from .errors import MeshError, WriteConflict
from .halt_file import read_order
from .halt_orders import TRIES, Giver
from .halting import HALT_KEY
from .membership import Membership

__all__ = ["Answer", "HaltSent", "halt_swarm"]

log = logging.getLogger("zwerm.halt")

_ASK_S: Final = 2.0
"""How long the store, and a coordinator that knows who is here, may take to answer."""


@dataclass(slots=True)
class Answer:
    """One device that has agents. `state`: as a coordinator sees it ("" when none says); `halt`: the number that it has carried out."""

    node: str
    name: str
    state: str = ""
    halt: int = 0
    stopped: int = 0
    running: int = 0


@dataclass(slots=True)
class HaltSent:
    """What became of an order."""

    n: int
    stored: bool
    answers: list[Answer] = field(default_factory=list)

    @property
    def silent(self) -> list[Answer]:
        """Devices that should have answered and have not."""
        return [one for one in self.answers if one.halt < self.n and one.state != "gone"]


async def halt_swarm(
    member: Membership,
    endpoint: Endpoint,
    *,
    on: bool,
    why: str,
    wait_s: float,
    heard: Callable[[Answer], None] = lambda _one: None,
) -> HaltSent:
    """Halt the swarm, or let it go on.

    Args:
        member: this device, which must be an admin.
        endpoint: its connection as an admin.
        on: stop (True) or go on (False).
        why: told to everybody.
        wait_s: how long to wait for the nodes.
        heard: called for each device whose word comes.

    Raises:
        BusUnreachable: the order could not be said.
    """
    store = member.store
    giver = Giver(member.charter, member.identity.sign, member.certificate_raw, on=on, why=why)
    words: dict[str, Answer] = {}
    news = asyncio.Event()
    contradicted = False

    def on_presence(received: Received) -> None:
        nonlocal contradicted
        for item in received.items:
            if isinstance(item, Heartbeat):
                words[received.node] = Answer(
                    received.node, received.member.name, "up", item.halt, item.stopped, item.running
                )
                contradicted = contradicted or giver.contradicted(item)
                news.set()

    await endpoint.listen(subjects.heartbeats(), on_presence)
    try:
        async with asyncio.timeout(_ASK_S):
            await store.load_all(endpoint.workspace.certs)
    except (TimeoutError, ZwermError) as error:
        log.warning("not all members could be looked up: %s", error)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_known_nodes(endpoint))
        sent = await _send(member, endpoint, giver)
        told: set[str] = set()
        try:
            async with asyncio.timeout(wait_s):
                while True:
                    if contradicted:
                        giver.overtaken()
                        sent, contradicted = await _send(member, endpoint, giver), False
                    if asked.done():
                        sent.answers = _expected(member, asked.result(), words)
                    for one in words.values():
                        if one.halt >= sent.n and one.node not in told and _has_agents(member, one.node):
                            told.add(one.node)
                            heard(one)
                    if asked.done() and not sent.silent:
                        break
                    news.clear()
                    waiting = {tasks.create_task(news.wait()), *([] if asked.done() else [asked])}
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for wait in waiting - {asked}:
                        wait.cancel()
        except TimeoutError:
            pass
        known = asked.result() if asked.done() else None
        asked.cancel()
    sent.answers = _expected(member, known, words)
    return sent


async def _send(member: Membership, endpoint: Endpoint, giver: Giver) -> HaltSent:
    """Say the order, then store it; when somebody else was first, once more with the next number."""
    giver.known(read_order(member.home))
    for _ in range(TRIES):
        revision, readable = 0, True
        try:
            async with asyncio.timeout(_ASK_S):
                entry = await endpoint.workspace.swarm.get(HALT_KEY)
            if entry is not None:
                revision = entry.revision
                giver.known(entry.value)
        except (TimeoutError, ZwermError) as error:
            log.warning("the swarm's store does not say what was ordered before: %s", error)
            readable = False
        await endpoint.send(subjects.control(), [giver.sign(endpoint.clock.now())], ttl_s=60)
        await endpoint.bus.flush(2)
        if not readable:
            break
        try:
            async with asyncio.timeout(_ASK_S):
                await endpoint.workspace.swarm.put(HALT_KEY, giver.stored(), revision)
            return HaltSent(giver.n, stored=True)
        except WriteConflict:
            giver.overtaken()
        except (TimeoutError, MeshError) as error:
            log.warning("the order is not kept in the swarm's store: %s", error)
            break
    return HaltSent(giver.n, stored=False)


async def _known_nodes(endpoint: Endpoint) -> dict[str, str] | None:
    """Node -> its state, as a coordinator knows it; None when none answers."""
    try:
        reply = await endpoint.call("runs", ListNodes(), timeout_s=_ASK_S)
    except (MeshError, Rejected):
        return None
    nodes = reply.data.get("nodes")
    if not isinstance(nodes, list):
        return None
    return {str(node.get("node")): str(node.get("state")) for node in nodes if isinstance(node, dict)}


def _has_agents(member: Membership, node: str) -> bool:
    known = member.store.directory.get(bytes.fromhex(node))
    return known is not None and "agent" in known.roles and not known.revoked


def _expected(member: Membership, known: dict[str, str] | None, words: dict[str, Answer]) -> list[Answer]:
    """Every device with agents, by name: with its word, or without."""
    found = []
    for one in member.store.directory:
        node = one.node_id.hex()
        if not _has_agents(member, node):
            continue
        state = "" if known is None else known.get(node, "gone")
        found.append(words.get(node) or Answer(node, one.name, state))
    return sorted(found, key=lambda answer: (answer.name, answer.node))
