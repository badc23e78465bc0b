"""Warm workers: kept, replaced, never trusted, and gone when the node is."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from agent_node.adapters.base import Job, Outcome
from agent_node.errors import WorkError
from agent_node.worker_proc import WorkerLimits, WorkerPool

FUNCTIONS = Path(__file__).parents[2] / "support" / "agent_functions.py"
ROOT = Path(__file__).parents[3]


class Bench:
    """A folder for jobs, and pools in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pools: list[WorkerPool] = []

    def pool(self, **limits: Any) -> WorkerPool:
        self.pools.append(WorkerPool("tested", self.folder, WorkerLimits(**limits)))
        return self.pools[-1]

    def job(self, params: dict[str, Any] | None = None) -> Job:
        number = len(list(self.folder.glob("job*")))
        folder = self.folder / f"job{number}"
        for path in (folder, folder / "in", folder / "out"):
            path.mkdir()
        return Job(str(number), "test.it", params or {}, folder)

    async def run(self, pool: WorkerPool, function: str, **params: Any) -> Outcome:
        return await pool.run(f"{FUNCTIONS}:{function}", self.job(params), lambda *_: None)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for pool in made.pools:
        await pool.close()


def pid_of(outcome: Outcome) -> int:
    path = outcome.outputs[0].content
    assert isinstance(path, Path)
    told = json.loads(path.read_text())
    return int(told["pid"] if isinstance(told, dict) else told)


async def test_a_worker_is_replaced_after_so_many_jobs(bench: Bench) -> None:
    pool = bench.pool(recycle_jobs=2)
    pids = [pid_of(await bench.run(pool, "echo")) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert not psutil.pid_exists(pids[0])


async def test_a_worker_that_grew_fat_is_replaced(bench: Bench) -> None:
    pool = bench.pool(recycle_bytes=64 << 20)
    fat = pid_of(await bench.run(pool, "swell"))
    assert not psutil.pid_exists(fat)
    assert pool.pids == []


async def test_jobs_at_the_same_time_have_workers_of_their_own(bench: Bench) -> None:
    pool = bench.pool()
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(bench.run(pool, "echo")) for _ in range(3)]
    assert len({pid_of(run.result()) for run in runs}) == 3
    assert len(pool.pids) == 3


async def test_a_worker_started_ahead_is_used(bench: Bench) -> None:
    pool = bench.pool()
    await pool.warm()
    assert [pid_of(await bench.run(pool, "echo"))] == pool.pids


async def test_a_function_that_writes_into_the_nodes_pipe_fails_alone(bench: Bench) -> None:
    pool = bench.pool()
    with pytest.raises(WorkError) as caught:
        await bench.run(pool, "babble")
    assert (caught.value.code, caught.value.again) == ("E_WORKER_DIED", True)
    assert pool.pids == []
    assert pid_of(await bench.run(pool, "echo"))


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [("leave", "E_WORKER_DIED", "status 3"), ("exits", "E_WORK", "enough"), ("hoard", "E_MEMORY", "Memory")],
)
async def test_every_way_to_end_badly_has_a_name(bench: Bench, function: str, code: str, words: str) -> None:
    with pytest.raises(WorkError) as caught:
        await bench.run(bench.pool(memory=512 << 20), function)
    assert caught.value.code == code
    assert words in caught.value.message


async def test_a_function_that_cannot_be_found_says_which(bench: Bench) -> None:
    with pytest.raises(WorkError) as caught:
        await bench.run(bench.pool(), "no_such_function")
    assert caught.value.code == "E_TARGET"
    assert "no_such_function" in caught.value.message


async def test_a_worker_that_cannot_start_says_why(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_node.worker_proc._BOOT", "raise SystemExit('no room here')")
    with pytest.raises(WorkError) as caught:
        await bench.run(bench.pool(), "echo")
    assert (caught.value.code, caught.value.again) == ("E_WORKER", True)
    assert "no room here" in caught.value.message
    assert list(bench.folder.glob(".tested*")) == []


async def test_closing_ends_all_workers_and_leaves_no_file(bench: Bench) -> None:
    pool = bench.pool()
    pid = pid_of(await bench.run(pool, "echo"))
    await pool.close()
    assert not psutil.pid_exists(pid)
    assert list(bench.folder.glob(".tested*")) == []


def test_workers_serve_on_uvloop_too(tmp_path: Path) -> None:
    async def main() -> tuple[int, str]:
        bench = Bench(tmp_path)
        pool = bench.pool()
        pid = pid_of(await bench.run(pool, "echo"))
        task = asyncio.ensure_future(bench.run(pool, "deaf", started=str(tmp_path / "pid")))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            ended = "cancelled"
        else:
            ended = "done"
        await pool.close()
        return pid, ended

    pid, ended = uvloop.run(main())
    assert ended == "cancelled"
    assert not psutil.pid_exists(pid)


_NODE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.agent_node.test_worker_proc import Bench

async def main():
    bench = Bench(Path(sys.argv[1]))
    pool = bench.pool()
    await bench.run(pool, {function!r}, started=sys.argv[2])

asyncio.run(main())
"""


@pytest.mark.parametrize("function", ["deaf"])
def test_when_the_node_is_killed_its_workers_die_with_it(tmp_path: Path, function: str) -> None:
    mark = tmp_path / "started"
    code = _NODE.format(root=str(ROOT), function=function)
    node = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(mark)], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: mark.exists() and mark.read_text() != "", node)
        worker = psutil.Process(int(mark.read_text()))
        node.send_signal(signal.SIGKILL)
        node.wait(10)
        worker.wait(10)
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()


def _until(condition: Any, process: subprocess.Popen[bytes]) -> None:
    while not condition():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the process ended with {process.returncode}")


async def test_a_worker_is_judged_by_its_own_memory_and_not_by_that_of_the_process_that_started_it(
    bench: Bench,
) -> None:
    ballast = bytearray(600 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    pool = bench.pool()
    first = pid_of(await bench.run(pool, "echo"))
    second = pid_of(await bench.run(pool, "echo"))
    assert len(ballast) > pool.limits.recycle_bytes
    assert first == second
    await pool.close()
