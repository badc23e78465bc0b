"""Whatever comes in whatever order: the engine keeps its rules. Fold and auction, too."""

from __future__ import annotations

import copy
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from coordinator_node import orders
from coordinator_node.assignment import FULL, Lot, assign
from coordinator_node.engine import Engine, Settings
from coordinator_node.errors import InvalidTransition
from coordinator_node.fold import apply, fold
from coordinator_node.lane import Lane
from coordinator_node.replanning import revise
from coordinator_node.state import RunState
from protocol.messages import Announce, Award, Cancelled, Confirm, Progress, Refuse, Started
from protocol.records import Accepted, Record, RunOpened, SubtaskCancelled, SubtaskFailed
from tests.support.builders import (
    OWNER,
    a_bid,
    a_decline,
    a_failed,
    a_node,
    a_plan,
    a_ref,
    a_result,
    a_run,
    a_subtask,
    bus_key,
    named,
    node_id,
    run_id,
)

NODES = ("a", "b", "c")
RUN = run_id()
_PLAN = a_plan(
    a_subtask("one"),
    a_subtask("two", tries=2, instead=["text.work"]),
    a_subtask("three", needs=["one", "two"]),
    a_subtask("four", needs=["one", "three"], tolerant=True),
    deliver=["four"],
)
SUBTASKS = [subtask.id for subtask in _PLAN.subtasks]


