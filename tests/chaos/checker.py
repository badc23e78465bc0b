"""The judge: reads the whole history from the journal, as anybody with the right to may, and holds it against what was asked and told.

It keeps its own few sets, and knows neither the engine nor its state, so that their mistakes are ones that it can see. The product reads the same
journal beside it (hash chain, fold): what it cannot read, it could not take over either.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from coordinator_node.journal_store import read_run
from mesh.errors import MeshError
from protocol.errors import ZwermError
from protocol.messages import NamedRef
from protocol.records import (
    Accepted,
    AttemptFailed,
    Awarded,
    LateResult,
    Owned,
    PlanAdopted,
    Record,
    Refused,
    Rejected,
    RunClosed,
    RunOpened,
    SubtaskCancelled,
    SubtaskFailed,
)

from .load import Asked, Load
from .swarm import Chaos

__all__ = ["History", "Message", "Verdict", "judge", "read_history"]

_TERMINAL = (Accepted, SubtaskFailed, SubtaskCancelled)
_KINDS = {kind.model_fields["k"].default for kind in get_args(get_args(Record)[0])}


@dataclass(frozen=True, slots=True)
class Message:
    """One journal message."""

    seq: int
    at_ms: int
    """When the server stored it."""
    writer: tuple[str, bytes]
    """The node that signed it, and the session (so: the process) in which it did."""
    records: list[Record]


History = dict[str, list[Message]]
"""Run -> everything in its journal."""


@dataclass(slots=True)
class Verdict:
    """What was found."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems


async def read_history(chaos: Chaos, problems: list[str]) -> History:
    """Everything that the journal has; a message that does not verify is a problem."""
    endpoint = chaos.judge.endpoint
    history: History = {}
    for run in await endpoint.journal.runs():
        messages = history[run] = []
        async for stored in endpoint.journal.read(run):
            try:
                header, records = endpoint.open_record(run, stored.data, stored.at_ms)
            except ZwermError as error:
                problems.append(f"{run[-6:]}: message {stored.seq} does not verify: {error}")
                continue
            writer = (header.sender.hex(), header.session)
            messages.append(Message(stored.seq, stored.at_ms, writer, records))
    return history


async def judge(chaos: Chaos, load: Load) -> tuple[Verdict, History]:
    """Read the journal and the artifacts, and say what is wrong."""
    verdict = Verdict(list(load.problems))
    history = await read_history(chaos, verdict.problems)
    for asked in load.runs.values():
        if asked.run not in history:
            if asked.taken:
                verdict.problems.append(f"{asked.run[-6:]}: LOST: it was taken, and is not in the journal")
            continue
        case = _Case(asked.run, asked, verdict)
        case.read(history[asked.run])
        try:
            await read_run(chaos.judge.endpoint, asked.run)
        except ZwermError as error:
            case.wrong(f"nobody could take it over: {error}")
        case.told(load.told.get(asked.run, set()))
        await case.artifacts(chaos)
    for run in history.keys() - load.runs.keys():
        verdict.problems.append(f"{run[-6:]}: nobody asked for this run")
    verdict.counts["runs"] = len(load.runs)
    return verdict, history


