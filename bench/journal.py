"""Group commit: records a second through the coordinator's own journal, many at once against one after the other, in turns, in one run.

Both ways go through `JournalStore` to a real, secured nats-server of its own with `sync_interval: always`: sealed, signed, chained, appended by
compare-and-set, on disk before they count. One after the other: a record is handed in when the one before it is durable. At once: so many
subtasks are under way, and each hands in its next record when its last is durable, as they do in a run.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from coordinator_node.journal_store import JournalStore, read_run
from coordinator_node.recovery import plan_records
from mesh.client import connect_home
from mesh.daemon import Daemon
from mesh.endpoint import Endpoint
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.loop import run_async
from protocol.artifact import ArtifactRef
from protocol.ids import new_run_id
from protocol.plan import Deliverable, Plan, Subtask
from protocol.records import Accepted, Awarded, BidNote, Record, RunOpened

TURNS = 9
ALONE = 100
"""Records in a turn, one after the other."""
SUBTASKS = 2_000
AT_ONCE = 256
FEW = 16
_NODE = "ab" * 16
_BUS_KEY = "U" + "A" * 55
_REF = ArtifactRef(sha256=bytes(32), size=1, chunks=1, writer=_BUS_KEY)


class _Idle:
    """A role that does nothing: the daemon only looks after the bus."""

    name = "idle"
    slots_total = slots_used = 0

    def cards(self) -> list[Any]:
        return []

    def load(self) -> float:
        return 0.0

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()


@asynccontextmanager
async def _hub(folder: Path) -> AsyncIterator[Home]:
    home = Home(folder)
    found_swarm(home, name="bench", node_name="hub", bind="loopback", port=0, agent=False)
    home.write("config.toml", b"mdns = false\njournal_mib = 256\nartifacts_mib = 64\n")
    daemon = Daemon(home, make_role=lambda *_: _Idle())
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(daemon.run(stop, ready=ready.set))
        async with asyncio.timeout(30):
            await ready.wait()
        try:
            yield home
        finally:
            stop.set()
            await task


def _opening(run: str, owner: str) -> list[Record]:
    plan = Plan(
        goal="measure",
        planner="file",
        subtasks=[Subtask(id=f"s{number}", capability="demo.noop") for number in range(SUBTASKS)],
        deliver=[Deliverable(subtask="s0")],
    )
    return [
        RunOpened(at_ms=0, run=run, goal=_REF, by=_NODE, epoch=1, owner=owner),
        *plan_records(plan, _REF, 0),
    ]


def _life(number: int) -> Iterator[Record]:
    """What is recorded about one no-op subtask: its award with three bids, and its result."""
    fence = {"subtask": f"s{number}", "attempt": 1, "epoch": 1, "node": _NODE}
    bids = [
        BidNote(
            node=_NODE,
            agent="noop",
            price=1830,
            eta_ms=140,
            success=0.97,
            load=0.31,
            score=0.123456,
            envelope=os.urandom(16),
        )
        for _ in range(3)
    ]
    yield Awarded(
        at_ms=1,
        round=number + 1,
        bus_key=_BUS_KEY,
        agent="noop",
        lease_ms=10_000,
        deadline_ms=600_000,
        bids=bids,
        reason="best of 3 bids: 0.14 s, 0.00183 credits, load 31%, success 97%",
        **fence,
    )
    yield Accepted(at_ms=2, wall_ms=1, **fence)


class _Buyer:
    """One run at a time over a `JournalStore`."""

    def __init__(self, endpoint: Endpoint, group: asyncio.TaskGroup) -> None:
        self._store = JournalStore(endpoint, group.create_task, self._released, self._deposed)
        self._owner = endpoint.node
        self._lives: dict[str, Iterator[Record]] = {}
        self._waiting: Iterator[Iterator[Record]] = iter(())

    def _deposed(self, run: str) -> None:
        raise AssertionError(f"somebody else writes run {run}")

    def _released(self, run: str, durable: Sequence[tuple[int, Record]], _commands: object) -> None:
        for _, record in durable:
            name = getattr(record, "subtask", "")
            if name and name in self._lives:
                self._next(run, self._lives.pop(name))

    def _next(self, run: str, life: Iterator[Record]) -> None:
        """The next record of this subtask, or the first of the next one."""
        record = next(life, None)
        if record is None:
            life = next(self._waiting, iter(()))
            record = next(life, None)
        if record is not None:
            self._lives[record.subtask] = life  # type: ignore[union-attr]
            self._store.submit(run, [record], ())

    async def run(self, subtasks: int, at_once: int) -> tuple[str, float, int]:
        """Carry a run's records into the journal; the run, records a second, and messages."""
        run = new_run_id(time.time(), os.urandom(16))
        self._store.submit(run, _opening(run, self._owner), ())
        await self._store.drain()
        begun, started = self._store.appends, time.perf_counter()
        self._waiting = (_life(place) for place in range(subtasks))
        for _ in range(at_once):
            life = next(self._waiting, None)
            if life is not None:
                self._next(run, life)
        await self._store.drain()
        took = time.perf_counter() - started
        messages = self._store.appends - begun
        assert self._store.count(run) >= 2 * subtasks
        self._store.forget(run)
        return run, 2 * subtasks / took, messages


async def journal() -> dict[str, Any]:
    """The two rates, in turns, and how many times the one is the other."""
    alone, grouped, few, ratios, packed = [], [], [], [], []
    with tempfile.TemporaryDirectory(prefix="zwerm-bench-") as folder:
        async with (
            _hub(Path(folder) / "hub") as home,
            connect_home(home, role="coordinator") as swarm,
            asyncio.TaskGroup() as group,
        ):
            buyer = _Buyer(swarm.endpoint, group)
            await buyer.run(SUBTASKS // 4, AT_ONCE)
            run = ""
            for _ in range(TURNS):
                _, slow, messages = await buyer.run(ALONE // 2, 1)
                assert messages == ALONE
                run, fast, messages = await buyer.run(SUBTASKS, AT_ONCE)
                _, some, _ = await buyer.run(SUBTASKS // 4, FEW)
                few.append(some / slow)
                alone.append(slow)
                grouped.append(fast)
                ratios.append(fast / slow)
                packed.append(2 * SUBTASKS / messages)
            found = await read_run(swarm.endpoint, run)
            assert found is not None
            assert found.state.unfinished == 0
    return {
        "group_commit_x": round(statistics.median(ratios), 1),
        "group_commit_x_min": round(min(ratios), 1),
        "group_commit_x_max": round(max(ratios), 1),
        "group_commit_x_16": round(statistics.median(few), 1),
        "journal_alone_per_s": round(statistics.median(alone)),
        "journal_group_per_s": round(statistics.median(grouped)),
        "journal_records_a_message": round(statistics.median(packed), 1),
    }


if __name__ == "__main__":
    print(json.dumps(run_async(journal()), indent=1))
