"""The ledger of budgets, whatever happens in whatever order: never is more spent and set aside than a limit allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from coordinator_node.budget import (
    KINDS,
    NO_BOUND,
    Kind,
    Ledger,
    Scope,
    attempt_key,
    charge,
    replay,
    scopes_of,
)
from coordinator_node.fold import apply
from coordinator_node.state import RunState
from protocol.messages import Budget, Usage
from protocol.records import Accepted, AttemptFailed, Awarded, PlanAdopted, Refused, Rejected, RunOpened
from tests.support.builders import OWNER, a_plan, a_ref, a_subtask, bus_key, node_id, run_id

RUN = run_id()
SMALL = st.integers(0, 60)
AMOUNTS = st.builds(
    Usage, money=SMALL, tokens=SMALL, steps=SMALL, bytes_out=SMALL, children=st.integers(0, 3)
)
CLAIMS = AMOUNTS | st.just(Usage(**dict.fromkeys(KINDS, NO_BOUND)))
"""What a worker says it used; a lying one says anything."""
DAY: Scope = ("day", "2026-11-25")
DAYS: tuple[Scope, ...] = (DAY, (*DAY, "n"), (*DAY, "n", "x"))
"""That of the swarm, of a node and of an agent: here all work is done by one."""


def within(ledger: Ledger) -> None:
    """The property of all budgets."""
    for scope, account in ledger.accounts.items():
        for kind in KINDS:
            assert account.spent[kind] >= 0, (scope, kind)
            assert account.reserved[kind] >= 0, (scope, kind)
            if kind in account.limit:
                assert account.spent[kind] + account.reserved[kind] <= account.limit[kind], (scope, kind)


class Spending(RuleBasedStateMachine):
    """Attempts of two runs, a few subtasks and nodes, and one day for all; reservations and endings come in any order, some twice."""

    keys = Bundle("keys")

    @initialize(
        limits=st.lists(
            st.dictionaries(st.sampled_from(KINDS), st.integers(1, 100)), min_size=11, max_size=11
        )
    )
    def begin(self, limits: list[dict[Kind, int]]) -> None:
        self.ledger = Ledger()
        self.granted: dict[Any, Usage] = {}
        self.charged: dict[Any, Usage] = {}
        scopes: list[Scope] = [*DAYS]
        for run in ("r1", "r2"):
            scopes += [("run", run), ("subtask", run, "a"), ("node", run, "n"), ("agent", run, "n", "x")]
        for scope, limit in zip(scopes, limits, strict=True):
            self.ledger.limit(scope, limit)

    @rule(
        target=keys,
        run=st.sampled_from(["r1", "r2"]),
        subtask=st.sampled_from(["a", "b"]),
        attempt=st.integers(1, 9),
        amounts=AMOUNTS,
    )
    def reserve(self, run: str, subtask: str, attempt: int, amounts: Usage) -> Any:
        key = (run, subtask, attempt, 1)
        known = key in self.granted
        short = self.ledger.reserve(key, amounts, (*scopes_of(run, subtask, "n", "x"), *DAYS))
        if not known and short is None:
            self.granted[key] = amounts
        elif short is not None:
            assert not known
            assert short.wanted > short.room
        return key

    @rule(key=keys, used=CLAIMS)
    def settle(self, key: Any, used: Usage) -> None:
        charged = self.ledger.settle(key, used)
        if key not in self.granted or key in self.charged:
            assert charged is None
            return
        assert charged is not None
        self.charged[key] = charged
        for kind in KINDS:
            assert getattr(charged, kind) == min(getattr(used, kind), getattr(self.granted[key], kind))

    @invariant()
    def never_above_a_limit(self) -> None:
        within(self.ledger)

    @invariant()
    def adds_up(self) -> None:
        still = [amounts for key, amounts in self.granted.items() if key not in self.charged]
        for scope in DAYS:
            account = self.ledger.account(scope)
            for kind in KINDS:
                assert account.spent[kind] == sum(getattr(one, kind) for one in self.charged.values())
                assert account.reserved[kind] == sum(getattr(one, kind) for one in still)


TestSpending = pytest.mark.requirement("BUD-1")(Spending.TestCase)
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def history(limit: Usage, steps: list[tuple[int, int, Usage, Usage, str]]) -> list[RunState]:
    """States of one run on its way: each step awards a subtask if the budget allows it, or ends its attempt."""
    plan = a_plan(*(a_subtask(f"s{number}", tries=20) for number in range(4)))
    budget = Budget(**{kind: getattr(limit, kind) for kind in KINDS})
    state = apply(
        None,
        RunOpened(at_ms=1, run=RUN, goal=a_ref(), by=OWNER, epoch=1, owner=OWNER, budget=budget),
    )
    apply(
        state,
        PlanAdopted(
            at_ms=1, plan=a_ref("p"), part=1, parts=1, subtasks=[one.skeleton() for one in plan.subtasks]
        ),
    )
    ledger = Ledger()
    replay(ledger, state)
    for place, by, amounts, used, how in steps:
        name, node = f"s{place}", node_id(f"n{by}")
        subtask = state.subtasks[name]
        if subtask.status == "open":
            number = len(subtask.attempts) + 1
            key = (RUN, name, number, 1)
            if ledger.reserve(key, amounts, scopes_of(RUN, name, node, "x")) is None:
                record: Any = Awarded(
                    at_ms=2, subtask=name, attempt=number, epoch=1, round=number, node=node, bus_key=bus_key(node),
                    agent="x", lease_ms=1, deadline_ms=1, reserved=amounts,
                )  # fmt: skip
                apply(state, record)
        elif subtask.status == "awarded":
            attempt = subtask.attempts[-1]
            fence = {
                "at_ms": 3, "subtask": name, "attempt": attempt.number, "epoch": attempt.epoch, "node": attempt.node,
            }  # fmt: skip
            endings: dict[str, Any] = {
                "accepted": lambda fence=fence, used=used: Accepted(**fence, wall_ms=1, used=used),
                "failed": lambda fence=fence, used=used: AttemptFailed(**fence, code="E_WORK", used=used),
                "rejected": lambda fence=fence, used=used: Rejected(**fence, reason="bad", used=used),
                "refused": lambda fence=fence: Refused(**fence, code="E_SLOTS"),
            }
            apply(state, endings[how]())
            ledger.settle(attempt_key(RUN, name, attempt), charge(attempt))
        again = Ledger()
        replay(again, state)
        assert again.accounts == ledger.accounts
        within(again)
    return [state]


STEP = st.tuples(
    st.integers(0, 3),
    st.integers(0, 2),
    AMOUNTS,
    CLAIMS,
    st.sampled_from(["accepted", "failed", "rejected", "refused"]),
)


@pytest.mark.requirement("BUD-5")
@settings(max_examples=60, deadline=None)
@given(AMOUNTS, st.lists(STEP, max_size=40))
def test_a_restart_at_any_point_finds_the_same_accounts(limit: Usage, steps: list[Any]) -> None:
    history(limit, steps)


@given(st.integers(1, 500), st.integers(1, 40), st.permutations(range(64)), st.data())
@settings(max_examples=40, deadline=None)
def test_of_64_that_race_for_one_budget_as_many_win_as_it_has_room_for(
    limit: int, each: int, order: list[int], data: st.DataObject
) -> None:
    ledger = Ledger()
    ledger.limit(("run", "r"), {"money": limit})
    won = [
        number
        for number in order
        if ledger.reserve(("r", str(number), 1, 1), Usage(money=each), [("run", "r")]) is None
    ]
    assert len(won) == min(64, limit // each)
    within(ledger)
    spent = 0
    for number in won:
        used = data.draw(st.integers(0, 2 * each))
        charged = ledger.settle(("r", str(number), 1, 1), Usage(money=used))
        assert charged is not None
        spent += charged.money
    assert spent == ledger.accounts["run", "r"].spent["money"] <= limit
    assert ledger.accounts["run", "r"].reserved["money"] == 0
