"""What one attempt says while it waits, and what its ending carries."""

from __future__ import annotations

import pytest

from agent_node.attempt import PROGRESS_EVERY_S
from agent_node.events import CancelAsked, Stop, WorkDone, WorkFailed, WorkProgress, WorkStopped
from protocol.artifact import ArtifactRef
from protocol.messages import Cancel, Failed, NamedRef, Progress, Result, Usage
from tests.unit.agent_node.test_agent import World, award, key

DRAFT = NamedRef(name="draft.txt", ref=ArtifactRef(sha256=bytes(32), size=1, chunks=1, writer="U" + "A" * 55))


def working() -> World:
    world = World()
    world.award(award())
    [said] = world.feed(WorkProgress(key(), 1))
    assert isinstance(said, Progress)
    return world


@pytest.mark.requirement("MSG-13")
def test_that_work_begins_or_ceases_to_wait_is_said_at_once_though_it_made_no_step() -> None:
    world = working()
    [said] = world.feed(WorkProgress(key(), 1, note="429", state="limited", wait_ms=30_000))
    assert (said.step, said.state, said.wait_ms) == (1, "limited", 30_000)
    assert world.feed(WorkProgress(key(), 1, state="limited", wait_ms=30_000)) == []
    [said] = world.feed(WorkProgress(key(), 1, state="person"))
    assert (said.state, said.wait_ms) == ("person", 0)
    [said] = world.feed(WorkProgress(key(), 2))
    assert (said.state, said.step) == ("working", 2)


@pytest.mark.requirement("MSG-13")
def test_that_work_waits_is_said_again_since_a_message_may_be_lost() -> None:
    world = working()
    world.feed(WorkProgress(key(), 1, note="429", state="limited", wait_ms=30_000))
    [said] = world.after(3.1)
    assert (said.step, said.state, said.note) == (1, "limited", "429")
    assert 26_000 < said.wait_ms < 27_100
    assert world.after(5.0) == []
    [said] = world.after(1.1)
    assert 20_000 < said.wait_ms <= 21_000
    world.feed(WorkProgress(key(), 2))
    assert world.after(20) == []
    world.feed(WorkProgress(key(), 2, note="may I?", state="person"))
    said = world.after(600)
    assert {(one.state, one.note) for one in said} == {("person", "may I?")}
    assert 10 < len(said) < 20


def test_what_was_used_and_stored_is_said_with_the_next_word_and_with_the_ending() -> None:
    world = working()
    assert world.feed(WorkProgress(key(), 1, used=Usage(tokens=9), partial=(DRAFT,))) == []
    [said] = world.after(PROGRESS_EVERY_S)
    assert (said.used, said.partial) == (Usage(tokens=9, steps=1), [DRAFT])
    [failed] = world.feed(WorkFailed(key(), "E_LIMITED", used=Usage(tokens=11), retry_ms=5_000))
    assert isinstance(failed, Failed)
    assert (failed.used, failed.partial, failed.retry_ms) == (Usage(tokens=11, steps=1), [DRAFT], 5_000)


def test_work_that_counts_nothing_is_charged_for_the_steps_that_it_showed() -> None:
    world = working()
    [result] = world.feed(WorkDone(key()))
    assert isinstance(result, Result)
    assert result.used == Usage(steps=1)


def test_what_was_cancelled_leaves_its_files_too() -> None:
    world = working()
    world.feed(CancelAsked("c" * 26, [Cancel(subtask="s1", attempt=1, epoch=1)]))
    [cancelled] = world.feed(WorkStopped(key(), Usage(tokens=3), [DRAFT]))
    assert (cancelled.used, cancelled.partial) == (Usage(tokens=3, steps=1), [DRAFT])


@pytest.mark.requirement("MSG-13")
def test_while_a_person_is_waited_for_the_deadline_does_not_run() -> None:
    world = working()
    world.after(50)
    world.feed(WorkProgress(key(), 1, state="person"))
    world.after(3 * 86_400)
    assert world.agent.attempts[key()].state == "person"
    world.feed(WorkProgress(key(), 2))
    world.after(9)
    assert not any(isinstance(order, Stop) for order in world.orders())
    world.after(2)
    assert world.orders() == [Stop(key())]
    [failed] = world.feed(WorkStopped(key()))
    assert failed.code == "E_DEADLINE"


def test_a_person_who_never_answers_is_not_waited_for_for_ever() -> None:
    world = working()
    world.feed(WorkProgress(key(), 1, state="person"))
    world.after(8 * 86_400)
    assert Stop(key()) in world.orders() or world.agent.attempts[key()].phase.value == "stopping"
