"""The selling core, case by case. What holds in every case is in tests/property/test_agent.py."""

from __future__ import annotations

from typing import Any

import pytest

from agent_node.agent import Agent
from agent_node.events import (
    Acked,
    Announced,
    AttemptKey,
    Awarded,
    BidsRejected,
    CancelAsked,
    DrainAsked,
    Ended,
    Event,
    Fenced,
    InputsCached,
    LoadMeasured,
    RoomMeasured,
    Say,
    Start,
    Step,
    Stop,
    StopAsked,
    Tick,
    Took,
    WorkDone,
    WorkFailed,
    WorkProgress,
    WorkStopped,
)
from agent_node.history import History
from agent_node.policy import AgentSpec, Limits
from protocol.artifact import ArtifactRef
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Cancelled,
    Confirm,
    Decline,
    Failed,
    NamedRef,
    Progress,
    Refuse,
    Reject,
    Result,
    ResultAck,
    Started,
)

RUN = "c" * 26
SPEC = AgentSpec("docs", frozenset({"doc.read"}), 2, queue=1)


def announce(subtask: str = "s1", **more: Any) -> Announce:
    facts = {"round": 1, "capability": "doc.read", "window_ms": 500, "deadline_ms": 60_000}
    return Announce(subtask=subtask, **(facts | more))


def award(subtask: str = "s1", **more: Any) -> Award:
    facts = {"round": 1, "attempt": 1, "epoch": 1, "capability": "doc.read", "agent": "docs"}
    return Award(subtask=subtask, **(facts | {"lease_ms": 10_000, "deadline_ms": 60_000} | more))


def key(subtask: str = "s1", attempt: int = 1, epoch: int = 1) -> AttemptKey:
    return AttemptKey(RUN, subtask, attempt, epoch)