class _Case:
    """One run before the judge."""

    def __init__(self, run: str, asked: Asked, verdict: Verdict) -> None:
        self.run = run
        self.asked = asked
        self.verdict = verdict
        self.records: list[Record] = []
        self.epoch = 0
        self.planned: set[str] = set()
        self.live: dict[str, set[tuple[int, int, str]]] = {}
        self.attempts: dict[str, list[tuple[int, int, str]]] = {}
        self.ended: dict[str, Record] = {}
        self.closed: RunClosed | None = None

    def wrong(self, words: str) -> None:
        self.verdict.problems.append(f"{self.run[-6:]}: {words}")

    def count(self, what: str, by: int = 1) -> None:
        self.verdict.counts[what] += by

    def read(self, messages: list[Message]) -> None:
        """The whole history of a run, record by record."""
        writer: tuple[str, bytes] | None = None
        for message in messages:
            self.count("messages")
            first = message.records[0]
            if writer is not None and message.writer != writer and not isinstance(first, Owned):
                self.wrong(
                    f"TWO WRITERS: message {message.seq} ({first.k}) by one that has not taken the run"
                )
            writer = message.writer
            for record in message.records:
                self._record(record, message)
        if not messages:
            return
        if self.closed is None:
            self.wrong("LOST: it has not ended")
        if self.asked.taken and self.planned != self.asked.subtasks:
            self.wrong(f"LOST: {len(self.asked.subtasks ^ self.planned)} subtasks of its plan")
        for name in self.planned - self.ended.keys():
            self.wrong(f"LOST: {name} has no end")
        if self.closed is not None and self.closed.outcome != self.asked.outcome:
            self.wrong(f"it ended {self.closed.outcome}: {self.closed.code} {self.closed.message[:300]}")

    def _record(self, record: Record, message: Message) -> None:
        self.count("records")
        self.records.append(record)
        if isinstance(record, RunOpened):
            if len(self.records) > 1:
                self.wrong("DOUBLED: it is opened twice")
            self.epoch = record.epoch
        elif isinstance(record, Owned):
            self.count("owned")
            if record.epoch <= self.epoch:
                self.wrong(f"epoch {record.epoch} after {self.epoch}")
            if record.owner != message.writer[0]:
                self.wrong("it is owned by somebody else than who says so")
            self.epoch = record.epoch
        elif isinstance(record, PlanAdopted):
            names = {entry.id for entry in record.subtasks}
            if names & self.planned:
                self.wrong("DOUBLED: a part of the plan is adopted twice")
            self.planned |= names
        elif isinstance(record, RunClosed):
            if self.closed is not None:
                self.wrong("DOUBLED: it ends twice")
            self.closed = record
        elif getattr(record, "subtask", ""):
            self._subtask(record)

    def _subtask(self, record: Any) -> None:
        name = record.subtask
        if isinstance(record, LateResult):
            self.count("late")
            if (record.attempt, record.epoch, record.node) in self.live.get(name, ()):
                self.wrong(f"LOST: {name}: what the attempt that holds has said is called late")
            return
        if self.closed is not None:
            self.wrong(f"{record.k} of {name} after the end of the run")
        if name in self.ended:
            if isinstance(record, _TERMINAL):
                self.wrong(f"DOUBLED: {name} ends as {self.ended[name].k} and as {record.k}")
            elif isinstance(record, (Awarded, Refused, AttemptFailed, Rejected)):
                self.wrong(f"{record.k} of {name}, which has ended")
            return
        if isinstance(record, Awarded):
            self._awarded(name, record)
        elif isinstance(record, (Accepted, Refused, AttemptFailed, Rejected)):
            held = self.live.setdefault(name, set())
            fence = (record.attempt, record.epoch, record.node)
            if fence not in held:
                self.wrong(
                    f"NOT FENCED: {record.k} of {name} by {record.attempt}/{record.epoch}, held by {held}"
                )
            held.discard(fence)
            if isinstance(record, Accepted) and held:
                self.wrong(f"DOUBLED: {name} is accepted while {held} holds it, too")
            if isinstance(record, (Refused, AttemptFailed)):
                self.count(f"{record.k} {record.code}")
        if isinstance(record, _TERMINAL):
            self.ended[name] = record
            self.live.pop(name, None)
            self.count(record.k)

    def _awarded(self, name: str, record: Awarded) -> None:
        self.count("awards")
        fence = (record.attempt, record.epoch, record.node)
        before = self.attempts.setdefault(name, [])
        held = self.live.setdefault(name, set())
        if held and not (record.hedge and len(held) == 1):
            self.wrong(f"DOUBLED: {name} is awarded while {held} holds it")
        if record.epoch != self.epoch:
            self.wrong(f"{name} is awarded in epoch {record.epoch} of {self.epoch}")
        if before:
            self.count("reawards")
            if record.attempt <= before[-1][0]:
                self.wrong(f"DOUBLED: attempt {record.attempt} of {name} is not new")
        before.append(fence)
        held.add(fence)

    def told(self, told: set[tuple[int, str, str]]) -> None:
        """What was said to be durable is durable."""
        for seq, kind, subtask in told:
            if kind not in _KINDS:
                continue  # about progress, which is in no journal
            if not 0 < seq <= len(self.records):
                self.wrong(f"LOST: record {seq} ({kind}) was told, and the journal has {len(self.records)}")
                continue
            record = self.records[seq - 1]
            if record.k != kind or getattr(record, "subtask", "") != subtask:
                self.wrong(f"LOST: record {seq} was told as {kind} of {subtask}, and is {record.k}")
            self.count("told")

    async def artifacts(self, chaos: Chaos) -> None:
        """Every result is there, whole, and the one that was asked for."""
        for name, record in self.ended.items():
            wanted = self.asked.results.get(name)
            if not isinstance(record, Accepted) or wanted is None:
                continue
            if len(record.outputs) != 1:
                self.wrong(f"{name} has {len(record.outputs)} outputs")
                continue
            found = await self._read(chaos, record.outputs[0])
            if found is not None and found != wanted:
                self.wrong(f"WRONG: {name} came to {found[:80]!r}, not {wanted[:80]!r}")

    async def _read(self, chaos: Chaos, output: NamedRef) -> str | None:
        try:
            data = await chaos.judge.endpoint.artifacts.read(output.ref, 1 << 20)
        except MeshError as error:
            self.wrong(f"LOST: artifact {output.ref.digest[:12]}: {error}")
            return None
        self.count("artifacts")
        return data.decode()
