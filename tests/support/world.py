"""A simulated swarm: one coordinator's engine and several agents, the very classes that run in the daemon, in virtual time with faults.

    world = World(seed=4711); world.play(); world.digest

Rules. One seed is one history: everything random comes from it, nothing reads a clock. Messages may be dropped, doubled, put off and so reordered; a node
may be cut off; either side may die between any two effects and come back from what it had written. After each step `Ledger` and the world check the
invariants; faults end at some time, and then every run must end. The first broken one raises `Broken` with the seed and the last lines of the trace.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from agent_node import events as sell
from agent_node.agent import Agent
from agent_node.history import History as OwnHistory
from agent_node.history import Prior
from agent_node.policy import AgentSpec, Limits
from coordinator_node import orders
from coordinator_node.engine import Engine, Settings
from coordinator_node.errors import InvalidTransition
from coordinator_node.fold import apply, fold
from coordinator_node.lane import Lane
from coordinator_node.state import RunState
from mesh.roster import HEARTBEAT_S, NodeGone, NodeSeen, Roster
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Decline,
    Heartbeat,
    Hello,
    Item,
    NamedRef,
    Reject,
    ResultAck,
    Withdraw,
)
from protocol.plan import Plan
from protocol.records import Record
from tests.support.builders import OWNER, a_ref, bus_key, node_id, run_id
from tests.support.ledger import Broken, Ledger

__all__ = ["CALM", "Faults", "World"]

_START = 1_700_000_000.0
_END_S = 1_500.0
"""Virtual seconds after which a run that has not ended is a failure."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How hostile the world is. Chances are per message or per step; times in virtual seconds."""

    drop: float = 0.05
    double: float = 0.05
    late: float = 0.05
    late_s: float = 3.0
    fail: float = 0.08
    bad: float = 0.05
    die: float = 0.002
    """Chance, per step, that the process dies between two effects of it."""
    cuts: int = 2
    kills: int = 3
    until_s: float = 60.0


CALM = Faults(drop=0, double=0, late=0, fail=0, bad=0, die=0, cuts=0, kills=0, until_s=0)


class Died(Exception):
    """The process of an actor is gone in the middle of a step."""


