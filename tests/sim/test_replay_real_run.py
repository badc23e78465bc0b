"""A run of real roles over real endpoints, written down and played again: the engine that is simulated is the engine that runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from coordinator_node.engine import Engine, Settings
from coordinator_node.fold import fold
from coordinator_node.trace import TraceReader
from protocol.messages import CancelRun
from protocol.records import Record
from tests.support.swarm_memory import Team

_FUNCTIONS = str(Path(__file__).parents[1] / "support" / "agent_functions.py")
_AGENTS = [
    {
        "name": name,
        "adapter": "python",
        "mode": "thread",
        "capability": f"test.{name}",
        "target": f"{_FUNCTIONS}:{name}",
    }
    for name in ("shout", "echo", "refuse", "steps")
]


async def _record(folder: Path, path: Path) -> tuple[dict[str, list[Record]], Settings]:
    """Four runs of several nodes (done, partial, failed for want of a seller, cancelled), and their journals."""
    async with Team(folder) as team:
        await team.coordinate(trace=str(path))
        for name in ("ann", "bob", "eve"):
            await team.work(name, agents=_AGENTS, noop=True)
        files = [await team.put(f"{name}.txt", name.encode()) for name in "wxyz"]
        steps = [
            {"id": "shout", "capability": "test.shout", "map": "inputs"},
            {"id": "bad", "capability": "test.refuse", "map": ["w.*"]},
            {"id": "all", "capability": "test.echo", "reduce": ["shout", "bad"], "tolerant": True},
        ]
        runs = [
            await team.submit(*steps[:1], steps[2] | {"reduce": "shout"}, inputs=files),
            await team.submit(*steps, inputs=files),
            await team.submit({"id": "scan", "capability": "image.ocr"}),
            await team.submit(*({"id": f"s{number}", "capability": "demo.noop"} for number in range(60))),
        ]
        gate = folder / "never"
        slow = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
        await team.event("attempt.progress")
        await team.ask(CancelRun(run=slow))
        for run in (*runs, slow):
            await team.until(lambda run=run: team.coordinator.engine.is_closed(run))
        endpoint = team.coordinator.endpoint
        await team.stop("desk")
        journals: dict[str, list[Record]] = {}
        for run in (*runs, slow):
            async for stored in endpoint.journal.read(run):
                journals.setdefault(run, []).extend(endpoint.open_record(run, stored.data, stored.at_ms)[1])
        return journals, team.coordinator.config.settings()


def _play(path: Path, settings: Settings, *, seed: int | None = None) -> dict[str, list[Record]]:
    reader = TraceReader(path)
    rng = random.Random(reader.head.seed if seed is None else seed)
    engine = Engine(reader.head.node, rng, settings, now=reader.head.now)
    records: dict[str, list[Record]] = {}
    for now, event in reader:
        for run, record in engine.handle(event, now).records:
            records.setdefault(run, []).append(record)
    return records


async def test_the_events_of_a_real_run_make_the_same_records_again(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    journals, settings = await _record(tmp_path / "homes", path)
    states = {run: fold(records) for run, records in journals.items()}
    assert sorted(state.outcome for state in states.values() if state) == [
        "cancelled",
        "done",
        "done",
        "partial",
        "unbid",
    ]
    assert _play(path, settings) == journals
    assert _play(path, settings) == journals


async def test_a_trace_that_was_torn_off_is_played_to_its_last_whole_event(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    journals, settings = await _record(tmp_path / "homes", path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    played = _play(path, settings)
    assert played
    for run, records in played.items():
        assert records == journals[run][: len(records)]


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"\x91\xa1x")
    with pytest.raises(ValueError, match="not a trace"):
        TraceReader(path)
