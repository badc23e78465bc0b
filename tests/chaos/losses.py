"""Packets that are really lost: every device is a host of its own, whose firewall drops some of what comes in, and TCP has to see to the rest."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.netns import Host, network

from .links import count_false_dead
from .partitions import inside
from .swarm import Shape, chaos_swarm
from .trial import Batch, Blow, Trial, busy

__all__ = ["packet_losses"]

_EYE = "eye"
_KINDS = ("5 %", "50 % for a second at a time")


def packet_losses(*, desks: int = 2, hands: int = 3, each_s: float = 12.0) -> Trial:
    """Losses of both kinds in turn, at all devices of one swarm."""

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
                busy(chaos, batch, at_once=3, width=(8, 16), ms=(20, 300)) as people,
            ):
                lossy = [hosts[name] for name in names]
                for number in range(count):
                    how = _KINDS[(batch.seed + number) % len(_KINDS)]
                    blow = Blow(how, at=time.time())
                    if how == "5 %":
                        dropped = await _lose(lossy, 5, each_s)
                    else:
                        dropped = 0
                        while time.time() < blow.at + each_s:
                            dropped += await _lose(lossy, 50, 1.0)
                            await asyncio.sleep(batch.rng.uniform(0.5, 1.5))
                    blow.times["lasted_s"] = time.time() - blow.at
                    blow.times["dropped"] = dropped
                    blow.outcome = "ok" if dropped else "void"
                    batch.blows.append(blow)
                people.problems += [f"{node.name} ended" for node in chaos.nodes if not node.alive]
        # A packet that is lost four times waits 0.2, 0.4, 0.8 and 1.6 s, and all behind it waits as well.
        count_false_dead(batch, silent=_KINDS[1:])

    return trial


async def _lose(hosts: Sequence[Host], percent: int, for_s: float) -> int:
    """Drop so much of what comes in at each host for a time; how many packets that were."""
    for host in hosts:
        _nft(host, "add", "table", "inet", "loss")
        _nft(host, "add", "chain", "inet", "loss", "in", "{ type filter hook input priority 0 ; }")
        rule = f"iifname eth0 numgen random mod 100 < {percent} counter drop"
        _nft(host, "add", "rule", "inet", "loss", "in", *rule.split())
    await asyncio.sleep(for_s)
    dropped = 0
    for host in hosts:
        words = _nft(host, "list", "table", "inet", "loss").split()
        dropped += int(words[words.index("packets") + 1])
        _nft(host, "delete", "table", "inet", "loss")
    return dropped


def _nft(host: Host, *words: str) -> str:
    done = subprocess.run([*host.inside, "nft", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"nft {' '.join(words)}: {done.stderr}"
    return done.stdout