class World:
    """One history."""

    def __init__(
        self,
        seed: int,
        *,
        faults: Faults | None = None,
        plans: list[Plan] | None = None,
        nodes: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = faults or Faults()
        self.now = _START
        self.steps = 0
        self.tail: deque[str] = deque(maxlen=60)
        self._hash = hashlib.sha256()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.settings = settings or Settings(grace_s=3.0, lost_grace_s=120.0, settle_s=6.0)
        self.ledger = Ledger()
        self.plans = {run_id(number): plan for number, plan in enumerate(plans or self._plans(), 1)}
        count = nodes or self.rng.randint(2, 4)
        self.desk = DeskActor(self)
        self.agents = {node_id(f"n{number}"): AgentActor(self, f"n{number}") for number in range(count)}
        self.by_bus_key = {agent.bus_key: agent for agent in self.agents.values()}
        self.cancelled: set[str] = set()

    # --- time ---

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action))

    def note(self, who: str, what: str) -> None:
        """One line of the trace."""
        line = f"{self.now - _START:9.4f} {who:4} {what}"
        self._hash.update(line.encode())
        self.tail.append(line)

    @property
    def digest(self) -> str:
        """Of the whole trace."""
        return self._hash.hexdigest()

    @property
    def troubled(self) -> bool:
        """Whether faults still happen."""
        return self.now < _START + self.faults.until_s

    def chance(self, probability: float) -> bool:
        """Whether a fault of this probability happens now."""
        return self.troubled and self.rng.random() < probability

    def play(self) -> None:
        """Until every run has ended and every ending is acknowledged.

        Raises:
            Broken: an invariant does not hold, or the world does not come to rest.
        """
        try:
            self._prepare()
            while not self._quiet():
                if not self._heap:
                    raise Broken("nothing is left to happen, and runs have not ended")
                self.now, _, action = heapq.heappop(self._heap)
                if self.now > _START + _END_S:
                    raise Broken(f"not at rest after {_END_S:.0f} virtual seconds: {self._state_of_things()}")
                action()
            self._final_check()
        except (Broken, InvalidTransition, AssertionError) as error:
            lines = "\n".join(self.tail)
            raise Broken(f"seed {self.seed}: {type(error).__name__}: {error}\n{lines}") from error

    def _prepare(self) -> None:
        self.desk.start()
        for agent in self.agents.values():
            agent.start()
        for number, run in enumerate(self.plans):
            self.at(self.rng.uniform(0, 5) * number, lambda run=run: self.submit(run))
            if self.faults.until_s and self.rng.random() < 0.2:
                self.at(self.rng.uniform(0.5, 20), lambda run=run: self.cancel(run))
            if self.faults.until_s and self.rng.random() < 0.2:
                self.at(self.rng.uniform(0.5, 20), lambda run=run: self.pause(run, on=True))
                self.at(self.rng.uniform(21, 60), lambda run=run: self.pause(run, on=False))
            if self.faults.until_s and self.rng.random() < 0.3:
                name = self.rng.choice([subtask.id for subtask in self.plans[run].subtasks])
                self.at(self.rng.uniform(0.5, 20), lambda run=run, name=name: self.cancel_one(run, name))
        for _ in range(self.faults.kills):
            victim = self.rng.choice([self.desk, *self.agents.values()])
            self.at(self.rng.uniform(0.01, self.faults.until_s), victim.kill)
        for _ in range(self.faults.cuts):
            agent = self.rng.choice(list(self.agents.values()))
            begin = self.rng.uniform(0, self.faults.until_s)
            self.at(begin, agent.cut)
            self.at(min(self.faults.until_s, begin + self.rng.uniform(1, 45)), agent.heal)

    def _quiet(self) -> bool:
        return all(run in self.ledger.closed for run in self.plans) and all(
            agent.core is not None and agent.core.idle and not len(agent.core.outbox)
            for agent in self.agents.values()
        )

    def _state_of_things(self) -> str:
        parts = [f"{run[-4:]} {'closed' if run in self.ledger.closed else 'open'}" for run in self.plans]
        engine = self.desk.engine
        if engine is not None:
            parts += [
                f"{name} {subtask.status}"
                for desk in engine.desks.values()
                for name, subtask in desk.state.subtasks.items()
                if not subtask.terminal
            ]
        parts += [
            f"{agent.name}: {len(agent.core.attempts)} attempts, {len(agent.core.outbox)} unacknowledged"
            for agent in self.agents.values()
            if agent.core is not None
        ]
        return ", ".join(parts)

    # --- the client ---

    def submit(self, run: str) -> None:
        """Ask until the run stands."""
        if run in self.ledger.opened:
            return
        self.at(2.0, lambda: self.submit(run))
        plan = self.plans[run]
        inputs = [NamedRef(name=name, ref=a_ref(name)) for name in plan.inputs]
        self.desk.take(
            orders.RunAccepted(run, a_ref("goal"), inputs, [], node_id("client"), plan, a_ref(f"plan {run}"))
        )

    def cancel(self, run: str) -> None:
        """Ask until it is known."""
        if run in self.ledger.closed or run in self.ledger.cancelling:
            return
        self.at(2.0, lambda: self.cancel(run))
        self.desk.take(orders.CancelAsked(run, node_id("client"), "enough"))

    def cancel_one(self, run: str, name: str) -> None:
        """Ask for the end of one subtask until it is known."""
        if run in self.ledger.closed or {(run, name)} & (self.ledger.stopping | self.ledger.terminal.keys()):
            return
        self.at(2.0, lambda: self.cancel_one(run, name))
        self.desk.take(orders.CancelAsked(run, node_id("client"), "not needed", name))

    def pause(self, run: str, *, on: bool) -> None:
        """Ask for a pause, or its end, until it is known."""
        if run in self.ledger.closed or run in self.ledger.cancelling or (run in self.ledger.paused) == on:
            return
        if on and self.now > _START + 20:
            return
        self.at(2.0, lambda: self.pause(run, on=on))
        client = node_id("client")
        self.desk.take(orders.PauseAsked(run, client) if on else orders.ResumeAsked(run, client))

    # --- the network ---

    def carry(self, actor: AgentActor, deliver: Callable[[], None], what: str) -> None:
        """A message between the coordinator and a node, in either direction."""
        if actor.is_cut or self.chance(self.faults.drop):
            self.note("net", f"lost {what}")
            return
        for _ in range(2 if self.chance(self.faults.double) else 1):
            delay = self.rng.expovariate(400.0)
            if self.chance(self.faults.late):
                delay += self.rng.uniform(0, self.faults.late_s)
            self.at(delay, lambda: None if actor.is_cut else deliver())

    # --- what is asked for ---

    def _plans(self) -> list[Plan]:
        return [self._plan(number) for number in range(self.rng.randint(1, 3))]

    def _plan(self, number: int) -> Plan:
        count = self.rng.randint(1, 5)
        inputs = [f"f{number}-{index}.txt" for index in range(count)]
        subtasks: list[dict[str, Any]] = []
        for index, name in enumerate(inputs):
            subtasks.append(
                {"id": f"read-{index}", "capability": "doc.read", "inputs": [name], "output_schema": {}}
            )
            subtasks.append({"id": f"find-{index}", "capability": "text.find", "needs": [f"read-{index}"]})
        subtasks.append(
            {
                "id": "report",
                "capability": "text.find",
                "needs": [f"find-{index}" for index in range(count)],
                "tolerant": self.rng.random() < 0.7,
                "output_schema": {},
            }
        )
        return Plan.model_validate(
            {
                "goal": "sim",
                "planner": "sim",
                "inputs": inputs,
                "subtasks": subtasks,
                "deliver": [{"subtask": "report"}],
            }
        )

    # --- checks ---

    def _final_check(self) -> None:
        engine = self.desk.engine
        for run, messages in self.desk.journal.items():
            state = fold(record for message in messages for record in message)
            if state is None or state.status != "closed":
                raise Broken(f"run {run} has not ended in its journal")
            live = engine.state(run) if engine else None
            if live is not None and live != state:
                raise Broken(f"run {run}: the state in memory is not the fold of its journal")
        self.ledger.final()


