"""Two hundred hostile worlds, in which the daemon's own Engine and Agent must keep every promise of the design."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator_node import engine, fold, lane, runs, transitions, watch, work
from coordinator_node.orders import Command
from protocol.messages import Result
from protocol.records import Accepted, Record
from tests.support.ledger import Broken
from tests.support.world import CALM, Faults, World

SEEDS = 200
_BLOCK = 20
_FAILED_ONCE = Path(__file__).with_name("seeds.txt")
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, _BLOCK))
def test_no_fault_breaks_an_invariant_and_every_run_ends(first: int) -> None:
    for seed in range(first, first + _BLOCK):
        World(seed).play()


def test_seeds_that_once_failed_pass() -> None:
    for line in _FAILED_ONCE.read_text().splitlines():
        seed = line.partition("#")[0].strip()
        if seed:
            World(int(seed)).play()


def test_the_worlds_are_hostile_enough_to_mean_something() -> None:
    late, kinds = 0, set[str]()
    for seed in range(40):
        world = World(seed)
        world.play()
        late += world.ledger.late
        for messages in world.desk.journal.values():
            kinds |= {
                f"{record.k} {getattr(record, 'code', '')}".strip() for pack in messages for record in pack
            }
    assert late > 10
    assert {
        "run.owned",
        "result.late",
        "result.rejected",
        "attempt.failed E_LEASE",
        "attempt.failed E_RESTARTED",
        "attempt.failed E_WORK",
        "attempt.refused E_SLOTS",
        "subtask.cancelled",
        "subtask.failed E_WORK",
        "run.closed OK",
        "run.closed E_CANCELLED",
    } <= kinds


def test_the_same_seed_is_the_same_history() -> None:
    first, second, other = World(7), World(7), World(8)
    for world in (first, second, other):
        world.play()
    assert first.digest == second.digest
    assert first.digest != other.digest


def test_a_history_does_not_depend_on_the_process_that_plays_it() -> None:
    code = (
        "from tests.support.world import World\nfor s in range(4):\n w = World(s); w.play(); print(w.digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


def test_a_world_without_faults_does_everything_once() -> None:
    for seed in range(20):
        world = World(seed, faults=CALM)
        world.play()
        subtasks = sum(len(plan.subtasks) for plan in world.plans.values())
        assert world.ledger.accepted == subtasks
        assert world.ledger.late == 0
        assert set(world.ledger.closed.values()) == {"done"}


def test_a_run_survives_a_coordinator_that_dies_again_and_again() -> None:
    for seed in range(10):
        world = World(seed, faults=Faults(die=0.05, kills=6, fail=0, bad=0))
        world.play()
        assert set(world.ledger.closed.values()) <= {"done", "partial", "cancelled"}


# --- planted bugs: the referee must see them ---


def _caught(seeds: int = 60) -> str:
    for seed in range(seeds):
        try:
            World(seed).play()
        except Broken as broken:
            return str(broken).partition("\n")[0]
    return ""


def test_a_result_of_any_attempt_counting_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.Live, "fits", lambda self, attempt, epoch, node: True)
    assert _caught()


def test_commands_that_leave_before_their_records_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def push(self: lane.Lane, records: list[Record], commands: list[Command]) -> list[Command]:
        self.waiting += records
        return commands

    monkeypatch.setattr(lane.Lane, "push", push)
    assert "journal" in _caught()


def test_a_result_counted_twice_is_caught_although_the_fold_allows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stale = work.Work._stale

    def accept_again(self: work.Work, desk: object, event: object, item: object) -> None:
        subtask = desk.state.subtasks.get(item.subtask)  # type: ignore[attr-defined]
        if isinstance(item, Result) and subtask is not None and subtask.status == "accepted":
            accepted = Accepted(
                at_ms=self._engine.at_ms,
                subtask=item.subtask,
                attempt=subtask.attempts[-1].number,
                epoch=subtask.attempts[-1].epoch,
                node=subtask.attempts[-1].node,
                outputs=item.outputs,
                wall_ms=1,
            )
            self._engine._step.records.append((desk.run, accepted))  # type: ignore[attr-defined]
            return
        stale(self, desk, event, item)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Work, "_stale", accept_again)
    monkeypatch.setattr(
        fold,
        "_ended",
        lambda state, subtask, at_ms: None if subtask.ended_ms else _end(state, subtask, at_ms),
    )
    monkeypatch.setitem(transitions.SUBTASK, ("accepted", "subtask.accepted"), "accepted")
    assert "has ended as" in _caught()


_end = fold._ended


def test_an_owner_that_takes_no_new_epoch_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    take_over = runs.take_over
    monkeypatch.setattr(runs, "take_over", lambda *given: take_over(*given)[1:])
    assert "another process" in _caught()


def test_attempts_forgotten_by_a_restart_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "standing", lambda state: iter(()))
    assert _caught()


def test_a_leak_in_the_count_of_what_is_in_flight_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Engine, "end_live", lambda self, live: self.watch.drop(live.key))
    assert "in flight" in _caught()
