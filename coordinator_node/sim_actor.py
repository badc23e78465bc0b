"""The coordinator's process in a simulated world: the daemon's Engine and Lane, with the shells around them played in virtual time.

Rules. It does what `node`, `journal_store` and `speaker` do, in their order and with their named points (`crash_proc.POINTS`), on the simulated bus and store. It adds
checks: what is in memory is the fold of the records, what is watched is what holds, what is counted is what there is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.roster import NodeGone, NodeSeen, Presence, Roster
from mesh.sim.halting import Device
from mesh.sim.ledger import Broken
from mesh.sim.linear import Call
from mesh.sim.network import Mail, Peer
from mesh.sim.plans import ref
from mesh.sim.process import Process
from mesh.sim.store import Answer, Entry, Head, Store
from mesh.sim.world import World
from mesh.wire import seal_pack
from protocol import subjects
from protocol.messages import (
    Announce,
    Cancel,
    Goodbye,
    Heartbeat,
    Hello,
    Item,
    NamedRef,
    Reject,
    ResultAck,
    Who,
    Withdraw,
)
from protocol.plan import Plan
from protocol.records import Record
from protocol.verify import Verifier

from . import orders
from .chain import Link, follow_on
from .crash_proc import POINTS
from .engine import Engine, Settings
from .fold import apply, fold
from .lane import Lane
from .replanning import revise
from .sim_journal import Tail, read
from .sim_takeover import SimTakeover
from .state import RunState

__all__ = ["SimCoordinator"]

_LOOK_S: Final = 1.0
_LAZY_S: Final = 0.05
_ANSWER_S: Final = 2.0
_PAUSE_FIRST_S: Final = 0.1
_PAUSE_MAX_S: Final = 5.0
_SHORT: Final = (Announce, Cancel, Withdraw)

Way = tuple[str, str, type[Item]]


@dataclass(slots=True)
class _Pack:
    """Records on their way into a run's journal."""

    run: str
    lane: Lane
    records: Sequence[Record]
    raw: bytes
    link: Link
    token: int
    calls: list[Call] = field(default_factory=list)
    tries: int = 0
    pause: float = _PAUSE_FIRST_S
    over: bool = False


