"""Planted bugs: the referee must see each of them, or what it says of the real code means nothing."""

from __future__ import annotations

import pytest

from coordinator_node import engine, fold, hedging, lane, runs, transitions, watch, work
from coordinator_node.orders import Command
from coordinator_node.sim_actor import SimCoordinator
from mesh.sim import Broken, World
from protocol.messages import Progress, Result
from protocol.records import Accepted, Record


def _caught(seeds: int = 60) -> str:
    for seed in range(seeds):
        try:
            World(seed).play()
        except Broken as broken:
            return str(broken).partition("\n")[0]
    return ""


def test_a_result_of_any_attempt_counting_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.Live, "fits", lambda self, attempt, epoch, node: True)
    monkeypatch.setattr(watch.Watch, "get", lambda self, key, attempt: next(iter(self.of(key)), None))
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

    monkeypatch.setattr(SimCoordinator, "_check_touched", lambda self, step: None)
    monkeypatch.setattr(SimCoordinator, "check", lambda self: None)
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
    end_live = engine.Engine.end_live

    def leaks(self: engine.Engine, live: watch.Live) -> None:
        end_live(self, live)
        self.market.fly(live.capability, +1)

    monkeypatch.setattr(engine.Engine, "end_live", leaks)
    assert "in flight" in _caught()


def test_a_lease_renewed_by_words_without_work_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = watch.Watch.progress

    def believes(self: watch.Watch, live: watch.Live, item: Progress, now: float) -> bool:
        live.step = -1
        return progress(self, live, item, now)

    monkeypatch.setattr(watch.Watch, "progress", believes)
    # A second node would do the work, and hide it.
    monkeypatch.setattr(hedging.Hedges, "awarded", lambda self, live: None)
    assert "does not move" in _caught()


def test_a_second_attempt_that_is_forgotten_when_the_first_is_good_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work.Work, "_superseded", lambda self, desk, live: self._engine.end_live(live))
    assert "another attempt holds" in _caught()


def test_work_of_a_paused_run_that_is_awarded_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs.Runs, "_drop_rounds", lambda self, desk, withdraw=False: None)
    assert "subtask.awarded while" in _caught() or "is awarded while" in _caught()
