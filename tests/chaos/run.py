"""Chaos by the hundred: `python -m tests.chaos.run --what coordinator|worker|bus|cluster|link|loss|partition --count N [--seed S] [--tally FILE]`.

Without --what, or with --count 0, it only adds up the tally files that are given. Exit code 1: something failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .buses import bus_kills
from .cluster import cluster_kills
from .coordinators import coordinator_kills
from .links import slow_links
from .losses import packet_losses
from .partitions import partitions
from .tally import Tally, totals
from .trial import Trial, play, quiet_logs
from .workers import worker_kills

__all__ = ["KINDS", "Kind", "main"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of chaos: how to do it, how many blows one swarm gets, and how long those may take."""

    make: Callable[[argparse.Namespace], Trial]
    batch: int
    bound_s: Callable[[int], float]


KINDS: dict[str, Kind] = {
    "coordinator": Kind(lambda options: coordinator_kills(desks=options.desks), 30, lambda n: 240 + 20.0 * n),
    "worker": Kind(lambda _: worker_kills(), 20, lambda n: 120 + 25.0 * n),
    "bus": Kind(lambda options: bus_kills(desks=options.desks), 10, lambda n: 180 + 30.0 * n),
    "cluster": Kind(lambda options: cluster_kills(desks=max(2, options.desks)), 12, lambda n: 240 + 60.0 * n),
    "link": Kind(lambda options: slow_links(desks=max(2, options.desks)), 10, lambda n: 180 + 40.0 * n),
    "loss": Kind(lambda options: packet_losses(desks=max(2, options.desks)), 6, lambda n: 180 + 40.0 * n),
    "partition": Kind(lambda options: partitions(desks=options.desks), 12, lambda n: 240 + 60.0 * n),
}


async def _all(options: argparse.Namespace, tally: Tally) -> None:
    kind = KINDS[options.what]
    left, seed = options.count, options.seed
    while left > 0:
        count = min(left, options.batch or kind.batch)
        lines = await play(
            kind.make(options), options.what, seed, count, bound_s=kind.bound_s(count), keep=options.keep
        )
        for line in lines:
            tally.add(line)
        ok = sum(line["outcome"] == "ok" for line in lines)
        print(
            f"{options.what} seed {seed}: {ok} of {len(lines)} ok in {lines[0].get('wall_s')} s", flush=True
        )
        # What shows nothing is done again.
        left -= sum(line["outcome"] != "void" for line in lines) or 1
        seed += 1


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--what", choices=sorted(KINDS))
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="blows to one swarm")
    parser.add_argument("--desks", type=int, default=1, help="coordinators")
    parser.add_argument("--tally", type=Path, action="append", default=[])
    parser.add_argument("--keep", action="store_true", help="keep the swarm's folder also when all is well")
    options = parser.parse_args(arguments)
    tally = Tally(options.tally[0] if options.tally else None)
    if options.what:
        with quiet_logs():
            asyncio.run(_all(options, tally))
    lines: list[dict[str, Any]] = Tally.read(options.tally) if options.tally else tally.lines
    print("\n".join(totals(lines)))
    return int(any(line["outcome"] not in ("ok", "void") for line in tally.lines))


if __name__ == "__main__":
    sys.exit(main())
