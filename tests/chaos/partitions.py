"""Networks that fall apart: a coordinator, the bus or a worker alone, a cable that carries one way only, a link that comes and goes. In network namespaces.

Each device is a host of its own on one switch; packets are dropped by rules of the host's own firewall (`nft`), so nobody is told that they are
lost. The judge is a host, too, which always reaches the bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from mesh.endpoint import Received
from protocol import subjects
from tests.support.netns import Host, network

from .load import Load, mixed
from .swarm import Chaos, Node, Shape, chaos_swarm, until
from .trial import Batch, Blow, Trial, busy

__all__ = ["HEALS_S", "KINDS", "Cut", "inside", "partitions"]

HEALS_S = 10.0
"""So long after a network is whole again everybody must be heard."""
KINDS = ("coordinator", "bus", "worker", "deaf", "mute", "flap")
_CLONE_NEWNET = 0x40000000
_EYE = "eye"


def partitions(
    *, desks: int = 2, hands: int = 3, kinds: tuple[str, ...] = KINDS, longest_s: float = 14.0
) -> Trial:
    """Partitions of one swarm, one after the other, of all kinds in turn."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        names = ["bus", *(f"desk{n + 1}" for n in range(desks)), *(f"hand{n + 1}" for n in range(hands))]
        with network([*names, _EYE]) as hosts, inside(hosts[_EYE]):

            def within(name: str) -> list[str]:
                return hosts[name].inside

            shape = Shape(coordinators=desks, agents=hands)
            async with (
                chaos_swarm(
                    folder, shape, bind="lan", at_bus=lambda: inside(hosts["bus"]), inside=within
                ) as chaos,
                busy(chaos, batch, at_once=3, width=(8, 16), ms=(50, 400)) as people,
            ):
                ears = Ears()
                await chaos.judge.endpoint.listen(subjects.heartbeats(), ears.hear)
                for number in range(count):
                    kind = kinds[(batch.seed + number) % len(kinds)]
                    batch.blows.append(await _one(chaos, people, hosts, batch.rng, ears, kind, longest_s))

    return trial


@contextlib.contextmanager
def inside(host: Host) -> Iterator[None]:
    """This thread (and what it starts) is on that host while the block runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{host.space}", os.O_RDONLY)
    try:
        if libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(own, _CLONE_NEWNET)
        os.close(there)
        os.close(own)


class Ears:
    """When each node was last heard."""

    def __init__(self) -> None:
        self.heard: dict[str, float] = {}

    def hear(self, received: Received) -> None:
        self.heard[received.node] = time.time()


class Cut:
    """What is cut off from one host: nothing comes in, nothing goes out, or neither; the judge's host is let through."""

    def __init__(self, host: Host, eye: Host) -> None:
        self._host = host
        self._eye = eye

    def _nft(self, *words: str) -> None:
        done = subprocess.run(
            [*self._host.inside, "nft", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"nft {' '.join(words)}: {done.stderr}"

    def cut(self, *, inward: bool = True, outward: bool = True) -> None:
        """From now on."""
        self._nft("add", "table", "inet", "chaos")
        for way, hook, field in (("inward", "input", "saddr"), ("outward", "output", "daddr")):
            if inward if way == "inward" else outward:
                self._nft("add", "chain", "inet", "chaos", way, f"{{ type filter hook {hook} priority 0 ; }}")
                self._nft(
                    "add",
                    "rule",
                    "inet",
                    "chaos",
                    way,
                    "ip",
                    field,
                    "!=",
                    f"{{ 127.0.0.1, {self._host.address}, {self._eye.address} }}",
                    "drop",
                )

    def heal(self) -> float:
        """Whole again; returns when."""
        self._nft("delete", "table", "inet", "chaos")
        return time.time()


async def _one(
    chaos: Chaos,
    people: Load,
    hosts: dict[str, Host],
    rng: random.Random,
    ears: Ears,
    kind: str,
    longest_s: float,
) -> Blow:
    victim: Node = {
        "coordinator": lambda: rng.choice(chaos.coordinators),
        "bus": lambda: chaos.bus,
        "worker": lambda: rng.choice(chaos.agents),
    }.get(kind, lambda: rng.choice([*chaos.coordinators, *chaos.agents]))()
    cut = Cut(hosts[victim.name], hosts[_EYE])
    blow = Blow(f"{kind} {victim.name}", victim.id, time.time())
    if kind == "flap":
        for _ in range(rng.randint(4, 8)):
            cut.cut()
            await asyncio.sleep(rng.uniform(0.2, 1.5))
            healed = cut.heal()
            await asyncio.sleep(rng.uniform(0.1, 0.8))
    else:
        cut.cut(inward=kind != "mute", outward=kind != "deaf")
        await asyncio.sleep(rng.uniform(1.5, longest_s))
        healed = cut.heal()
    blow.times["cut_s"] = healed - blow.at
    nodes = [*chaos.coordinators, *chaos.agents]
    with contextlib.suppress(AssertionError):
        await until(
            "everybody is heard", lambda: all(ears.heard.get(node.id, 0) > healed for node in nodes), 60.0
        )
        await until("a coordinator answers", chaos.answers, 60.0)
    blow.times["heals_s"] = time.time() - healed
    if blow.times["heals_s"] > HEALS_S:
        silent = [node.name for node in nodes if ears.heard.get(node.id, 0) <= healed + HEALS_S]
        blow.outcome = "slow"
        blow.note = (
            f"{blow.how} ({blow.times['cut_s']:.1f} s): {blow.times['heals_s']:.1f} s to heal {silent}"
        )
    # And work is done again, by whoever was cut off as well.
    began = time.time()
    await people.do(mixed(rng, f"after {kind} {began:.3f}", width=6, ms=(5, 20)))
    blow.times["works_s"] = time.time() - healed
    return blow