@dataclass(slots=True)
class DeskActor:
    """The coordinator's process, and its journal, which survives it."""

    world: World
    name: str = "desk"
    journal: dict[str, list[list[Record]]] = field(default_factory=dict)
    engine: Engine | None = None
    roster: Roster = field(default_factory=Roster)
    lanes: dict[str, Lane] = field(default_factory=dict)
    shadows: dict[str, RunState] = field(default_factory=dict)
    life: int = 0
    tick_at: float = float("inf")

    def start(self) -> None:
        """Come to life from what the journal has."""
        world = self.world
        self.life += 1
        self.lanes, self.shadows, self.roster = {}, {}, Roster()
        self.tick_at = float("inf")
        rng = random.Random(world.rng.getrandbits(48))
        self.engine = Engine(OWNER, rng, world.settings, now=world.now)
        self.roster.subscribe(self._on_roster)
        world.note(self.name, "starts")
        for run, messages in list(self.journal.items()):
            state = fold(record for message in messages for record in message)
            assert state is not None
            if state.status == "closed":
                self.take(orders.RunForgotten(run))
                continue
            self.lanes[run] = Lane(len(messages), state.records)
            shadow = fold(record for message in messages for record in message)
            assert shadow is not None
            self.shadows[run] = shadow
            self.take(orders.RunRecovered(state, world.plans[run]))
        self._watch(self.life)

    def _watch(self, life: int) -> None:
        if life != self.life or self.engine is None:
            return
        self.roster.tick(self.world.now)
        self.world.at(1.0, lambda: self._watch(life))

    def kill(self) -> None:
        """The process is gone; it comes back a little later."""
        if self.engine is None:
            return
        self.world.note(self.name, "dies")
        self.engine = None
        self.life += 1
        self.world.at(self.world.rng.uniform(0.1, 8.0), self.start)

    # --- in ---

    def hear(self, agent: AgentActor, items: list[Any], session: bytes) -> None:
        """A node's message."""
        if self.engine is None:
            return
        first = items[0]
        now = self.world.now
        if isinstance(first, Hello):
            self.roster.hello(agent.node, agent.bus_key, session, first, now)
        elif isinstance(first, Heartbeat):
            self.roster.heartbeat(agent.node, first, now)
            if not self.roster.knows(agent.node):
                self.world.carry(agent, agent.hello, "who")

    def _on_roster(self, change: NodeSeen | NodeGone) -> None:
        if isinstance(change, NodeGone):
            self.take(orders.NodeLost(change.node, change.reason))
            return
        presence = change.presence
        slots = {name: card.slots for card in presence.agents for name in card.capabilities}
        self.take(orders.NodeSeen(orders.NodeInfo(presence.node, presence.bus_key, presence.name, slots)))

    def take(self, event: orders.Event) -> None:
        """One step, and its effects one by one; the process may die before any of them."""
        if self.engine is None:
            return
        world, life = self.world, self.life
        world.steps += 1
        world.note(self.name, _line(event))
        step = self.engine.handle(event, world.now)
        self._check(step, event)
        try:
            self._effects(step, life)
        except Died:
            self.kill()
            return
        self._set_tick(life)

    def _effects(self, step: orders.Step, life: int) -> None:
        by_run: dict[str, tuple[list[Record], list[orders.Command]]] = {}
        for run, record in step.records:
            by_run.setdefault(run, ([], []))[0].append(record)
        for command in step.commands:
            by_run.setdefault(command.run, ([], []))[1].append(command)
        for run, (records, commands) in by_run.items():
            self._may_die()
            lane = self.lanes.setdefault(run, Lane())
            at_once = lane.push(records, commands)
            self._release(at_once)
            if lane.waiting and not lane.flying:
                self._append(run, lane, life)

    def _append(self, run: str, lane: Lane, life: int) -> None:
        pack = list(lane.take())
        if not pack:
            return
        world = self.world
        world.at(world.rng.uniform(0.0005, 0.01), lambda: self._stored(run, lane, pack, life))

    def _stored(self, run: str, lane: Lane, pack: list[Record], life: int) -> None:
        world = self.world
        if life != self.life and (world.rng.random() < 0.5 or self.engine is not None):
            # The append of a process that died: it may have reached the journal, unless a new owner has read it meanwhile.
            return
        message = self.journal.setdefault(run, [])
        message.append(pack)
        for record in pack:
            world.ledger.durable(run, record, life)
            world.note("jrnl", f"{run[-4:]} {record.k} {getattr(record, 'subtask', '')}")
        if life != self.life:
            return
        _, commands = lane.written()
        try:
            self._release(commands)
        except Died:
            self.kill()
            return
        if lane.waiting:
            self._append(run, lane, life)

    def _may_die(self) -> None:
        if self.world.chance(self.world.faults.die):
            raise Died

    # --- out ---

    def _release(self, commands: Iterable[orders.Command]) -> None:
        world = self.world
        groups: dict[tuple[AgentActor, str, type[Item]], list[Item]] = {}
        for command in commands:
            world.ledger.command(command)
            if isinstance(command, orders.Say):
                agent = world.by_bus_key[command.to]
                groups.setdefault((agent, command.run, type(command.item)), []).append(command.item)
            elif isinstance(command, orders.SayAll):
                for agent in world.agents.values():
                    if command.capability in agent.capabilities:
                        groups.setdefault((agent, command.run, type(command.item)), []).append(command.item)
            elif isinstance(command, orders.CheckResult):
                self._check_result(command)
        for (agent, run, kind), items in groups.items():
            self._may_die()
            what = f"{kind.__name__} x{len(items)} to {agent.name}"
            world.carry(agent, lambda agent=agent, run=run, items=items: agent.hear(run, items), what)

    def _check_result(self, command: orders.CheckResult) -> None:
        bad = any(output.name.startswith("bad") for output in command.outputs)
        done = orders.ResultChecked(
            command.run, command.subtask, command.attempt, command.epoch, "it is bad" if bad else ""
        )
        life = self.life
        delay = self.world.rng.uniform(0.001, 0.02)
        self.world.at(delay, lambda: self.take(done) if life == self.life else None)

    def _set_tick(self, life: int) -> None:
        assert self.engine is not None
        due = self.engine.deadline()
        if due is None or due >= self.tick_at:
            return
        self.tick_at = due
        self.world.at(max(0.0, due - self.world.now), lambda: self._tick(life))

    def _tick(self, life: int) -> None:
        if life == self.life and self.engine is not None:
            self.tick_at = float("inf")
            self.take(orders.Tick())

    # --- checks ---

    def _check(self, step: orders.Step, event: orders.Event) -> None:
        """The state in memory is the fold of the records, and what is live agrees with it."""
        engine = self.engine
        assert engine is not None
        for run, record in step.records:
            if run in self.shadows or record.k == "run.opened":
                self.shadows[run] = apply(self.shadows.get(run), record)
        if self.world.steps % 16 == 0:
            self.compare(engine)

    def compare(self, engine: Engine) -> None:
        """The costly comparisons."""
        flight: dict[str, int] = {}
        for run, desk in engine.desks.items():
            if self.shadows.get(run) != desk.state:
                raise Broken(f"run {run}: the state in memory is not the fold of its records")
            for name, subtask in desk.state.subtasks.items():
                live = engine.watch.get((run, name))
                current = subtask.current
                if (live is None) != (current is None):
                    raise Broken(f"{name}: awarded in the state, but not watched, or the other way round")
                if live and current and not live.fits(current.number, current.epoch, current.node):
                    raise Broken(f"{name}: another attempt is watched than the one that holds")
                if live or (run, name) in engine.auction:
                    capability = subtask.skeleton.capability
                    flight[capability] = flight.get(capability, 0) + 1
        for capability in ("doc.read", "text.find"):
            if engine.market.flight(capability) != flight.get(capability, 0):
                raise Broken(f"{capability}: {engine.market.flight(capability)} in flight, by count {flight}")


