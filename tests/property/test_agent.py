"""The selling core under everything that a network and a buyer can do to it: repeats, losses, late and stale messages, crashes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent_node.agent import Agent
from agent_node.events import (
    Acked,
    Announced,
    AttemptKey,
    Awarded,
    BidsRejected,
    CancelAsked,
    Connected,
    DrainAsked,
    Ended,
    Event,
    LoadMeasured,
    LocalRecord,
    Say,
    Start,
    Stop,
    StopAsked,
    Tick,
    Took,
    Withdrawn,
    WorkDone,
    WorkFailed,
    WorkProgress,
    WorkStopped,
)
from agent_node.history import History
from agent_node.policy import AgentSpec, Limits
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Cancelled,
    Decline,
    Failed,
    Progress,
    Refuse,
    Reject,
    Result,
    ResultAck,
    Withdraw,
)

RUN = "a" * 26
SUBTASKS = [f"s{number}" for number in range(8)]
SPECS = [
    AgentSpec("docs", frozenset({"doc.read"}), 2, queue=1),
    AgentSpec("more", frozenset({"doc.read", "text.find"}), 1, queue=2),
    AgentSpec("noop", frozenset({"demo.noop"}), 3, queue=2, shared=False, quick=True),
]
OFFERS = [
    ("docs", "doc.read"),
    ("more", "doc.read"),
    ("more", "text.find"),
    ("noop", "demo.noop"),
    ("nobody", "no.such"),
]
ENDINGS = (Result, Failed, Cancelled)


def key_of(item: Any) -> AttemptKey:
    return AttemptKey(RUN, item.subtask, item.attempt, item.epoch)


class Selling(RuleBasedStateMachine):
    """Drives the core as its shell and its buyers would, and keeps what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.file: list[LocalRecord] = []
        self.working: set[AttemptKey] = set()
        self.stopping: set[AttemptKey] = set()
        self.started_in_life: set[AttemptKey] = set()
        self.endings: dict[AttemptKey, Any] = {}
        self.progress_at: dict[AttemptKey, list[float]] = {}
        self.steps: dict[AttemptKey, int] = {}
        self.seen_epoch = 0
        self.tries: dict[str, int] = {}
        self.agent = Agent(SPECS, Limits(2), History())

    def feed(self, event: Event) -> list[Any]:
        """One event through the core; the records it makes are in the file before its commands are looked at."""
        step = self.agent.handle(event, self.now)
        self.file += step.records
        said: list[Any] = []
        for command in step.commands:
            if isinstance(command, Start):
                assert command.key not in self.started_in_life, "the same attempt was started twice"
                assert Took(command.key) in self.file, "work began before it was on record"
                self.started_in_life.add(command.key)
                self.working.add(command.key)
            elif isinstance(command, Stop):
                if command.key in self.working:
                    self.stopping.add(command.key)
            elif isinstance(command, Say):
                said.append(command.item)
                self.hear(command.item)
        return said

    def hear(self, item: Any) -> None:
        if isinstance(item, ENDINGS):
            key = key_of(item)
            assert key not in self.working, f"{item} was said while it still runs"
            recorded = [
                record.item for record in self.file if isinstance(record, Ended) and record.key == key
            ]
            assert len(recorded) <= 1, "an attempt has more than one ending"
            if self.agent.outbox.get(key) is not None:
                assert recorded == [item], "what is said is not what is on record"
                self.endings[key] = item
            else:
                assert isinstance(item, Cancelled), "an ending was said that is not on record"
        elif isinstance(item, Progress):
            times = self.progress_at.setdefault(key_of(item), [])
            assert not times or self.now - times[-1] >= 0.5 - 1e-9, "more than two progress messages a second"
            times.append(self.now)

    # --- buyers ---

    @rule(
        subtask=st.sampled_from(SUBTASKS),
        number=st.integers(1, 3),
        capability=st.sampled_from(["doc.read", "text.find", "demo.noop", "no.such"]),
        data_class=st.sampled_from([0, 1, 1, 1, 2]),
    )
    def announce(self, subtask: str, number: int, capability: str, data_class: int) -> None:
        item = Announce(
            subtask=subtask, round=number, capability=capability, window_ms=500, deadline_ms=5_000
        )
        said = self.feed(Announced(RUN, [item], data_class))
        assert all(
            isinstance(answer, Bid | Decline) for answer in said if getattr(answer, "round", 0) == number
        )
        if data_class > 1:
            assert not any(isinstance(answer, Bid) for answer in said)

    @rule(subtask=st.sampled_from(SUBTASKS), offer=st.sampled_from(OFFERS), confirm=st.booleans())
    def award_next(self, subtask: str, offer: tuple[str, str], confirm: bool) -> None:
        """What a well-behaved owner sends: an attempt that is newer than all before."""
        self.tries[subtask] = self.tries.get(subtask, 4) + 1
        self.award(subtask, self.tries[subtask], max(1, self.seen_epoch), offer, confirm=confirm, twice=False)

    @rule(
        subtask=st.sampled_from(SUBTASKS),
        attempt=st.integers(1, 8),
        epoch=st.integers(1, 3),
        offer=st.sampled_from(OFFERS),
        confirm=st.booleans(),
        twice=st.booleans(),
    )
    def award_anything(
        self, subtask: str, attempt: int, epoch: int, offer: tuple[str, str], confirm: bool, twice: bool
    ) -> None:
        """What a network and former owners may deliver."""
        self.award(subtask, attempt, epoch, offer, confirm=confirm, twice=twice)

    def award(
        self, subtask: str, attempt: int, epoch: int, offer: tuple[str, str], *, confirm: bool, twice: bool
    ) -> None:
        agent, capability = offer
        item = Award(
            subtask=subtask,
            round=1,
            attempt=attempt,
            epoch=epoch,
            capability=capability,
            agent=agent,
            lease_ms=10_000,
            deadline_ms=5_000,
            confirm=confirm,
        )
        key = key_of(item)
        known = key in self.agent.attempts or self.agent.outbox.get(key) is not None
        said = self.feed(Awarded(RUN, [item, item] if twice else [item]))
        if epoch < self.seen_epoch and not known:
            assert any(isinstance(answer, Refuse) and answer.code == "E_EPOCH" for answer in said)
            assert key not in self.agent.attempts
        elif not known:
            self.seen_epoch = max(self.seen_epoch, epoch)
        assert said or key in self.agent.attempts, "an award was met with silence"

    @rule(subtask=st.sampled_from(SUBTASKS), attempt=st.integers(1, 8), epoch=st.integers(1, 3))
    def cancel(self, subtask: str, attempt: int, epoch: int) -> None:
        item = Cancel(subtask=subtask, attempt=attempt, epoch=epoch)
        key = key_of(item)
        running = key in self.working
        said = self.feed(CancelAsked(RUN, [item]))
        self.seen_epoch = max(self.seen_epoch, self.agent.fences.highest(RUN))
        if running:
            assert key in self.stopping
        else:
            assert any(isinstance(answer, ENDINGS) and key_of(answer) == key for answer in said)

    @rule(subtask=st.sampled_from(SUBTASKS), number=st.integers(1, 3), withdraw=st.booleans())
    def lose_a_bid(self, subtask: str, number: int, withdraw: bool) -> None:
        if withdraw:
            self.feed(Withdrawn(RUN, [Withdraw(subtask=subtask, round=number)]))
        else:
            self.feed(BidsRejected(RUN, [Reject(subtask=subtask, round=number, reason="outbid")]))

    @precondition(lambda self: self.endings)
    @rule(data=st.data(), twice=st.booleans(), applied=st.booleans())
    def acknowledge(self, data: st.DataObject, twice: bool, applied: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.endings)))
        ack = ResultAck(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch, applied=applied)
        self.feed(Acked(RUN, [ack, ack] if twice else [ack]))
        assert self.agent.outbox.get(key) is None

    # --- work ---

    @precondition(lambda self: self.working)
    @rule(data=st.data(), how=st.sampled_from(["done", "failed", "stopped"]), twice=st.booleans())
    def work_ends(self, data: st.DataObject, how: str, twice: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        if how == "stopped" and key not in self.stopping:
            how = "done"
        events: dict[str, Event] = {
            "done": WorkDone(key, (), 30, 20),
            "failed": WorkFailed(key, "E_WORK", "it broke", retryable=False),
            "stopped": WorkStopped(key),
        }
        self.working.discard(key)
        self.stopping.discard(key)
        said = self.feed(events[how])
        assert [answer for answer in said if isinstance(answer, ENDINGS) and key_of(answer) == key]
        if twice:
            assert not [answer for answer in self.feed(events[how]) if isinstance(answer, ENDINGS)]

    @precondition(lambda self: self.working)
    @rule(data=st.data(), steps=st.integers(0, 3))
    def work_moves(self, data: st.DataObject, steps: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.steps[key] = self.steps.get(key, 0) + steps
        before = len(self.progress_at.get(key, []))
        self.feed(WorkProgress(key, self.steps[key], 0.5, "on"))
        if not self.steps[key]:
            assert len(self.progress_at.get(key, [])) == before, "progress was said without a step"

    # --- the world ---

    @rule(load=st.floats(0, 1))
    def measure(self, load: float) -> None:
        self.feed(LoadMeasured(load))

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.agent.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.feed(Tick())
        self.now = end

    @rule()
    def reconnect(self) -> None:
        waiting = {entry.key for entry in self.agent.outbox.all()}
        said = self.feed(Connected())
        assert waiting <= {key_of(item) for item in said if isinstance(item, ENDINGS)}

    @rule(torn=st.booleans())
    def crash(self, torn: bool) -> None:
        """The process dies, work and all; the file stays, perhaps rewritten."""
        interrupted = set(self.agent.attempts)
        if torn:
            self.file = self.agent.records()
        self.working.clear()
        self.stopping.clear()
        self.started_in_life.clear()
        self.agent = Agent(SPECS, Limits(2), History(), restored=list(self.file), now=self.now)
        said = self.feed(Connected())
        for key in interrupted:
            assert any(
                isinstance(item, Failed) and key_of(item) == key and item.code == "E_RESTARTED"
                for item in said
            )

    @rule(now=st.booleans())
    def go_down_and_come_back(self, now: bool) -> None:
        self.feed(DrainAsked())
        assert all(key in self.working for key in self.agent.attempts)
        if now:
            self.feed(StopAsked())
            assert self.working == self.stopping
        self.agent.draining = False

    # --- what always holds ---

    @invariant()
    def nothing_is_negative_and_nothing_runs_beyond_its_slots(self) -> None:
        slots = self.agent.slots
        for name, pool in slots.pools.items():
            assert 0 <= pool.running <= pool.slots, name
            assert pool.queued >= 0
            assert pool.reserved >= 0
            assert slots.free(name) >= 0
            waiting = [
                one
                for one in self.agent.attempts.values()
                if one.agent == name and one.phase.value == "queued"
            ]
            assert pool.queued == len(waiting)
        assert 0 <= slots.running_shared <= slots.total
        assert slots.running_shared == sum(pool.running for pool in slots.pools.values() if pool.shared)
        assert sum(pool.reserved for pool in slots.pools.values()) == self.agent.open_bids

    @invariant()
    def what_runs_is_what_the_core_thinks_runs(self) -> None:
        running = {key for key, attempt in self.agent.attempts.items() if attempt.phase.value != "queued"}
        assert running == self.working
        assert self.agent.slots_used == len(self.working)

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        for name, pool in self.agent.slots.pools.items():
            assert not (pool.queued and self.agent.slots.startable(name))

    def teardown(self) -> None:
        """Whatever happened: when all work has ended, every award that was taken has exactly one ending or was given back."""
        for key in sorted(self.working):
            self.working.discard(key)
            self.feed(WorkDone(key))
        while self.working:
            key = min(self.working)
            self.working.discard(key)
            self.feed(WorkDone(key))
        assert self.agent.idle
        assert self.agent.slots_used == 0


Selling.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSelling = Selling.TestCase
