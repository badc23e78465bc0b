"""What is too old to be obeyed."""

from __future__ import annotations

from agent_node.events import AttemptKey
from agent_node.fences import RUNS_MAX, SUBTASKS_MAX, Fences


def key(attempt: int = 1, epoch: int = 1, subtask: str = "s", run: str = "r") -> AttemptKey:
    return AttemptKey(run, subtask, attempt, epoch)


def test_a_lower_epoch_is_refused_for_every_subtask_of_its_run() -> None:
    fences = Fences()
    assert fences.pass_(key(epoch=2))
    refusal = fences.refuses(key(subtask="other", epoch=1, attempt=9))
    assert refusal is not None
    assert refusal[0] == "E_EPOCH"
    assert fences.refuses(key(run="another", epoch=1)) is None


def test_an_attempt_that_was_seen_is_stale_and_a_newer_one_is_not() -> None:
    fences = Fences()
    fences.pass_(key(attempt=2))
    for attempt in (1, 2):
        refusal = fences.refuses(key(attempt=attempt))
        assert refusal is not None
        assert refusal[0] == "E_STALE"
    assert fences.refuses(key(attempt=3)) is None
    assert fences.refuses(key(attempt=1, epoch=2)) is None


def test_only_a_new_epoch_is_news() -> None:
    fences = Fences()
    assert [fences.pass_(key(epoch=epoch)) for epoch in (1, 1, 3, 2)] == [True, False, True, False]
    assert fences.highest("r") == 3
    assert fences.epochs() == [("r", 3)]


def test_memory_is_bounded_and_the_longest_untouched_run_goes_first() -> None:
    fences = Fences()
    for number in range(RUNS_MAX + 10):
        fences.pass_(key(run=f"r{number}"))
        fences.pass_(key(run="busy", subtask=f"s{number}"))
    assert len(fences.epochs()) <= RUNS_MAX
    assert fences.highest("r0") == 0
    assert fences.highest("busy") == 1
    for number in range(SUBTASKS_MAX + 10):
        fences.pass_(key(run=f"big{number % 3}", subtask=f"s{number}"))
    assert fences._subtasks <= SUBTASKS_MAX