class World:
    """An agent and a time that goes where the test says."""

    def __init__(self, *specs: AgentSpec, **limits: Any) -> None:
        self.agent = Agent(specs or (SPEC,), Limits(**({"slots": 2} | limits)), History())
        self.now = 100.0
        self.step = Step()

    def feed(self, event: Event) -> list[Any]:
        self.step = self.agent.handle(event, self.now)
        return [command.item for command in self.step.commands if isinstance(command, Say)]

    def orders(self) -> list[Any]:
        return [command for command in self.step.commands if not isinstance(command, Say)]

    def award(self, *items: Award) -> list[Any]:
        return self.feed(Awarded(RUN, items))

    def after(self, seconds: float) -> list[Any]:
        """Let time pass, waking the agent whenever it asked to be."""
        said: list[Any] = []
        end = self.now + seconds
        while (due := self.agent.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            said += self.feed(Tick())
        self.now = end
        return said


def test_an_award_is_on_record_before_its_work_starts() -> None:
    world = World()
    [started] = world.award(award())
    assert isinstance(started, Started)
    assert world.step.records == [Fenced(RUN, 1), Took(key())]
    [start] = world.orders()
    assert isinstance(start, Start)
    assert (start.key, start.agent, start.deadline_at) == (key(), "docs", 160.0)


def test_quick_work_spares_the_message_that_it_began() -> None:
    world = World(AgentSpec("docs", frozenset({"doc.read"}), 2, quick=True))
    assert world.award(award()) == []
    assert isinstance(world.orders()[0], Start)


def test_a_confirmation_is_said_only_when_it_is_asked_for() -> None:
    assert not any(isinstance(item, Confirm) for item in World().award(award()))
    assert isinstance(World().award(award(confirm=True))[0], Confirm)


def test_an_ending_is_on_record_when_it_is_said() -> None:
    world = World()
    world.award(award())
    [result] = world.feed(WorkDone(key(), (), 1_200, 800))
    assert result == Result(subtask="s1", attempt=1, epoch=1, outputs=[], wall_ms=1_200, cpu_ms=800)
    assert world.step.records == [Ended(key(), result, world.now)]
    assert world.step.durable


def test_steps_without_an_ending_need_not_wait_for_the_disk() -> None:
    world = World()
    world.award(award())
    assert not world.step.durable


def test_an_award_beyond_the_slots_waits_and_starts_when_one_is_free() -> None:
    world = World()
    world.award(award("s1"), award("s2"), award("s3", confirm=True))
    assert [order.key.subtask for order in world.orders()] == ["s1", "s2"]
    said = world.feed(WorkDone(key("s1")))
    assert [type(item) for item in said] == [Result, Started]
    assert [order.key.subtask for order in world.orders()] == ["s3"]


def test_an_award_beyond_slots_and_queue_is_refused() -> None:
    world = World()
    said = world.award(award("s1"), award("s2"), award("s3"), award("s4"))
    [refuse] = [item for item in said if isinstance(item, Refuse)]
    assert (refuse.subtask, refuse.code) == ("s4", "E_SLOTS")


def test_work_that_waits_too_long_for_a_slot_goes_back_before_its_lease_ends() -> None:
    world = World()
    world.award(award("s1"), award("s2"), award("s3"))
    said = world.after(9.9)
    [refuse] = [item for item in said if isinstance(item, Refuse)]
    assert (refuse.subtask, refuse.code) == ("s3", "E_SLOTS")
    [again] = world.award(award("s3"))
    assert isinstance(again, Refuse)


def test_progress_is_said_at_most_twice_a_second_and_the_latest_step_is_not_lost() -> None:
    world = World()
    world.award(award())
    said = []
    for step in range(1, 21):
        said += world.feed(WorkProgress(key(), step, step / 20, f"page {step}"))
        said += world.after(0.05)
    said += world.after(1.0)
    steps = [item.step for item in said if isinstance(item, Progress)]
    assert 2 <= len(steps) <= 4
    assert steps[-1] == 20
    assert steps == sorted(steps)


def test_a_step_that_comes_late_does_not_take_the_work_back() -> None:
    world = World()
    world.award(award())
    world.feed(WorkProgress(key(), 1))
    world.feed(WorkProgress(key(), 5))
    world.feed(WorkProgress(key(), 3))
    [progress] = world.after(1.0)
    assert progress.step == 5


def test_a_slot_of_the_node_that_becomes_free_goes_to_whichever_agent_waits() -> None:
    world = World(SPEC, AgentSpec("other", frozenset({"text.find"}), 1, queue=2))
    world.award(award("s1"), award("s2"), award("s3", agent="other", capability="text.find"))
    assert world.agent.slots_used == 2
    world.feed(WorkDone(key("s1")))
    assert [order.key.subtask for order in world.orders()] == ["s3"]


def test_a_sign_of_life_without_a_step_is_no_progress() -> None:
    world = World()
    world.award(award())
    assert len(world.feed(WorkProgress(key(), 1))) == 1
    world.after(5.0)
    assert world.feed(WorkProgress(key(), 1)) == []
    assert world.after(5.0) == []


def test_a_cancel_of_running_work_is_acknowledged_when_it_has_stopped() -> None:
    world = World()
    world.award(award())
    assert world.feed(CancelAsked(RUN, [Cancel(subtask="s1", attempt=1, epoch=1)])) == []
    assert world.orders() == [Stop(key())]
    assert world.agent.slots_used == 1
    assert world.feed(CancelAsked(RUN, [Cancel(subtask="s1", attempt=1, epoch=1)])) == []
    assert world.orders() == []
    [cancelled] = world.feed(WorkStopped(key()))
    assert isinstance(cancelled, Cancelled)
    assert world.agent.slots_used == 0


def test_work_that_finishes_while_it_is_being_cancelled_is_cancelled() -> None:
    world = World()
    world.award(award())
    world.feed(CancelAsked(RUN, [Cancel(subtask="s1", attempt=1, epoch=1)]))
    [ending] = world.feed(WorkDone(key()))
    assert isinstance(ending, Cancelled)


def test_a_cancel_that_overtakes_its_award_closes_the_door() -> None:
    world = World()
    [cancelled] = world.feed(CancelAsked(RUN, [Cancel(subtask="s1", attempt=1, epoch=1)]))
    assert isinstance(cancelled, Cancelled)
    [refuse] = world.award(award())
    assert (refuse.code, world.orders()) == ("E_STALE", [])
    assert isinstance(world.award(award(attempt=2))[0], Started)


def test_work_past_its_deadline_is_stopped_and_may_be_tried_again() -> None:
    world = World()
    world.award(award(deadline_ms=5_000))
    assert world.after(4.9) == []
    world.after(0.2)
    assert world.orders() == [Stop(key())]
    [failed] = world.feed(WorkStopped(key()))
    assert (failed.code, failed.retryable) == ("E_DEADLINE", True)
    assert "5 s" in failed.message


def test_work_that_is_done_just_past_its_deadline_is_still_a_result() -> None:
    world = World()
    world.award(award(deadline_ms=5_000))
    world.after(5.1)
    [result] = world.feed(WorkDone(key()))
    assert isinstance(result, Result)


def test_a_newer_attempt_replaces_an_older_one_here() -> None:
    world = World()
    world.award(award(attempt=1))
    said = world.award(award(attempt=2))
    assert [type(item) for item in said] == [Started]
    assert [type(order) for order in world.orders()] == [Stop, Start]
    [cancelled] = world.feed(WorkStopped(key(attempt=1)))
    assert (type(cancelled), cancelled.attempt) == (Cancelled, 1)
    [result] = world.feed(WorkDone(key(attempt=2)))
    assert (type(result), result.attempt) == (Result, 2)


def test_an_older_attempt_that_comes_late_is_refused() -> None:
    world = World()
    world.award(award(attempt=2))
    [refuse] = world.award(award(attempt=1))
    assert refuse.code == "E_STALE"
    assert world.orders() == []


def test_a_live_attempt_of_a_former_epoch_is_told_when_the_new_owner_asks_again() -> None:
    world = World()
    world.award(award("s1", epoch=1))
    world.award(award("s2", epoch=2))
    [started] = world.award(award("s1", epoch=1))
    assert isinstance(started, Started)
    [refuse] = world.award(award("s3", epoch=1))
    assert refuse.code == "E_EPOCH"


def test_an_ending_is_said_again_until_it_is_acknowledged() -> None:
    world = World()
    world.award(award())
    [result] = world.feed(WorkDone(key()))
    assert world.after(7.0) == [result, result]
    world.feed(Acked(RUN, [ResultAck(subtask="s1", attempt=1, epoch=1, applied=True)]))
    assert world.after(3600.0) == []
    assert world.agent.deadline() is None


def test_an_ending_that_nobody_wants_is_given_up_after_a_day() -> None:
    world = World()
    world.award(award())
    world.feed(WorkDone(key()))
    world.after(25 * 3600.0)
    assert len(world.agent.outbox) == 0
    assert world.agent.deadline() is None


def test_only_results_that_count_make_a_better_reputation() -> None:
    world = World()
    before = world.agent.history.success("doc.read")
    for number, applied in enumerate((False, True)):
        world.award(award(f"s{number}"))
        world.feed(WorkDone(key(f"s{number}")))
        world.feed(Acked(RUN, [ResultAck(subtask=f"s{number}", attempt=1, epoch=1, applied=applied)]))
        assert (world.agent.history.success("doc.read") > before) is applied


def test_an_input_that_nobody_can_use_is_no_fault_of_the_node() -> None:
    world = World()
    before = world.agent.history.success("doc.read")
    for number, retryable in enumerate((False, True)):
        world.award(award(f"s{number}"))
        world.feed(WorkFailed(key(f"s{number}"), "E_EMPTY", "it is empty", retryable))
        world.feed(Acked(RUN, [ResultAck(subtask=f"s{number}", attempt=1, epoch=1, applied=True)]))
        assert (world.agent.history.success("doc.read") < before) is retryable


def test_a_bid_reserves_a_slot_until_it_is_lost_or_runs_out() -> None:
    world = World(slots=1)
    [bid] = world.feed(Announced(RUN, [announce("s1")]))
    assert isinstance(bid, Bid)
    assert world.agent.open_bids == 1
    world.feed(BidsRejected(RUN, [Reject(subtask="s1", round=1, reason="outbid")]))
    assert world.agent.open_bids == 0
    world.feed(Announced(RUN, [announce("s2")]))
    world.after(bid.valid_ms / 1000 + 0.1)
    assert world.agent.open_bids == 0


def test_a_repeated_announcement_makes_one_reservation_and_an_older_round_none() -> None:
    world = World()
    for number in (1, 1, 2):
        [bid] = world.feed(Announced(RUN, [announce(round=number)]))
        assert bid.round == number
    assert world.feed(Announced(RUN, [announce(round=1)])) == []
    assert world.agent.open_bids == 1


def test_a_flood_of_announcements_ends_in_declines_and_not_in_promises_without_end() -> None:
    world = World()
    answers = world.feed(Announced(RUN, [announce(f"s{number}") for number in range(500)]))
    bids = [item for item in answers if isinstance(item, Bid)]
    declines = [item for item in answers if isinstance(item, Decline)]
    assert len(bids) + len(declines) == 500
    assert len(bids) < 50
    assert {item.code for item in declines} == {"E_SLOTS"}


def test_confidential_data_is_declined_and_refused() -> None:
    world = World()
    [decline] = world.feed(Announced(RUN, [announce()], data_class=2))
    assert (type(decline), decline.code) == (Decline, "E_CLASS")
    [refuse] = world.feed(Awarded(RUN, [award()], data_class=2))
    assert (type(refuse), refuse.code) == (Refuse, "E_CLASS")


def test_an_award_larger_than_announced_is_refused() -> None:
    world = World()
    ref = ArtifactRef(sha256=bytes(32), size=1 << 30, chunks=4096, writer="U" + "A" * 55)
    [refuse] = world.award(award(inputs=[NamedRef(name="huge", ref=ref)]))
    assert refuse.code == "E_TOO_LARGE"


@pytest.mark.parametrize(("agent", "capability"), [("nobody", "doc.read"), ("docs", "text.find")])
def test_an_award_for_what_is_not_offered_is_refused(agent: str, capability: str) -> None:
    [refuse] = World().award(award(agent=agent, capability=capability))
    assert refuse.code == "E_CAPABILITY"


def test_of_two_agents_with_a_capability_the_sooner_one_bids() -> None:
    busy = AgentSpec("busy", frozenset({"doc.read"}), 1, queue=3)
    free = AgentSpec("free", frozenset({"doc.read"}), 1, queue=3)
    world = World(busy, free, slots=4)
    world.award(award(agent="busy"))
    [bid] = world.feed(Announced(RUN, [announce("s2")]))
    assert bid.agent == "free"


def test_work_that_would_cost_more_than_the_owner_wants_is_declined() -> None:
    world = World(max_price=0.000001)
    [decline] = world.feed(Announced(RUN, [announce()]))
    assert decline.code == "E_PRICE"
    assert "the owner's most" in decline.detail


def test_a_busy_device_asks_more_and_a_fully_busy_one_may_decline() -> None:
    world = World(max_load=0.95)
    [calm] = world.feed(Announced(RUN, [announce("s1")]))
    world.feed(LoadMeasured(0.9))
    [busy] = world.feed(Announced(RUN, [announce("s2")]))
    assert (busy.price, busy.eta_ms) > (calm.price, calm.eta_ms)
    world.feed(LoadMeasured(1.0))
    [decline] = world.feed(Announced(RUN, [announce("s3")]))
    assert decline.code == "E_LOAD"


def test_a_node_that_knows_it_is_too_slow_declines_and_one_that_does_not_know_tries() -> None:
    world = World()
    [bid] = world.feed(Announced(RUN, [announce("s0", deadline_ms=200)]))
    assert isinstance(bid, Bid)
    for number in range(1, 6):
        world.award(award(f"s{number}"))
        world.feed(WorkDone(key(f"s{number}"), (), 5_000, 5_000))
    [decline] = world.feed(Announced(RUN, [announce("s9", deadline_ms=200)]))
    assert decline.code == "E_DEADLINE"


def test_what_is_in_the_cache_is_said_in_the_bid() -> None:
    world = World()
    world.feed(InputsCached({b"12345678": 70, b"abcdefgh": 30}))
    item = announce(inputs=[b"12345678", b"abcdefgh", b"--------"], input_bytes=500, input_count=3)
    assert world.feed(Announced(RUN, [item]))[0].local_bytes == 100
    world.feed(InputsCached({}, [b"12345678"]))
    item = announce(round=2, inputs=[b"12345678", b"abcdefgh"], input_bytes=500, input_count=2)
    assert world.feed(Announced(RUN, [item]))[0].local_bytes == 30


def test_a_node_that_goes_down_gives_back_what_waits_and_stops_what_runs() -> None:
    world = World()
    world.award(award("s1"), award("s2"), award("s3"))
    [refuse] = world.feed(DrainAsked())
    assert (refuse.subtask, refuse.code) == ("s3", "E_DRAINING")
    [decline] = world.feed(Announced(RUN, [announce("s4")]))
    assert decline.code == "E_DRAINING"
    [again] = world.award(award("s5"))
    assert again.code == "E_DRAINING"
    world.feed(StopAsked())
    assert {order.key.subtask for order in world.orders()} == {"s1", "s2"}
    [failed] = world.feed(WorkStopped(key("s1")))
    assert (failed.code, failed.retryable) == ("E_SHUTDOWN", True)


def test_work_that_found_no_room_on_the_disk_gives_back_what_waits_and_nothing_is_taken_until_there_is_room() -> (
    None
):
    world = World()
    world.award(award("s1"), award("s2"), award("s3"))
    said = world.feed(WorkFailed(key("s1"), "E_DISK_FULL", "no room", retryable=True))
    assert {(item.subtask, item.code) for item in said} == {("s1", "E_DISK_FULL"), ("s3", "E_DISK_FULL")}
    assert not any(isinstance(order, Start) for order in world.orders())
    [decline] = world.feed(Announced(RUN, [announce("s4")]))
    assert decline.code == "E_DISK_FULL"
    world.feed(RoomMeasured(True))
    [bid] = world.feed(Announced(RUN, [announce("s4")]))
    assert isinstance(bid, Bid)


def test_words_of_a_failure_lose_their_control_characters() -> None:
    world = World()
    world.award(award())
    [failed] = world.feed(WorkFailed(key(), "not a code", "\x1b[2Jboom\u202e", retryable=True))
    assert isinstance(failed, Failed)
    assert failed.code == "E_WORK"
    assert "\x1b" not in failed.message
    assert "\u202e" not in failed.message