class Market(RuleBasedStateMachine):
    """Nodes that say anything, true or not, at any time; a coordinator that dies; a client that cancels."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.records: list[Record] = []
        self.rounds: dict[str, int] = {}
        self.awards: set[tuple[str, int, int, str]] = set()
        self.checks: list[orders.CheckResult] = []
        self.revisions: list[orders.RevisePlan] = []
        self.plans = {a_ref("plan").sha256: _PLAN}

    @initialize()
    def begin(self) -> None:
        self.engine = self._engine()
        for name in NODES:
            self._handle(orders.NodeSeen(a_node(name)))
        self._handle(a_run(_PLAN))

    def _engine(self) -> Engine:
        return Engine(OWNER, random.Random(1), Settings(settle_s=0.0, hedge_after_s=1.0), now=self.now)

    def _handle(self, event: orders.Event) -> None:
        step = self.engine.handle(event, self.now)
        self.records += [record for _, record in step.records]
        for command in step.commands:
            if isinstance(command, orders.CheckResult):
                self.checks.append(command)
            elif isinstance(command, orders.RevisePlan):
                self.revisions.append(command)
            elif isinstance(command, (orders.Say, orders.SayAll)):
                if isinstance(command.item, Announce):
                    self.rounds[command.item.subtask] = command.item.round
                elif isinstance(command.item, Award):
                    assert isinstance(command, orders.Say)
                    award = command.item
                    self.awards.add((award.subtask, award.attempt, award.epoch, command.to))

    # --- what may come ---

    @rule(
        name=st.sampled_from(NODES),
        subtask=st.sampled_from(SUBTASKS),
        old=st.booleans(),
        eta=st.integers(0, 400_000),
    )
    def bids(self, name: str, subtask: str, old: bool, eta: int) -> None:
        number = self.rounds.get(subtask, 1) - (1 if old else 0)
        bid = a_bid(subtask, max(1, number), eta_ms=eta, free_slots=eta % 4)
        self._handle(orders.AnswersReceived(RUN, node_id(name), bus_key(name), [bid], b"x" * 16))

    @rule(name=st.sampled_from(NODES), code=st.sampled_from(["E_SLOTS", "E_TOO_LARGE"]))
    def declines(self, name: str, code: str) -> None:
        items = [a_decline(subtask, number, code) for subtask, number in self.rounds.items()]
        self._handle(orders.AnswersReceived(RUN, node_id(name), bus_key(name), items, b"x" * 16))

    @rule(
        name=st.sampled_from(NODES),
        subtask=st.sampled_from([*SUBTASKS, "ghost"]),
        attempt=st.integers(1, 4),
        epoch=st.integers(1, 3),
        what=st.sampled_from(
            [
                "result",
                "output",
                "failed",
                "final",
                "refuse",
                "started",
                "progress",
                "cancelled",
                "confirm",
                "limited",
            ]
        ),
        twice=st.booleans(),
    )
    def says(self, name: str, subtask: str, attempt: int, epoch: int, what: str, twice: bool) -> None:
        self._say(name, subtask, attempt, epoch, what, twice=twice)

    @precondition(lambda self: self.awards)
    @rule(
        data=st.data(),
        what=st.sampled_from(
            [
                "result",
                "output",
                "failed",
                "final",
                "refuse",
                "started",
                "progress",
                "cancelled",
                "limited",
                "person",
                "later",
            ]
        ),
        twice=st.booleans(),
    )
    def answers_an_award(self, data: Any, what: str, twice: bool) -> None:
        subtask, attempt, epoch, to = data.draw(st.sampled_from(sorted(self.awards)))
        name = next(name for name in NODES if bus_key(name) == to)
        self._say(name, subtask, attempt, epoch, what, twice=twice)

    def _say(self, name: str, subtask: str, attempt: int, epoch: int, what: str, *, twice: bool) -> None:
        fence = {"subtask": subtask, "attempt": attempt, "epoch": epoch}
        made: dict[str, orders.WorkItem] = {
            "result": a_result(subtask, attempt, epoch),
            "output": a_result(subtask, attempt, epoch, [named("out.json")]),
            "failed": a_failed(subtask, attempt, epoch),
            "final": a_failed(subtask, attempt, epoch, retryable=False),
            "refuse": Refuse(**fence, code="E_SLOTS"),
            "started": Started(**fence),
            "progress": Progress(**fence, step=1),
            "limited": Progress(
                **fence, step=attempt, state="limited", wait_ms=3_000, partial=[named("part")]
            ),
            "person": Progress(**fence, step=attempt, state="person", note="may I?"),
            "later": a_failed(subtask, attempt, epoch, retry_ms=7_000, partial=[named("rest")]),
            "cancelled": Cancelled(**fence),
            "confirm": Confirm(**fence),
        }
        items = [made[what]] * (2 if twice else 1)
        self._handle(orders.WorkReceived(RUN, node_id(name), bus_key(name), items))

    @precondition(lambda self: self.checks)
    @rule(good=st.booleans(), keep=st.booleans())
    def checks_end(self, good: bool, keep: bool) -> None:
        check = self.checks[0] if keep else self.checks.pop(0)
        reason = "" if good else "bad"
        self._handle(orders.ResultChecked(RUN, check.subtask, check.attempt, check.epoch, reason))

    @precondition(lambda self: self.revisions)
    @rule(stored=st.booleans())
    def plans_are_stored(self, stored: bool) -> None:
        command = self.revisions.pop(0)
        found = revise(command.plan, command.wanted, None)
        if not stored:
            self._handle(orders.PlanStored(RUN, None, None, {}))
            return
        ref = a_ref(found.plan.model_dump_json())
        self.plans[ref.sha256] = found.plan
        self._handle(orders.PlanStored(RUN, found.plan, ref, found.forms))

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 5.0, 11.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._handle(orders.Tick())

    @rule(name=st.sampled_from(NODES), there=st.booleans())
    def comes_or_goes(self, name: str, there: bool) -> None:
        self._handle(orders.NodeSeen(a_node(name)) if there else orders.NodeLost(node_id(name), "gone"))

    @rule()
    def dies_and_comes_back(self) -> None:
        state = fold(copy.deepcopy(self.records))
        assert state is not None
        self.engine = self._engine()
        self.checks.clear()
        if state.status == "closed":
            self._handle(orders.RunForgotten(RUN))
        else:
            assert state.plan is not None
            self.revisions.clear()
            self._handle(orders.RunRecovered(state, self.plans[state.plan.sha256]))
        for name in NODES:
            self._handle(orders.NodeSeen(a_node(name)))

    @precondition(lambda self: len(self.records) > 12)
    @rule()
    def is_cancelled(self) -> None:
        self._handle(orders.CancelAsked(RUN, node_id("client")))

    @rule(subtask=st.sampled_from([*SUBTASKS, "ghost"]))
    def one_is_cancelled(self, subtask: str) -> None:
        self._handle(orders.CancelAsked(RUN, node_id("client"), "enough", subtask))

    @rule()
    def is_paused(self) -> None:
        self._handle(orders.PauseAsked(RUN, node_id("client")))

    @rule()
    def is_resumed(self) -> None:
        self._handle(orders.ResumeAsked(RUN, node_id("client")))

    # --- what must hold ---

    @invariant()
    def memory_is_the_fold_of_the_records(self) -> None:
        state = fold(self.records)
        assert state is not None
        live = self.engine.state(RUN)
        assert live is None or live == state

    @invariant()
    def each_subtask_has_at_most_one_end(self) -> None:
        ends = [
            record.subtask
            for record in self.records
            if isinstance(record, (Accepted, SubtaskFailed, SubtaskCancelled))
        ]
        assert len(ends) == len(set(ends))
        assert sum(record.k == "run.closed" for record in self.records) <= 1

    @invariant()
    def what_is_watched_is_what_is_awarded(self) -> None:
        state = self.engine.state(RUN)
        if state is None:
            return
        for name, subtask in state.subtasks.items():
            watched = {(live.attempt, live.epoch, live.node) for live in self.engine.watch.of((RUN, name))}
            held = {(one.number, one.epoch, one.node) for one in subtask.held}
            assert watched == held
            assert bool(held) == (subtask.status == "awarded")
            assert len({node for _, _, node in held}) == len(held) <= 2

    @invariant()
    def the_count_of_what_is_in_flight_is_right(self) -> None:
        opened = sum((RUN, name) in self.engine.auction for name in SUBTASKS)
        assert self.engine.market.flight("text.work") == opened + len(self.engine.watch)

    @invariant()
    def a_run_that_is_open_always_has_something_to_wait_for(self) -> None:
        state = self.engine.state(RUN)
        if state is not None and state.status != "closed":
            checking = any(live.checking for live in self.engine.watch.of_run(RUN))
            waits = checking or state.paused or self.revisions
            assert waits or self.engine.deadline() is not None

    @invariant()
    def the_count_of_what_waits_is_right(self) -> None:
        waiting = sum(live.state != "working" for live in self.engine.watch.of_run(RUN))
        assert self.engine.market._of("text.work").waiting == waiting

    @invariant()
    def a_paused_run_asks_for_nothing(self) -> None:
        state = self.engine.state(RUN)
        if state is not None and state.paused:
            assert not any((RUN, name) in self.engine.auction for name in SUBTASKS)


Market.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestMarket = Market.TestCase


@given(st.lists(st.integers(0, 11), max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_fold_of_a_prefix_and_the_rest_is_the_fold_of_all(choices: list[int], rng: random.Random) -> None:
    """Whatever the fold takes, in pieces or at once, is the same; what it refuses leaves no trace."""
    records = _history(choices)
    whole = fold(copy.deepcopy(records))
    cut = rng.randint(0, len(records))
    state = fold(copy.deepcopy(records[:cut]))
    assert fold(copy.deepcopy(records[cut:]), state) == whole


def _history(choices: list[int]) -> list[Record]:
    """Records that were accepted one after the other, out of many that were tried."""
    opened = RunOpened(at_ms=0, run=RUN, goal=a_ref(), by=OWNER, epoch=1, owner=OWNER)
    engine = Engine(OWNER, random.Random(0), Settings(settle_s=0.0), now=0.0)
    engine.handle(orders.NodeSeen(a_node("a")), 0.0)
    step = engine.handle(a_run(_PLAN), 1.0)
    records = [record for _, record in step.records]
    assert isinstance(records[0], type(opened))
    now = 1.0
    for choice in choices:
        now += 0.5
        state = engine.state(RUN)
        assert state is not None
        event: orders.Event = orders.Tick()
        name = SUBTASKS[choice % 4]
        attempt = len(state.subtasks[name].attempts)
        if choice < 4:
            number = (1 << 20) + choice + 1
            event = orders.AnswersReceived(RUN, node_id("a"), bus_key("a"), [a_bid(name, number)], b"")
        elif attempt:
            item = a_result(name, attempt) if choice < 8 else a_failed(name, attempt)
            event = orders.WorkReceived(RUN, node_id("a"), bus_key("a"), [item])
        records += [record for _, record in engine.handle(event, now).records]
    return records


@given(st.lists(st.integers(0, 11), max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_a_record_out_of_place_is_refused_and_leaves_the_state_as_it_was(
    choices: list[int], data: Any
) -> None:
    records = _history(choices)
    state = fold(copy.deepcopy(records))
    assert state is not None
    stray = data.draw(st.sampled_from(records))
    before = copy.deepcopy(state)
    try:
        apply(state, stray)
    except InvalidTransition:
        assert state == before
    else:
        assert state.records == before.records + 1


@given(
    st.lists(st.lists(st.floats(-3, 3, allow_nan=False), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_sharing_out_respects_room_uses_only_bids_and_leaves_nobody_out_for_nothing(
    rows: list[list[float]], room: int, rng: random.Random
) -> None:
    lots = [
        Lot(("run", str(number)), {f"n{column}": score for column, score in enumerate(row)}, number)
        for number, row in enumerate(rows)
    ]

    def crowding(_node: str, given_: int) -> float:
        return FULL if given_ >= room else 0.1 * given_

    chosen = assign(lots, crowding, rng)
    counts: dict[str, int] = {}
    for (_, number), node in chosen.items():
        assert node in lots[int(number)].scores
        counts[node] = counts.get(node, 0) + 1
    assert all(count <= room for count in counts.values())
    for lot in lots:
        if lot.key not in chosen:
            assert all(counts.get(node, 0) == room for node in lot.scores)


@given(st.permutations(range(6)), st.permutations(("a", "b", "c")))
@settings(max_examples=40, deadline=None)
def test_the_winner_does_not_depend_on_the_order_in_which_equal_bids_arrive(
    order: list[int], names: list[str]
) -> None:
    """Ties are broken by the announcement; exploration is the same for the same seed, so it is turned off by certainty."""
    lots = [Lot(("run", str(number)), dict.fromkeys(names, 0.5), 1_000 + number) for number in order]
    chosen = assign(lots, lambda _node, _given: 0.0, random.Random(1))
    same = [Lot(("run", str(number)), dict.fromkeys("abc", 0.5), 1_000 + number) for number in range(6)]
    assert chosen == assign(same, lambda _node, _given: 0.0, random.Random(1))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_command_leaves_before_the_records_that_came_before_it(
    script: list[tuple[int, int, bool]],
) -> None:
    lane = Lane()
    written: list[Record] = []
    needs: dict[str, int] = {}
    left: list[str] = []
    pushed = 0

    def leave(commands: Any) -> None:
        for command in commands:
            assert needs[command.subtask] <= len(written)
            left.append(command.subtask)

    for records, commands, store in script:
        made: list[Record] = [
            SubtaskCancelled(at_ms=0, subtask=f"r{pushed + index}") for index in range(records)
        ]
        pushed += records
        said = [
            orders.ShowProgress("run", f"c{len(needs) + index}", "", "x", {}) for index in range(commands)
        ]
        needs.update({command.subtask: pushed for command in said})
        leave(lane.push(made, said))
        if store:
            if not lane.flying:
                lane.take()
            written += lane.flying
            leave(lane.written()[1])
        elif not lane.flying:
            lane.take()
    for _ in range(200):
        if not lane.flying and not lane.take() and not lane.waiting:
            break
        written += lane.flying
        leave(lane.written()[1])
    assert left == list(needs)
    assert len(written) == pushed


def test_the_state_is_a_value() -> None:
    first, second = fold(_history([0, 4, 1, 5])), fold(_history([0, 4, 1, 5]))
    assert isinstance(first, RunState)
    assert first == second
    assert first is not second
