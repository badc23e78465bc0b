"""A simulated swarm: the daemon's own Engine and Agent, in virtual time, on a bus, disks and clocks that fail.

    world = World(seed=4711); world.play(); world.timeline.digest

Rules. One seed is one history. The rules are checked on what an event touched at each event, and on the whole state every `compare_every` events; faults end at some
time, and then every run must end. The first broken rule raises `Broken` with the seed and the last lines of the trace. A world in which too little happened
proves nothing: `Void`. Counterparts: `trouble` (what goes wrong when), `ledger` (the rules), the actors (entry points `zwerm.sim`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, NamedTuple

from protocol.messages import Budget
from protocol.plan import Plan

from . import clients, trouble
from .actors import AgentActor, Cast, CoordinatorActor, find_cast
from .faults import HOSTILE, Faults
from .halting import Admins
from .ledger import Broken, Ledger
from .linear import check as one_order
from .network import Door, Mail, Network, Peer
from .patience import Patience
from .plans import SMALL, Load, run_id, small_plans
from .process import Process
from .spending import Spending, draw_budgets
from .stops import Stops
from .store import Entry, Store
from .tally import Tally
from .timeline import Timeline

__all__ = ["Crash", "Void", "World"]

_STUCK_MOST_S: Final = 200.0
"""In a small world wedged work is found within its lease, and what delays that is over by then."""


class Void(Broken):
    """Too little happened for the history to mean anything."""


class Crash(NamedTuple):
    """End a process of a kind at the nth passing of a point."""

    kind: str
    point: str
    nth: int = 1


class World:
    """One history.

    Args:
        seed: everything random follows from it.
        faults: what goes wrong.
        plans: what is asked for; small random plans if not given.
        nodes: how many nodes sell; two to four if not given.
        coordinators: how many there are; one to three by the seed in small hostile worlds, else one.
        capabilities: what nodes may offer.
        load: how long work is.
        door: whether messages pass the real door; decided by the seed if not given: nearly always, with real signatures every hundredth time.
        cast: who makes the actors; the installed roles if not given.
        crash: end a process at exactly this point.
        compare_every: events of the cores between two checks of the whole state.
        end_s: virtual seconds after which a run that has not ended is a failure.
        thrifty: see `Network`.
        events_min: events below which the history is void.
        budgets: what runs may spend, by run; small worlds draw them.
    """

    def __init__(
        self,
        seed: int,
        *,
        faults: Faults = HOSTILE,
        plans: list[Plan] | None = None,
        nodes: int | None = None,
        coordinators: int | None = None,
        capabilities: tuple[str, ...] = SMALL,
        load: Load | None = None,
        door: Door | None = None,
        cast: Cast | None = None,
        crash: Crash | None = None,
        compare_every: int = 1_000,
        end_s: float = 1_500.0,
        thrifty: bool = False,
        events_min: int = 50,
        budgets: dict[str, Budget] | None = None,
    ) -> None:
        self.seed = seed
        self.faults = faults
        self.load = load or Load()
        self.capabilities = capabilities
        self.end_s = end_s
        self.events_min = events_min
        self.compare_every = compare_every
        self.crash = crash
        self.timeline = Timeline(seed)
        self.door: Door = door or _door_of(seed)
        self.network = Network(self.timeline, faults, door=self.door, thrifty=thrifty)
        self.store = Store(self.timeline, faults, self.network, self._written)
        self.ledger = Ledger()
        self.tally = Tally()
        self.patience = Patience()
        self.stops = Stops(self.timeline)
        self.steps = 0
        """Events that cores took in."""
        self._check_at = compare_every
        self.passed: Counter[str] = Counter()
        """Named points, and how often each was passed."""
        self.died_at: Counter[str] = Counter()
        self.plans = {run_id(number): plan for number, plan in enumerate(plans or small_plans(self.rng), 1)}
        self.revised: dict[bytes, Plan] = {}
        """Plans that took the place of a run's first one, by digest."""
        self.last = "" if plans else run_id(len(self.plans))
        """A run that begins when the trouble is over, and must succeed: the swarm has to be whole again."""
        some = [] if plans else [run for run in self.plans if run != self.last]
        self.spending = Spending(seed, budgets or draw_budgets(seed, some, faults.bounded), self.tally)
        self.admins = Admins(self)
        self.cast = cast or find_cast()
        self._tails: dict[str, Callable[[Entry], None]] = {}
        """What follows each run's journal along its hash chain."""
        count = nodes or self.rng.randint(2, 4)
        desks = coordinators or (1 if plans or not faults.until_s else 1 + seed % 3)
        self.coordinators: list[CoordinatorActor] = [
            self._coordinator(f"c{number}" if number else "desk") for number in range(desks)
        ]
        self.desk = self.coordinators[0]
        self.desks = [coordinator.peer for coordinator in self.coordinators]
        self.ears = [*self.desks, *self.admins.ears]
        """Who hears what nodes say of themselves."""
        self.agents: list[AgentActor] = [self._agent(number) for number in range(count)]
        self.by_bus_key = {agent.peer.bus_key: agent for agent in self.agents}
        self.offering = {
            name: [agent.peer for agent in self.agents if name in agent.capabilities] for name in capabilities
        }

    @property
    def rng(self) -> Random:
        """The source of all chance."""
        return self.timeline.rng

    def _join(self, name: str, role: str) -> tuple[Peer, list[Callable[[Mail], None]]]:
        ears: list[Callable[[Mail], None]] = []
        offset = self.rng.uniform(-self.faults.skew_s, self.faults.skew_s)
        return self.network.join(name, frozenset({role}), lambda mail: ears[0](mail), offset), ears  # noqa: PLW0108 - its ears come later

    def _coordinator(self, name: str) -> CoordinatorActor:
        peer, ears = self._join(name, "coordinator")
        actor = self.cast.coordinator(self, peer)
        ears.append(actor.hear)
        return actor

    def _agent(self, number: int) -> AgentActor:
        peer, ears = self._join(f"n{number}", "agent")
        actor = self.cast.agent(self, peer, first=number < 2)
        ears.append(actor.hear)
        return actor

    # --- the course of things ---

    def play(self, watch: Callable[[World], None] | None = None) -> None:
        """Until every run has ended and every ending is acknowledged.

        Args:
            watch: called now and then, to show how far things are.

        Raises:
            Broken: a rule does not hold, or the world does not come to rest.
            Void: too little happened.
        """
        timeline = self.timeline
        try:
            self._prepare()
            while True:
                if not timeline.advance():
                    raise Broken("nothing is left to happen, and runs have not ended")
                if self.steps >= self._check_at:
                    self._check_at = self.steps + self.compare_every
                    self.check()
                    if watch is not None:
                        watch(self)
                if len(self.ledger.closed) == len(self.plans) and self._settled():
                    break
                if timeline.elapsed > self.end_s:
                    raise Broken(f"not at rest after {self.end_s:.0f} virtual seconds: {self.story()}")
            self._final_check()
        except Broken as error:
            raise type(error)(self._told(error)) from error
        except TimeoutError:
            raise
        except Exception as error:
            # A core that breaks a rule of its own, or an assertion in it: the same finding, with the same trace.
            raise Broken(self._told(error)) from error

    def _told(self, error: Exception) -> str:
        lines = "\n".join(self.timeline.tail)
        return f"seed {self.seed}: {type(error).__name__}: {error}\n{lines}"

    def _prepare(self) -> None:
        for coordinator in self.coordinators:
            coordinator.start()
        for agent in self.agents:
            agent.start()
        clients.arrange(self)
        trouble.arrange(self)
        self.admins.arrange()

    def _settled(self) -> bool:
        return all(agent.gone or agent.settled for agent in self.agents)

    def _written(self, run: str, entry: Entry) -> None:
        tail = self._tails.get(run)
        if tail is None:
            tail = self._tails[run] = self.cast.journals.follow(self.network.reader, run)
        tail(entry)
        for record in entry.records:
            self.ledger.durable(run, record, entry.writer)
            self.tally.durable(run, record, self.timeline.elapsed)
            self.patience.durable(run, record)
            self.spending.durable(run, record)
            self.stops.durable(run, record)
            self.timeline.note("jrnl", f"{run[-4:]} {record.k} {getattr(record, 'subtask', '')}")

    # --- trouble ---

    def dies_at(self, process: Process, point: str) -> bool:
        """Whether a process that passes a named point ends there."""
        self.passed[point] += 1
        if self.crash is not None and (process.kind, point) == self.crash[:2]:
            dies = self.passed[point] == self.crash.nth
        else:
            dies = self.network.chance(self.faults.die)
        if dies:
            self.died_at[point] += 1
            self.timeline.note(process.name, f"is ended at {point}")
        return dies

    # --- checks ---

    def check(self) -> None:
        """The costly checks of everybody's whole state.

        Raises:
            Broken: something that must hold does not.
        """
        for actor in (*self.coordinators, *self.agents):
            if actor.alive:
                actor.check()

    def _final_check(self) -> None:
        self.check()
        self.ledger.final()
        if self.last and self.ledger.closed[self.last] != "done":
            raise Broken(f"the run after the trouble ended as {self.ledger.closed[self.last]}")
        if self.last and self.tally.stuck_most_s > _STUCK_MOST_S:
            raise Broken(f"a wedged attempt held its subtask for {self.tally.stuck_most_s:.0f} s")
        for run, outcome in self.ledger.closed.items():
            found = self.cast.journals.read(
                self.network.reader, run, self.store.logs[run], self.store.heads[run]
            )
            if found != outcome:
                raise Broken(f"run {run} ended as {outcome}, and its journal is read as {found or 'open'}")
        for run, calls in self.store.calls.items():
            why = one_order([entry.token for entry in self.store.logs.get(run, ())], calls)
            if why:
                raise Broken(f"run {run}: {why}")
        if self.timeline.events < self.events_min or self.tally.awards == 0:
            raise Void(
                f"only {self.timeline.events} events and {self.tally.awards} awards: it proves nothing"
            )

    def story(self) -> str:
        """What is still to be done."""
        parts = [
            f"{run[-4:]} {'closed' if run in self.ledger.closed else 'open'}" for run in list(self.plans)[:8]
        ]
        parts += [text for actor in (*self.coordinators, *self.agents) if (text := actor.story())][:40]
        return ", ".join(parts)


def _door_of(seed: int) -> Door:
    """One world in five without the door, so that what the bus delivers twice reaches the cores."""
    if seed % 100 == 99:
        return "ed25519"
    return "none" if seed % 5 == 4 else "hash"
