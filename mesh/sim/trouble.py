"""When which blow falls on whom: the part of a simulated world that means harm.

Rules. Everything is decided from the seed before anything happens; each blow ends before the time of trouble does, except for those who vanish. Clocks are set
right when it is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actors import Actor, AgentActor
from .network import Peer

if TYPE_CHECKING:
    from .world import World

__all__ = ["arrange"]


def arrange(world: World) -> None:
    """Put every blow into the world's future."""
    faults, rng, at = world.faults, world.rng, world.timeline.at
    if not faults.until_s:
        return
    everybody: list[Actor] = [*world.coordinators, *world.agents]

    def span() -> tuple[float, float]:
        """When an outage begins and ends."""
        begin = rng.uniform(0.01, faults.until_s)
        return begin, min(faults.until_s, begin + rng.uniform(0.05, 1.0) * faults.outage_s)

    for _ in range(faults.kills):
        at(rng.uniform(0.01, faults.until_s), rng.choice(everybody).kill)
    for _ in range(faults.power_cuts):
        at(rng.uniform(0.01, faults.until_s), _power_cut, world, rng.choice(world.agents))
    for _ in range(faults.vanish):
        at(rng.uniform(0.01, faults.until_s), _vanish, world, rng.choice(world.agents))
    for count, deaf, mute in ((faults.cuts, True, True), (faults.half_cuts, rng.random() < 0.5, None)):
        for _ in range(count):
            actor = rng.choice(everybody)
            begin, end = span()
            both = (deaf, not deaf if mute is None else mute)
            at(begin, _cut, world, actor, *both)
            at(end, _mend, world, actor)
    for _ in range(faults.stalls):
        actor = rng.choice(everybody)
        begin, end = span()
        at(begin, _stop, world, actor)
        at(end, _go_on, world, actor)
    for _ in range(faults.jumps):
        actor = rng.choice(everybody)
        begin, end = span()
        jump = rng.choice((-1, 1)) * faults.jump_s
        at(begin, _jump, world, actor.peer, jump)
        at(end, _jump, world, actor.peer, -jump)
    for _ in range(faults.disk_full):
        agent = rng.choice(world.agents)
        begin, end = span()
        at(begin, _fill, world, agent, True)
        at(end, _fill, world, agent, False)
    for _ in range(faults.store_full):
        begin, end = span()
        at(begin, _fill_store, world, True)
        at(end, _fill_store, world, False)
    at(faults.until_s, _calm, world, [(actor.peer, actor.peer.clock.offset) for actor in everybody])


def _power_cut(world: World, agent: AgentActor) -> None:
    if agent.alive:
        lost = agent.file.power_cut(world.rng)
        world.timeline.note(agent.name, f"has no power, {lost} bytes are lost")
        agent.kill()


def _vanish(world: World, agent: AgentActor) -> None:
    if sum(not other.gone for other in world.agents) > 1:
        world.timeline.note(agent.name, "vanishes")
        agent.gone = True
        agent.kill()


def _cut(world: World, actor: Actor, deaf: bool, mute: bool) -> None:
    actor.peer.deaf, actor.peer.mute = deaf, mute
    world.timeline.note(actor.name, f"is cut off{' (deaf)' if not mute else ' (mute)' if not deaf else ''}")


def _mend(world: World, actor: Actor) -> None:
    if actor.peer.deaf or actor.peer.mute:
        actor.peer.deaf = actor.peer.mute = False
        world.timeline.note(actor.name, "is back")
        _connected(actor)


def _stop(world: World, actor: Actor) -> None:
    world.timeline.note(actor.name, "has a link that stands still")
    world.network.stop(actor.peer)


def _go_on(world: World, actor: Actor) -> None:
    if actor.peer.held is not None:
        world.timeline.note(actor.name, f"gets {len(actor.peer.held)} at once")
        world.network.go_on(actor.peer)


def _connected(actor: Actor) -> None:
    if actor.alive:
        actor.come_back()


def _jump(world: World, peer: Peer, by: float) -> None:
    peer.clock.offset += by
    world.timeline.note(peer.name, f"has a clock that jumps by {by:+.0f} s")


def _fill(world: World, agent: AgentActor, full: bool) -> None:
    agent.file.full = full
    world.timeline.note(agent.name, "has a full disk" if full else "has room on its disk")


def _fill_store(world: World, full: bool) -> None:
    world.store.full = full
    world.timeline.note("jrnl", "takes nothing" if full else "takes records again")


def _calm(world: World, offsets: list[tuple[Peer, float]]) -> None:
    """The trouble is over: what still stands still moves, what is cut is mended, clocks are right."""
    world.store.full = False
    for peer, offset in offsets:
        peer.clock.offset = offset
    for actor in (*world.coordinators, *world.agents):
        _mend(world, actor)
        _go_on(world, actor)
    for agent in world.agents:
        agent.file.full = False
    world.timeline.note("all", "is calm")
