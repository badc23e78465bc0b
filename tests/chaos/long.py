"""A long run in real time: `python -m tests.chaos.long --minutes 60 [--every 3] [--json FILE]`.

Nothing is killed. A swarm of two coordinators and three agents gets one goal after the other, and every process is measured: what only a long time shows
is memory that grows, file descriptors, threads or child processes that stay, files that are never deleted, and work that gets slower. The whole journal is judged at the end.

Shown, for each process and without the first fifth (warm-up): the slope of its resident memory in MiB an hour with its upper 95 % bound (over the means of minutes,
which hang less on each other than single readings), and the most descriptors, threads and children in the first and in the last quarter of the rest. Exit code 1: a slope whose *lower* bound is
above 1 MiB/h (it grows, whatever the noise), more descriptors, threads or children at the end, a device's own files beyond their bound, or a problem in the journal.
How long a goal took is shown beside a fixed piece of arithmetic of the same minutes, so that a machine that got slower is told from a swarm that did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .checker import judge
from .load import Load, mixed
from .swarm import Chaos, Shape, chaos_swarm
from .tally import percentile
from .trial import quiet_logs

__all__ = ["Series", "Slope", "growth", "main", "slope_of"]

SLOPE_MAX = 1.0
"""MiB an hour."""
STORE_MIB = 48
"""A coordinator's or an agent's own files: 16 MiB of cache, logs, histories. The bus keeps the journal, which has a bound of its own."""
_SAMPLE_S = 5.0
_WARM = 0.2
_T95 = 1.67
"""Student's t for a one-sided 95 % bound; exact for 60 means, close for others."""


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast something grows, in units an hour: the estimate and its one-sided 95 % bounds."""

    per_hour: float
    low: float
    high: float


@dataclass(slots=True)
class Series:
    """What was measured of one process: seconds since the start, MiB, descriptors, threads, children."""

    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    children: list[int] = field(default_factory=list)

    def read(self, process: psutil.Process, at: float) -> None:
        """Measure once; a process that is gone adds nothing."""
        with contextlib.suppress(psutil.Error):
            values = process.memory_info().rss / (1 << 20), process.num_fds(), process.num_threads()
            children = len(process.children())
            self.at.append(at)
            self.rss.append(values[0])
            self.fds.append(values[1])
            self.threads.append(values[2])
            self.children.append(children)

    def warm(self) -> Series:
        """The same without its warm-up."""
        begin = next((i for i, at in enumerate(self.at) if at >= self.at[-1] * _WARM), 0)
        return Series(
            self.at[begin:], self.rss[begin:], self.fds[begin:], self.threads[begin:], self.children[begin:]
        )


def slope_of(at: Sequence[float], values: Sequence[float], *, bin_s: float = 60.0) -> Slope:
    """The least-squares slope over the means of bins; at least three bins.

    Raises:
        ValueError: there are fewer.
    """
    bins: dict[int, list[float]] = {}
    for when, value in zip(at, values, strict=True):
        bins.setdefault(int(when // bin_s), []).append(value)
    x = [(number + 0.5) * bin_s / 3600 for number in bins]
    y = [statistics.fmean(some) for some in bins.values()]
    if len(x) < 3:
        raise ValueError(f"{len(x)} bins of {bin_s:g} s are too few for a slope")
    slope, begin = statistics.linear_regression(x, y)
    residue = sum((b - begin - slope * a) ** 2 for a, b in zip(x, y, strict=True)) / (len(x) - 2)
    error = math.sqrt(residue / sum((a - statistics.fmean(x)) ** 2 for a in x))
    return Slope(slope, slope - _T95 * error, slope + _T95 * error)


def growth(values: Sequence[int]) -> tuple[int, int]:
    """The most in the first and in the last quarter."""
    quarter = max(1, len(values) // 4)
    return max(values[:quarter]), max(values[-quarter:])


def _processes(chaos: Chaos) -> dict[str, psutil.Process]:
    found = {node.name: psutil.Process(node.process.pid) for node in chaos.nodes if node.process is not None}
    return found | {"nats-server": psutil.Process(chaos.bus.server_pid())}


def _spin_ms() -> float:
    """A fixed piece of arithmetic: how fast the machine is at this moment."""
    begin = time.perf_counter()
    total = 0
    for number in range(100_000):
        total += number * number
    return (time.perf_counter() - begin) * 1000


def _mib(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / (1 << 20)


async def _work(
    chaos: Chaos, people: Load, rng: random.Random, minutes: float, every_s: float
) -> list[list[float]]:
    """One goal after the other; [when, seconds, ms of the arithmetic] of each."""
    took: list[list[float]] = []
    begin = time.monotonic()
    serial = 0
    while (now := time.monotonic() - begin) < minutes * 60:
        serial += 1
        spin = _spin_ms()
        started = time.monotonic()
        await people.do(mixed(rng, f"l{serial}", width=rng.randint(4, 16), ms=(5, 60)))
        took.append([round(now, 1), round(time.monotonic() - started, 4), round(spin, 3)])
        if serial % 50 == 0:
            print(f"{now / 60:5.1f} min   {serial} goals   {took[-1][1]:.2f} s", file=sys.stderr, flush=True)
        await asyncio.sleep(max(0.0, every_s - (time.monotonic() - started)))
    return took


async def _measure(processes: dict[str, psutil.Process], series: dict[str, Series]) -> None:
    begin = time.monotonic()
    while True:
        for name, process in processes.items():
            series[name].read(process, time.monotonic() - begin)
        await asyncio.sleep(_SAMPLE_S)


async def _long(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(options.seed)
    async with chaos_swarm(folder, Shape(coordinators=2, agents=3, journal_mib=1024)) as chaos:
        people = Load(chaos, rng)
        await people.listen()
        processes = _processes(chaos)
        series = {name: Series() for name in processes}
        async with asyncio.TaskGroup() as tasks:
            measuring = tasks.create_task(_measure(processes, series))
            try:
                took = await _work(chaos, people, rng, options.minutes, options.every)
            finally:
                measuring.cancel()
        verdict, _ = await judge(chaos, people)
        lost = [name for name, process in processes.items() if not process.is_running()]
        stores = {node.name: round(_mib(node.home.path), 1) for node in chaos.nodes}
    problems = [f"{name} did not live through it" for name in lost] + list(verdict.problems)
    table: dict[str, dict[str, Any]] = {}
    for name, whole in series.items():
        warm = whole.warm()
        slope = slope_of(warm.at, warm.rss)
        row = table[name] = {
            "mib_an_hour": round(slope.per_hour, 2),
            "low": round(slope.low, 2),
            "high": round(slope.high, 2),
            "mib_first": round(statistics.fmean(warm.rss[:12]), 1),
            "mib_last": round(statistics.fmean(warm.rss[-12:]), 1),
        }
        if slope.low > SLOPE_MAX:
            problems.append(f"{name} grows by {slope.per_hour:.2f} MiB an hour")
        for what, values in (("fds", warm.fds), ("threads", warm.threads), ("children", warm.children)):
            first, last = growth(values)
            row[what] = [first, last]
            # One or two come and go: a connection being made, a worker being replaced.
            if last > first + 2:
                problems.append(f"{name} had {first} {what} at most at first and {last} at last")
        if name in stores and name != chaos.bus.name and stores[name] > STORE_MIB:
            problems.append(f"the files of {name} have grown to {stores[name]} MiB")
    tenth = max(1, len(took) // 4)
    parts = {"first": took[:tenth], "last": took[-tenth:]}
    return {
        "minutes": options.minutes,
        "goals": len(took),
        "processes": table,
        "stores_mib": stores,
        "goal_s": {
            name: {
                "p50": percentile([row[1] for row in rows], 0.5),
                "p99": percentile([row[1] for row in rows], 0.99),
            }
            for name, rows in parts.items()
        },
        "spin_ms": {name: percentile([row[2] for row in rows], 0.5) for name, rows in parts.items()},
        "counts": dict(verdict.counts),
        "problems": problems,
    }


def _told(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    lines = [f"{result['goals']} goals in {result['minutes']:g} min; {result['counts']}"]
    lines.append("process       MiB/h (95 %)             MiB first, last   fds      threads  children")
    for name, row in result["processes"].items():
        lines.append(
            f"{name:12}  {row['mib_an_hour']:6.2f} ({row['low']:6.2f} to {row['high']:6.2f})  {row['mib_first']:6.1f} {row['mib_last']:6.1f}     "
            + "  ".join(
                f"{first:3} {last:3}" for first, last in (row["fds"], row["threads"], row["children"])
            )
        )
    first, last = result["goal_s"]["first"], result["goal_s"]["last"]
    spin = result["spin_ms"]
    lines.append(
        f"a goal, first quarter: p50 {first['p50']:.3f} p99 {first['p99']:.3f} s; last: {last['p50']:.3f} {last['p99']:.3f} s "
        f"({last['p99'] / first['p99']:.2f} x; the machine itself {spin['last'] / spin['first']:.2f} x)"
    )
    lines.append("files, MiB: " + ", ".join(f"{name} {size}" for name, size in result["stores_mib"].items()))
    return lines + [f"PROBLEM {problem}" for problem in result["problems"]] or ["no problem"]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.long", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=3.0, help="seconds from one goal to the next")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here as well")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zwerm-long-") as folder, quiet_logs():
        result = asyncio.run(_long(Path(folder), options))
    print("\n".join(_told(result)))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    return int(bool(result["problems"]))


if __name__ == "__main__":
    sys.exit(main())
