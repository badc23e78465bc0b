"""Tests of the engine that read like what happens: events in, commands and records out.

    desk = Playbook(); desk.nodes("a", "b"); desk.submit(plan)
    desk.bid("a", "one", eta_ms=10); desk.bid("b", "one")
    assert desk.awards() == {"one": "a"}

Everything that the engine says is collected until somebody asks; at the end `check` compares memory with the fold of all records.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from coordinator_node import orders
from coordinator_node.engine import Engine, Settings
from coordinator_node.fold import fold
from coordinator_node.state import RunState, SubtaskState
from protocol.messages import Announce, Award, Cancel, Item, Reject, ResultAck
from protocol.plan import Plan
from protocol.records import Record
from tests.support.builders import OWNER, a_bid, a_decline, a_node, a_run, bus_key, node_id, run_id

__all__ = ["Playbook"]

Kind = TypeVar("Kind", bound=Item)


class Playbook:
    """An engine, a clock that only moves when told to, and everything that was said so far."""

    def __init__(self, *, seed: int = 1, now: float = 1_000.0, **settings: Any) -> None:
        self.now = now
        self.engine = Engine(
            OWNER,
            random.Random(seed),
            Settings(**{"grace_s": 3.0, "lost_grace_s": 60.0, "settle_s": 0.0, **settings}),
            now=now,
        )
        self.commands: list[orders.Command] = []
        self.records: list[tuple[str, Record]] = []
        self.run = run_id()
        self._names: dict[str, str] = {}

    # --- events ---

    def handle(self, event: orders.Event, *, after: float = 0.0) -> list[orders.Command]:
        """One event, `after` seconds later; what it led to."""
        self.now += after
        step = self.engine.handle(event, self.now)
        self.records += step.records
        self.commands += step.commands
        return step.commands

    def nodes(self, *names: str, capability: str = "text.work", slots: int = 2) -> None:
        """Nodes are here."""
        for name in names:
            self._names[bus_key(name)] = name
            self.handle(orders.NodeSeen(a_node(name, capability, slots=slots)))

    def submit(self, plan: Plan | None = None, **changes: Any) -> None:
        """A run begins."""
        self.handle(a_run(plan, **changes))

    def answer(self, name: str, *items: orders.Answer, after: float = 0.0) -> None:
        """A node answers."""
        self.handle(
            orders.AnswersReceived(self.run, node_id(name), bus_key(name), items, name.encode()), after=after
        )

    def bid(self, name: str, subtask: str = "one", *, after: float = 0.0, **changes: Any) -> None:
        """A node bids in the newest round of a subtask."""
        self.answer(name, a_bid(subtask, self.round(subtask), **changes), after=after)

    def bids(self, names: Sequence[str], subtasks: Sequence[str], **changes: Any) -> None:
        """Each of the nodes bids for all of the subtasks, in one message each."""
        for name in names:
            self.answer(name, *(a_bid(subtask, self.round(subtask), **changes) for subtask in subtasks))

    def decline(self, name: str, subtask: str = "one", code: str = "E_TOO_LARGE", detail: str = "") -> None:
        """A node declines."""
        self.answer(name, a_decline(subtask, self.round(subtask), code, detail))

    def work(self, name: str, *items: orders.WorkItem, after: float = 0.0) -> None:
        """A node speaks of its attempts."""
        self.handle(orders.WorkReceived(self.run, node_id(name), bus_key(name), items), after=after)

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick at each deadline on the way."""
        end = self.now + seconds
        while (due := self.engine.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.handle(orders.Tick())
        self.now = end

    # --- what came of it ---

    def round(self, subtask: str) -> int:
        """The number of the newest announced round of a subtask."""
        numbers = [item.round for item in self.said(Announce) if item.subtask == subtask]
        assert numbers, f"{subtask} was never announced"
        return numbers[-1]

    def said(self, kind: type[Kind], to: str | None = None) -> list[Kind]:
        """All items of a kind that were said, to everybody or to one node."""
        return [
            command.item
            for command in self.commands
            if isinstance(command, (orders.Say, orders.SayAll))
            and isinstance(command.item, kind)
            and (to is None or (isinstance(command, orders.Say) and command.to == bus_key(to)))
        ]

    def awards(self) -> dict[str, str]:
        """Subtask -> the node that its newest award went to."""
        return {
            command.item.subtask: self._names.get(command.to, command.to)
            for command in self.commands
            if isinstance(command, orders.Say) and isinstance(command.item, Award)
        }

    def acks(self, name: str) -> list[bool]:
        """`applied` of the acknowledgements that a node got."""
        return [ack.applied for ack in self.said(ResultAck, name)]

    def rejects(self, name: str) -> list[str]:
        """Reasons of the rejects that a node got."""
        return [reject.reason for reject in self.said(Reject, name)]

    def cancels(self, name: str) -> list[int]:
        """Attempts that a node was told to stop."""
        return [cancel.attempt for cancel in self.said(Cancel, name)]

    def kinds(self) -> list[str]:
        """The kinds of all records."""
        return [record.k for _, record in self.records]

    def last(self, kind: str) -> Any:
        """The newest record of a kind."""
        return next(record for _, record in reversed(self.records) if record.k == kind)

    def forget_said(self) -> None:
        """Begin to collect anew."""
        self.commands.clear()

    @property
    def state(self) -> RunState:
        """The run's state."""
        state = self.engine.state(self.run)
        assert state is not None
        return state

    def subtask(self, name: str = "one") -> SubtaskState:
        """A subtask's state."""
        return self.state.subtasks[name]

    def check(self) -> None:
        """Memory is the fold of the records."""
        for run in self.engine.desks:
            assert self.engine.state(run) == fold(record for owner, record in self.records if owner == run)
