"""The selling core under an order to halt: everything stops, nothing is taken, nobody is blamed."""

from __future__ import annotations

import pytest

from agent_node.events import (
    Acked,
    Announced,
    CancelAsked,
    HaltAsked,
    HaltLifted,
    Stop,
    WorkDone,
    WorkFailed,
    WorkStopped,
)
from protocol.messages import Bid, Cancel, Cancelled, Decline, Failed, Refuse, Result, ResultAck
from tests.unit.agent_node.test_agent import RUN, World, announce, award, key


@pytest.mark.requirement("HLT-3")
def test_what_runs_is_stopped_and_what_waits_goes_back() -> None:
    world = World()
    world.award(award("s1"), award("s2"), award("s3"))
    [refuse] = world.feed(HaltAsked("chief halted the swarm"))
    assert isinstance(refuse, Refuse)
    assert (refuse.subtask, refuse.code, refuse.detail) == ("s3", "E_HALTED", "chief halted the swarm")
    assert world.orders() == [Stop(key("s1")), Stop(key("s2"))]
    # A worker that was killed before it was asked dies with a code of its own; what is said is why.
    [failed] = world.feed(WorkFailed(key("s1"), "E_WORKER_DIED", "killed by SIGKILL", retryable=False))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == ("E_HALTED", True)
    [failed] = world.feed(WorkStopped(key("s2")))
    assert isinstance(failed, Failed)
    assert failed.code == "E_HALTED"
    before = world.agent.history.changes
    world.feed(Acked(RUN, [ResultAck(subtask="s1", attempt=1, epoch=1, applied=True)]))
    assert world.agent.history.changes == before


@pytest.mark.requirement("HLT-3")
def test_nothing_is_taken_until_the_order_is_lifted() -> None:
    world = World()
    world.feed(HaltAsked())
    [decline] = world.feed(Announced(RUN, [announce()]))
    assert isinstance(decline, Decline)
    assert decline.code == "E_HALTED"
    [refuse] = world.award(award())
    assert isinstance(refuse, Refuse)
    assert refuse.code == "E_HALTED"
    world.feed(HaltLifted())
    [bid] = world.feed(Announced(RUN, [announce("s2")]))
    assert isinstance(bid, Bid)


def test_what_was_done_at_that_very_moment_counts_and_what_was_cancelled_is_cancelled() -> None:
    world = World()
    world.award(award("s1"), award("s2"))
    world.feed(HaltAsked())
    [result] = world.feed(WorkDone(key("s1")))
    assert isinstance(result, Result)
    world.feed(CancelAsked(RUN, [Cancel(subtask="s2", attempt=1, epoch=1)]))
    [cancelled] = world.feed(WorkStopped(key("s2")))
    assert isinstance(cancelled, Cancelled)