class SimCoordinator(Process):
    """One coordinator."""

    kind = "coordinator"
    points = POINTS

    def __init__(self, world: World, peer: Peer) -> None:
        super().__init__(world, peer)
        self.engine: Engine | None = None
        self._device = Device(world, self)
        self._halted = False
        self._roster = Roster()
        self._lanes: dict[str, Lane] = {}
        self._links: dict[str, Link] = {}
        self._shadows: dict[str, RunState | None] = {}
        self._inbox: deque[orders.Event] = deque()
        self._taking = False
        self._writing: set[str] = set()
        self._lazy: dict[Way, list[Item]] = {}
        self._receivers: dict[str, Sequence[Peer]] = {}
        self.takeover: SimTakeover | None = None

    @property
    def _listening(self) -> bool:
        return self.takeover is not None and self.takeover.ready

    # --- life ---

    def boot(self) -> None:
        """Come to life: first what its device knows of halts."""
        self._device.begin(self._open)

    def _open(self) -> None:
        """Read the journal back, and go on with what is unfinished."""
        clock = self.peer.clock
        rng = random.Random(self.world.rng.getrandbits(48))  # noqa: S311 - a simulation must be repeatable
        self.engine = Engine(self.peer.node, rng, self._settings(), now=clock.steady())
        self._look()
        self.takeover = SimTakeover(self, self._take_up)
        for presence in self._roster.alive(clock.wall()):
            self.take(orders.NodeSeen(_info(presence)))
        self._roster.subscribe(self._on_roster)
        self._device.halts.subscribe(self._on_halts)
        self._on_halts()

    def _settings(self) -> Settings:
        # In a short time of trouble nothing takes half a minute.
        after_s = 5.0 if 0 < self.world.faults.until_s < 3600 else 30.0
        return Settings(grace_s=3.0, lost_grace_s=120.0, settle_s=6.0, hedge_after_s=after_s)

    def lost(self) -> None:
        """Everything in memory is gone."""
        self.engine = None
        self._halted = False
        self._device.lost()
        self._roster = Roster()
        self._lanes, self._links, self._shadows, self._lazy = {}, {}, {}, {}
        self._inbox.clear()
        self._writing.clear()
        self._taking = False
        self.takeover = None

    @staticmethod
    def follow(verifier: Verifier, run: str) -> Callable[[Entry], None]:
        """What to call with each message of a run in the moment in which it holds."""
        return Tail(verifier, run).take

    @staticmethod
    def read(verifier: Verifier, run: str, entries: Sequence[Entry], head: Head | None) -> str:
        """How a run ended, by its whole journal."""
        state = read(verifier, run, entries, head).state
        return state.outcome if state is not None else ""

    def _take_up(self, run: str, entries: list[Entry], head: Head | None) -> None:
        """A run was read that is ours to take, if its owner has not come back meanwhile."""
        found = read(self.world.network.reader, run, entries, head)
        state, shadow = found.state, fold([record for entry in entries for record in entry.records])
        if state is None or self.takeover is None:
            return
        if state.status == "closed":
            self.take(orders.RunForgotten(run))
        elif self.takeover.core.takes(run, state.owner, self.peer.clock.steady()):
            self._lanes[run] = Lane(found.link.seq, found.link.count)
            self._links[run] = found.link
            self._shadows[run] = shadow
            plan = self.world.revised.get(state.plan.sha256) if state.plan else None
            apart_ms = self.takeover.core.apart_ms(state.owner)
            self.take(orders.RunRecovered(state, plan or self.world.plans[run], apart_ms=apart_ms))

    @property
    def store(self) -> Store:
        """The journal's store and the board."""
        return self.world.store

    def _look(self) -> None:
        self._roster.tick(self.peer.clock.wall())
        self.later(_LOOK_S, self._look)

    def core_deadline(self) -> float | None:
        """When the engine wants to be woken."""
        return self.engine.deadline() if self.engine is not None else None

    def wake(self) -> None:
        """The time has come."""
        self.take(orders.Tick())

    # --- in ---

    def submit(self, run: str, plan: Plan) -> None:
        """A client wants a run."""
        if not self._listening or self.engine is None or run in self.engine.desks:
            return
        inputs = [NamedRef(name=name, ref=ref(name)) for name in plan.inputs]
        budget = self.world.spending.budgets.get(run)
        event = orders.RunAccepted(run, ref("goal"), inputs, [], _CLIENT, plan, ref(f"plan {run}"), budget)
        self.guarded(self.take, event)

    def cancel(self, run: str, subtask: str = "") -> None:
        """A client wants it, or one subtask of it, stopped."""
        if self._listening:
            self.guarded(self.take, orders.CancelAsked(run, _CLIENT, "enough", subtask))

    def pause(self, run: str, *, on: bool) -> None:
        """A client wants nothing more of it awarded, or that it goes on."""
        if self._listening:
            event = orders.PauseAsked(run, _CLIENT) if on else orders.ResumeAsked(run, _CLIENT)
            self.guarded(self.take, event)

    def come_back(self) -> None:
        """The connection is there again."""
        self.guarded(self._device.come_back)

    def _on_halts(self) -> None:
        order = self._device.halts.order
        on = order is not None and order.on
        if on != self._halted:
            self._halted = on
            self.take(orders.HaltChanged(on))

    def hear(self, mail: Mail) -> None:
        """A message got through."""
        self.guarded(self._hear, mail)

    def _hear(self, mail: Mail) -> None:
        node, bus_key, items = mail.sender.node, mail.sender.bus_key, mail.items
        if mail.kind == "control":
            self._device.said(items)
        elif mail.kind == "heartbeat":
            self._presence(mail, items[0])
        elif self.takeover is None or not self.takeover.wanted(mail.run):
            return
        elif mail.kind == "bid":
            answers: Sequence[Any] = items
            self.take(orders.AnswersReceived(mail.run, node, bus_key, answers, mail.digest))
        elif mail.kind == "work":
            words: Sequence[Any] = items
            self.take(orders.WorkReceived(mail.run, node, bus_key, words))

    def _presence(self, mail: Mail, item: Item) -> None:
        now, peer = self.peer.clock.wall(), mail.sender
        if isinstance(item, Hello):
            self._roster.hello(peer.node, peer.bus_key, mail.session, item, now)
        elif isinstance(item, Heartbeat):
            self._roster.heartbeat(peer.node, item, now)
            if not self._roster.knows(peer.node):
                self._publish(subjects.to_node(peer.bus_key), "", [Who()])
        elif isinstance(item, Goodbye):
            self._roster.goodbye(peer.node, item)

    def _on_roster(self, change: NodeSeen | NodeGone) -> None:
        if isinstance(change, NodeGone):
            self.take(orders.NodeLost(change.node, change.reason))
        else:
            self.take(orders.NodeSeen(_info(change.presence)))

    def take(self, event: orders.Event) -> None:
        """One event; what it causes at once comes next, not inside."""
        if self.engine is None or self.takeover is None or self.takeover.keeps(event):
            return
        first = self.takeover.before(event)
        self._inbox += [event] if first is None else [first, event]
        if self._taking:
            return
        self._taking = True
        try:
            while self._inbox:
                self._handle(self._inbox.popleft())
        finally:
            self._taking = False
        self.set_timer()

    def _handle(self, event: orders.Event) -> None:
        assert self.engine is not None
        self.point("event.before")
        self.world.steps += 1
        self.world.timeline.note(self.name, _line(event))
        step = self.engine.handle(event, self.peer.clock.steady())
        self._check_touched(step)
        words = (event.run, event.node, event.items) if isinstance(event, orders.WorkReceived) else None
        timeline = self.world.timeline
        ahead_s = self.peer.clock.steady() - timeline.now
        self.world.patience.step(self.name, self.life, timeline.elapsed, words, step.records, ahead_s)
        told = [one.item for one in step.commands if isinstance(one, (orders.Say, orders.SayAll))]
        self.world.stops.decided(self.name, step.records, told)
        self.point("event.folded")
        by_run: dict[str, tuple[list[Record], list[orders.Command]]] = {}
        for run, record in step.records:
            by_run.setdefault(run, ([], []))[0].append(record)
        for command in step.commands:
            by_run.setdefault(command.run, ([], []))[1].append(command)
        for run, (records, commands) in by_run.items():
            self._submit(run, records, commands)

    # --- the journal ---

    def _submit(self, run: str, records: Sequence[Record], commands: Sequence[orders.Command]) -> None:
        lane = self._lanes.get(run)
        if lane is None:
            if not records:
                self._release(commands)
                return
            lane = self._lanes[run] = Lane()
        self._release(lane.push(records, commands))
        if lane.waiting and run not in self._writing:
            self._writing.add(run)
            self._write(run, lane)

    def _write(self, run: str, lane: Lane) -> None:
        records = lane.take()
        if not records:
            self._writing.discard(run)
            return
        link = self._links.get(run) or Link()
        pen, now_ms = self.peer.pen, int(self.peer.clock.wall() * 1000)
        assert pen is not None
        raw = lane.sealed(lambda part: seal_pack(pen, run, part, link.chain(part[0].at_ms), now_ms=now_ms))
        records = lane.flying
        self._points("before", (record.k for record in records))
        self.point("append.before")
        self._append(_Pack(run, lane, records, raw, link, self.world.rng.getrandbits(64)))

    def _append(self, pack: _Pack) -> None:
        if pack.over:
            return
        pack.tries += 1
        life, tries = self.life, pack.tries
        call = self.world.store.append(
            self.peer,
            life,
            pack.run,
            pack.token,
            pack.records,
            pack.lane.seq,
            pack.raw,
            lambda answer: self._later(life, self._answered, (pack, call, answer)),
        )
        pack.calls.append(call)
        self.later(_ANSWER_S, self._unanswered, pack, tries)
        self.point("append.flying")

    def _unanswered(self, pack: _Pack, tries: int) -> None:
        if not pack.over and pack.tries == tries:
            self._append(pack)

    def _answered(self, pack: _Pack, call: Call, answer: Answer) -> None:
        if pack.over:
            return
        if answer.what == "full":
            if pack.calls[-1] is call:
                pack.tries += 1  # the wait for this answer is over
                self.later(pack.pause, self._append, pack)
                pack.pause = min(_PAUSE_MAX_S, pack.pause * 2)
            return
        call.end(answer.what, answer.seq, self.world.timeline.elapsed)
        pack.over = True
        if answer.what == "conflict" and answer.token != pack.token:
            self._deposed(pack)
            return
        self._written(pack, answer.seq)

    def _written(self, pack: _Pack, seq: int) -> None:
        lane = pack.lane
        lane.seq = seq
        if self._lanes.get(pack.run) is lane:
            self._links[pack.run] = follow_on(pack.link, seq, pack.raw, len(pack.records))
        first = pack.calls[0]
        if not first.told:
            first.end("ok", seq, self.world.timeline.elapsed)
        self.point("append.acked")
        self._points("durable", (record.k for record in pack.records))
        _, commands = lane.written()
        self._release(commands)
        self.point("append.released")
        self._write(pack.run, lane)

    def _deposed(self, pack: _Pack) -> None:
        self.world.timeline.note(self.name, f"is deposed of {pack.run[-4:]}")
        pack.lane.close()
        self._links.pop(pack.run, None)
        self._writing.discard(pack.run)
        self._shadows.pop(pack.run, None)
        self.take(orders.RunDeposed(pack.run))

    # --- out ---

    def _points(self, prefix: str, names: Any) -> None:
        for name in names:
            if f"{prefix}.{name}" in _KNOWN:
                self.point(f"{prefix}.{name}")

    def _release(self, commands: Sequence[orders.Command]) -> None:
        ledger = self.world.ledger
        groups: dict[Way, list[Item]] = {}
        for command in commands:
            self.point("command.before")
            if isinstance(command, orders.Say):
                way = (subjects.to_node(command.to), command.run, type(command.item))
                if isinstance(command.item, (Reject, ResultAck)):
                    if not self._lazy:
                        self.later(_LAZY_S, self._flush)
                    self._lazy.setdefault(way, []).append(command.item)
                else:
                    groups.setdefault(way, []).append(command.item)
            elif isinstance(command, orders.SayAll):
                way = (subjects.announce(command.capability), command.run, type(command.item))
                groups.setdefault(way, []).append(command.item)
            elif isinstance(command, orders.CheckResult):
                self.later(self.world.rng.uniform(0.001, 0.02), self._check_result, command)
            elif isinstance(command, orders.RevisePlan):
                self.later(self.world.rng.uniform(0.001, 0.02), self._revise, command)
            elif isinstance(command, orders.RunStands):
                ledger.stands(command.run)
            elif isinstance(command, orders.RunEnded):
                ledger.ended(command.run)
            self.point("command.after")
        for (subject, run, _), items in groups.items():
            self._publish(subject, run, items)

    def _flush(self) -> None:
        lazy, self._lazy = self._lazy, {}
        for (subject, run, _), items in lazy.items():
            self._publish(subject, run, items)

    def _publish(self, subject: str, run: str, items: list[Item]) -> None:
        world, kind = self.world, type(items[0])
        self._points("say", (kind.__name__,))
        for item in items:
            world.ledger.said(run, item)
            world.tally.said(run, item, world.timeline.elapsed)
        ttl_s = 10 if kind in _SHORT else 30
        receivers = self._receivers.get(subject)
        if receivers is None:
            route = subjects.route(subject)
            receivers = (
                world.offering[route.capability]
                if route.kind == "announce"
                else [world.by_bus_key[route.to].peer]
            )
            self._receivers[subject] = receivers
        world.network.send(self.peer, receivers, subject, run, items, ttl_s)
        self._points("said", (kind.__name__,))

    def _check_result(self, command: orders.CheckResult) -> None:
        self.point("check.before")
        bad = any(output.name.startswith("bad") for output in command.outputs)
        reason = "it is bad" if bad else ""
        self.point("check.after")
        self.take(orders.ResultChecked(command.run, command.subtask, command.attempt, command.epoch, reason))

    def _revise(self, command: orders.RevisePlan) -> None:
        found = revise(command.plan, command.wanted, None)
        stored = ref(found.plan.model_dump_json())
        self.world.revised[stored.sha256] = found.plan
        self.take(orders.PlanStored(command.run, found.plan, stored, found.forms))

    # --- checks ---

    def _check_touched(self, step: orders.Step) -> None:
        """What the records of this step touched in memory is what folding them gives."""
        assert self.engine is not None
        touched: dict[tuple[str, str], None] = {}
        for run, record in step.records:
            shadow = self._shadows.get(run)
            if shadow is None and record.k != "run.opened":
                continue
            self._shadows[run] = apply(shadow, record)
            touched[run, getattr(record, "subtask", "")] = None
        for run, name in touched:
            shadow, desk = self._shadows[run], self.engine.desks.get(run)
            assert shadow is not None
            if name and desk is not None and shadow.subtasks.get(name) != desk.state.subtasks.get(name):
                raise Broken(f"{name}: the state in memory is not the fold of its records")
            if name and desk is not None:
                self._check_live(self.engine, run, name)

    def check(self) -> None:
        """The costly checks of the whole state."""
        engine = self.engine
        if engine is None:
            return
        flight: dict[str, int] = {}
        for run, desk in engine.desks.items():
            if run not in self._shadows or self._shadows[run] != desk.state:
                raise Broken(f"run {run}: the state in memory is not the fold of its records")
            for name, subtask in desk.state.subtasks.items():
                out = self._check_live(engine, run, name) + ((run, name) in engine.auction)
                if out:
                    capability = subtask.skeleton.capability
                    flight[capability] = flight.get(capability, 0) + out
        for capability in self.world.capabilities:
            if engine.market.flight(capability) != flight.get(capability, 0):
                raise Broken(f"{capability}: {engine.market.flight(capability)} in flight, by count {flight}")

    @staticmethod
    def _check_live(engine: Engine, run: str, name: str) -> int:
        """What is watched is what holds; returns how many attempts that are."""
        watched = {(live.attempt, live.epoch, live.node) for live in engine.watch.of((run, name))}
        held = {(one.number, one.epoch, one.node) for one in engine.desks[run].state.subtasks[name].held}
        if watched != held:
            raise Broken(f"{name}: {watched or 'nothing'} is watched, and {held or 'nothing'} holds")
        return len(held)

    def story(self) -> str:
        """What is not ended."""
        if self.engine is None:
            return f"{self.name} is down"
        open_ = [
            f"{name} {subtask.status}"
            for desk in self.engine.desks.values()
            for name, subtask in desk.state.subtasks.items()
            if not subtask.terminal
        ]
        return ", ".join(open_[:12]) + (f" and {len(open_) - 12} more" if len(open_) > 12 else "")


_CLIENT: Final = "c" * 32
_KNOWN: Final = frozenset(POINTS)


def _info(presence: Presence) -> orders.NodeInfo:
    slots: dict[str, int] = {}
    for card in presence.agents:
        for capability in card.capabilities:
            slots[capability] = slots.get(capability, 0) + card.slots
    return orders.NodeInfo(presence.node, presence.bus_key, presence.name, slots)


def _line(event: Any) -> str:
    """An event in a few words, the same in every process."""
    items = getattr(event, "items", None)
    kind = type(event).__name__
    if items is None:
        return f"{kind} {getattr(event, 'subtask', '')}"
    names = ",".join(
        f"{type(item).__name__}:{item.subtask}/{getattr(item, 'attempt', '') or getattr(item, 'round', 0) & 0xFFFFF}"
        for item in items
    )
    return f"{kind} {event.run[-4:]} {names}"