class AgentActor:
    """A node's process, and its file, which survives it."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.node = node_id(name)
        self.bus_key = bus_key(name)
        rng = world.rng
        self.slots = rng.randint(1, 3)
        self.capabilities = frozenset(
            {"doc.read", "text.find"} if name in ("n0", "n1") else {rng.choice(["doc.read", "text.find"])}
        )
        self.speed = rng.uniform(0.3, 3.0)
        self.file: list[sell.LocalRecord] = []
        self.core: Agent | None = None
        self.work: dict[sell.AttemptKey, int] = {}
        self.life = 0
        self.is_cut = False
        self.tick_at = float("inf")

    def start(self) -> None:
        """Come to life from the file."""
        self.life += 1
        spec = AgentSpec("worker", self.capabilities, self.slots, queue=1, prior=Prior(0.2, 0.2))
        self.core = Agent(
            [spec], Limits(self.slots), OwnHistory(), restored=list(self.file), now=self.world.now
        )
        self.file = list(self.core.records())
        self.work = {}
        self.tick_at = float("inf")
        self.world.note(self.name, "starts")
        self.take(sell.Connected())
        self.hello()
        self._beat(self.life)

    def kill(self) -> None:
        """The process and all its work are gone."""
        if self.core is None:
            return
        self.world.note(self.name, "dies")
        self.core = None
        self.life += 1
        self.world.at(self.world.rng.uniform(0.1, 15.0), self.start)

    def cut(self) -> None:
        """No message goes in or out."""
        self.is_cut = True
        self.world.note(self.name, "is cut off")

    def heal(self) -> None:
        """The network is back."""
        if self.is_cut:
            self.is_cut = False
            self.world.note(self.name, "is back")
            self.hello()
            self.take(sell.Connected())

    def hello(self) -> None:
        """Say who this is."""
        if self.core is None:
            return
        hello = Hello(
            name=self.name,
            version="0",
            roles=["agent"],
            agents=self.core.cards(),
            slots=self.slots,
            certificate=b"",
        )
        self._presence(hello)

    def _beat(self, life: int) -> None:
        if life != self.life or self.core is None:
            return
        self._presence(Heartbeat(load=0.1, slots_used=self.core.slots_used, slots=self.slots))
        self.world.at(HEARTBEAT_S, lambda: self._beat(life))

    def _presence(self, item: Item) -> None:
        session = self.life.to_bytes(8, "big")
        desk = self.world.desk
        self.world.carry(
            self, lambda: desk.hear(self, [item], session), f"{type(item).__name__} of {self.name}"
        )

    # --- in ---

    def hear(self, run: str, items: list[Any]) -> None:
        """The coordinator's message."""
        made: dict[type[Any], Callable[[], sell.Event]] = {
            Announce: lambda: sell.Announced(run, items),
            Withdraw: lambda: sell.Withdrawn(run, items),
            Reject: lambda: sell.BidsRejected(run, items),
            Award: lambda: sell.Awarded(run, items),
            Cancel: lambda: sell.CancelAsked(run, items),
            ResultAck: lambda: sell.Acked(run, items),
        }
        self.take(made[type(items[0])]())

    def take(self, event: sell.Event) -> None:
        """One step: its records reach the file, then its effects happen, one by one; the process may die between any two."""
        if self.core is None:
            return
        world, life = self.world, self.life
        world.steps += 1
        world.note(self.name, _line(event))
        step = self.core.handle(event, world.now)
        self.file += step.records
        said: dict[tuple[str, type[Item]], list[Any]] = {}
        for command in step.commands:
            if world.chance(world.faults.die):
                self.kill()
                return
            if isinstance(command, sell.Say):
                said.setdefault((command.run, type(command.item)), []).append(command.item)
            elif isinstance(command, sell.Start):
                self._begin(command)
            elif isinstance(command, sell.Stop):
                self._end(command)
        for (run, kind), items in said.items():
            what = f"{kind.__name__} x{len(items)} of {self.name}"
            world.carry(self, lambda run=run, items=items: self._arrive(run, items), what)
        if self.core is not None and not 0 <= self.core.slots_used <= self.core.slots_total:
            raise Broken(f"{self.name} uses {self.core.slots_used} of {self.core.slots_total} slots")
        self._set_tick(life)

    def _arrive(self, run: str, items: list[Any]) -> None:
        if isinstance(items[0], (Bid, Decline)):
            self.world.desk.take(orders.AnswersReceived(run, self.node, self.bus_key, items, b"d" * 16))
        else:
            self.world.desk.take(orders.WorkReceived(run, self.node, self.bus_key, items))

    def _set_tick(self, life: int) -> None:
        due = self.core.deadline() if self.core is not None else None
        if due is None or due >= self.tick_at:
            return
        self.tick_at = due
        self.world.at(max(0.0, due - self.world.now), lambda: self._tick(life))

    def _tick(self, life: int) -> None:
        if life == self.life and self.core is not None:
            self.tick_at = float("inf")
            self.take(sell.Tick())

    # --- work ---

    def _begin(self, command: sell.Start) -> None:
        world, key, life = self.world, command.key, self.life
        self.work[key] = life
        seconds = self.speed * world.rng.uniform(0.1, 4.0)
        if world.chance(0.03):
            seconds = 1_000.0  # wedged: no progress, no end
        else:
            for step in range(1, int(seconds) + 1):
                world.at(step, lambda step=step: self._report(sell.WorkProgress(key, step), life))
        world.at(seconds, lambda: self._finish(key, life))

    def _report(self, event: sell.WorkProgress, life: int) -> None:
        if life == self.life and event.key in self.work:
            self.take(event)

    def _finish(self, key: sell.AttemptKey, life: int) -> None:
        if life != self.life or self.work.pop(key, None) is None:
            return
        world = self.world
        if world.chance(world.faults.fail):
            retryable = world.rng.random() < 0.8
            self.take(sell.WorkFailed(key, "E_WORK", "it broke", retryable))
            return
        name = "bad.json" if world.chance(world.faults.bad) else "out.json"
        output = NamedRef(name=name, ref=a_ref(f"{key.run} {key.subtask}"))
        self.take(sell.WorkDone(key, [output], 100, 100))

    def _end(self, command: sell.Stop) -> None:
        key, life = command.key, self.life
        if self.work.pop(key, None) is None:
            return

        def stopped() -> None:
            if life == self.life:
                self.take(sell.WorkStopped(key))

        self.world.at(self.world.rng.uniform(0.01, 1.5), stopped)


def _line(event: Any) -> str:
    """An event in a few words, the same in every process."""
    items = getattr(event, "items", None)
    kind = type(event).__name__
    if items is None:
        return f"{kind} {getattr(event, 'key', '') or getattr(event, 'subtask', '')}"
    names = ",".join(
        f"{type(item).__name__}:{item.subtask}/{getattr(item, 'attempt', '') or getattr(item, 'round', 0) & 0xFFFFF}"
        for item in items
    )
    return f"{kind} {event.run[-4:]} {names}"
