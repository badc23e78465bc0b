"""Transcripts that people can read and a machine can play: what happens to a coordinator, `----`, what it then says and writes down.

A file has one scene. Words before the line `----`, one happening a line; what the engine says and journals comes behind the happening that led to it,
indented, in the part after `----`. `python -m tests.scenarios.script FILE...` writes that part anew: read the difference before you commit it.

    nodes a b                     nodes are here (each with two slots of text.work)
    submit one two<one            a run with these subtasks; < names what one needs, `~` after its name makes it tolerant
    bid a one eta=10 load=0.5     the newest round of a subtask gets a bid
    decline a one E_SLOTS         or a refusal
    a result one 1                node a speaks of attempt 1 of subtask one: result, failed, final, refuse, started, progress, cancelled
    good one 1 / bad one 1        the check of a result (`a output one 1`) has ended
    lost a / wait 11 / cancel / restart
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

from coordinator_node import orders
from coordinator_node.fold import fold
from protocol.messages import Award, Cancel, Cancelled, Progress, Refuse, Reject, ResultAck, Started
from protocol.plan import Plan
from protocol.records import Awarded, Record
from tests.support.builders import (
    a_bid,
    a_decline,
    a_failed,
    a_node,
    a_plan,
    a_result,
    a_run,
    a_subtask,
    bus_key,
    named,
    node_id,
)
from tests.support.playbook import Playbook

__all__ = ["play", "scenes"]

_LINE = "----"


def scenes() -> list[Path]:
    """All scenes."""
    return sorted(Path(__file__).parent.glob("*.txt"))


def play(text: str) -> str:
    """The whole file as it should be, from the part before the line."""
    script = text.partition(f"\n{_LINE}\n")[0].rstrip("\n")
    stage = _Stage()
    out = [script, _LINE]
    for line in script.splitlines():
        words = line.partition("#")[0].split()
        if words:
            out.append(" ".join(words))
            stage.happen(words)
            out += [f"    {said}" for said in stage.heard()]
    return "\n".join(out) + "\n"


class _Stage:
    """A playbook and the names of everybody."""

    def __init__(self) -> None:
        self.book = Playbook()
        self.names: dict[str, str] = {bus_key(name): name for name in "abcdef"}
        self.by_id = {node_id(name): name for name in "abcdef"}
        self.plan: Plan | None = None
        self._seen = 0

    def heard(self) -> list[str]:
        """What was said and written since the last time."""
        fresh = [record for _, record in self.book.records[self._seen :]]
        self._seen += len(fresh)
        lines = [self._record(record) for record in fresh]
        lines += [line for command in self.book.commands if (line := self._command(command))]
        self.book.forget_said()
        return lines

    def happen(self, words: list[str]) -> None:
        """One line of the script."""
        verb, *rest = words
        if verb in ("a", "b", "c", "d", "e", "f"):
            self._speak(verb, rest)
        else:
            getattr(self, f"_{verb}")(*rest)

    def _nodes(self, *names: str) -> None:
        self.book.nodes(*names)

    def _submit(self, *parts: str) -> None:
        subtasks = []
        for part in parts:
            name, _, needs = part.partition("<")
            subtasks.append(
                a_subtask(
                    name.rstrip("~"),
                    needs=needs.split(",") if needs else [],
                    tolerant=name.endswith("~"),
                    tries=2,
                )
            )
        self.plan = a_plan(*subtasks)
        self.book.handle(a_run(self.plan))

    def _bid(self, name: str, subtask: str, *more: str) -> None:
        fields = {"eta": "eta_ms", "load": "load", "free": "free_slots", "success": "success"}
        values = {
            fields[key]: float(value) if key in ("load", "success") else int(value)
            for key, _, value in (word.partition("=") for word in more)
        }
        self.book.answer(name, a_bid(subtask, self._round(subtask), **values))

    def _round(self, subtask: str) -> int:
        one = self.book.engine.auction._rounds.get((self.book.run, subtask))
        if one is not None:
            return one.number
        return self.book.subtask(subtask).attempts[-1].round

    def _decline(self, name: str, subtask: str, code: str) -> None:
        self.book.answer(name, a_decline(subtask, self._round(subtask), code))

    def _speak(self, name: str, words: list[str]) -> None:
        what, subtask, attempt = words[0], words[1], int(words[2])
        current = self.book.subtask(subtask).attempts
        epoch = current[attempt - 1].epoch if attempt <= len(current) else 1
        fence = {"subtask": subtask, "attempt": attempt, "epoch": epoch}
        items: dict[str, orders.WorkItem] = {
            "result": a_result(subtask, attempt, epoch),
            "output": a_result(subtask, attempt, epoch, [named(f"{subtask}.txt")]),
            "failed": a_failed(subtask, attempt, epoch, message="it broke"),
            "final": a_failed(
                subtask, attempt, epoch, code="E_BINARY", message="no text in it", retryable=False
            ),
            "refuse": Refuse(**fence, code="E_SLOTS"),
            "started": Started(**fence),
            "progress": Progress(**fence, step=1),
            "cancelled": Cancelled(**fence),
        }
        self.book.work(name, items[what])

    def _good(self, subtask: str, attempt: str) -> None:
        self._checked(subtask, attempt, "")

    def _bad(self, subtask: str, attempt: str) -> None:
        self._checked(subtask, attempt, "rows is missing")

    def _checked(self, subtask: str, attempt: str, reason: str) -> None:
        epoch = self.book.subtask(subtask).attempts[int(attempt) - 1].epoch
        self.book.handle(orders.ResultChecked(self.book.run, subtask, int(attempt), epoch, reason))

    def _lost(self, name: str) -> None:
        self.book.handle(orders.NodeLost(node_id(name), "silent for 30 s"))

    def _wait(self, seconds: str) -> None:
        self.book.wait(float(seconds))

    def _cancel(self) -> None:
        self.book.handle(orders.CancelAsked(self.book.run, node_id("client"), "enough"))

    def _restart(self) -> None:
        records = [record for _, record in self.book.records]
        sellers = [self.by_id[node] for node in self.book.engine.market.sellers]
        state = fold(copy.deepcopy(records))
        assert state is not None
        fresh = Playbook(seed=2, now=self.book.now)
        fresh.records = self.book.records
        self.book = fresh
        self.book.handle(orders.RunRecovered(state, self.plan))
        for name in sellers:
            self.book.handle(orders.NodeSeen(a_node(name)))

    # --- words for what came of it ---

    def _record(self, record: Record) -> str:
        if isinstance(record, Awarded):
            fence = f"attempt {record.attempt}, epoch {record.epoch}"
            reason = record.reason.partition(":")[0]
            return f"[{record.k} {record.subtask} to {self.by_id[record.node]}, {fence}: {reason}]"
        words = [record.k, getattr(record, "subtask", "")]
        for field in ("attempt", "outcome", "code", "cause", "message", "reason"):
            value = getattr(record, field, "")
            if value and value != "OK":
                words.append(
                    f"attempt {value}"
                    if field == "attempt"
                    else f"({value})"
                    if field in ("message", "reason")
                    else str(value)
                )
        return f"[{' '.join(filter(None, words))}]"

    def _command(self, command: orders.Command) -> str:
        if isinstance(command, orders.SayAll):
            return f"to all: {type(command.item).__name__.lower()} {command.item.subtask}"
        if isinstance(command, orders.CheckResult):
            return f"check {command.subtask} of attempt {command.attempt}"
        if isinstance(command, orders.Say):
            return f"to {self.names[command.to]}: {self._item(command.item)}"
        return ""

    @staticmethod
    def _item(item: orders.ToNode) -> str:
        if isinstance(item, Award):
            return f"award {item.subtask}, attempt {item.attempt}, epoch {item.epoch}"
        if isinstance(item, ResultAck):
            return (
                f"ack {item.subtask}, attempt {item.attempt}, {'applied' if item.applied else 'not applied'}"
            )
        if isinstance(item, Reject):
            return f"reject {item.subtask}: {item.reason}"
        if isinstance(item, Cancel):
            return f"cancel {item.subtask}, attempt {item.attempt}"
        return f"{type(item).__name__.lower()} {item.subtask}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(play(path.read_text()))
