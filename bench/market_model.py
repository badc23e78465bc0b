"""A simulated market for one question: which award rule gets the most work done, and at what cost, when some sellers overstate?

The setting is the published one of AuctionSI 0.2.0 (first-price reverse auction, one winner a task, a failure is final), written anew so that it needs
no package and takes a fraction of a second. Every draw is made before any rule decides, so all rules meet the same sellers, the same tasks and, for the
same choice, the same outcome: common random numbers, and differences between rules can be paired.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp, log

__all__ = ["AGENTS", "LIARS", "OVERSTATED", "TASKS", "TYPES", "Offer", "Task", "World", "make_world"]

AGENTS = 24
TASKS = 400
LIARS = 8
OVERSTATED = 0.4
MIN_QUALITY = 0.6
TYPES = ("research", "analysis", "query", "optimise")
_MARKUP = 0.2
_QUALITY_SD = 0.05
_LATENCY_SIGMA = 0.25


@dataclass(frozen=True, slots=True)
class Offer:
    """One valid bid for one task, with what would come of it (no rule may look at the last three)."""

    agent: int
    price: float
    latency_s: float
    confidence: float
    passes: bool
    delivers: bool
    """Whether there is a result at all; `passes`: and it is good enough."""
    took_s: float
    cost: float


@dataclass(frozen=True, slots=True)
class Task:
    """One task; `offers` are the bids that keep to its budget, deadline and wanted quality, as they claim."""

    number: int
    kind: str
    at_s: float
    budget: float
    deadline_s: float
    value: float
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class World:
    """All that a rule can meet, for one seed."""

    seed: int
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class _Agent:
    quality: dict[str, float]
    fixed: float
    per_s: float
    latency_s: float
    reliability: float
    overstates: float

    def cost(self, seconds: float) -> float:
        return self.fixed + self.per_s * seconds


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))


def _agents(rng: random.Random, liars: int) -> list[_Agent]:
    made = []
    for number in range(AGENTS):
        kinds = sorted(rng.sample(TYPES, rng.randint(1, 3)))
        base = rng.betavariate(8, 2)
        quality = {kind: _unit(base + rng.gauss(0, _QUALITY_SD)) for kind in kinds}
        made.append(
            _Agent(
                quality,
                rng.lognormvariate(log(0.03), 0.5),
                0.01 * rng.lognormvariate(log(0.03), 0.5),
                rng.lognormvariate(log(10.0), 0.5),
                rng.betavariate(18, 2),
                OVERSTATED if number < liars else 0.0,
            )
        )
    return made


def make_world(seed: int, *, liars: int = LIARS) -> World:
    """The market of a seed; with `liars` = 0 the same sellers and tasks, all of them honest."""
    agents = _agents(random.Random(f"agents/{seed}"), liars)
    rng, fate = random.Random(f"tasks/{seed}"), random.Random(f"fate/{seed}")
    tasks = []
    now = 0.0
    for number in range(TASKS):
        now += rng.expovariate(1.0)
        budget = rng.lognormvariate(log(0.12), 0.3)
        kind = rng.choice(TYPES)
        complexity = rng.lognormvariate(0.0, 0.3)
        deadline = rng.uniform(20.0, 60.0)
        offers = []
        for place, agent in enumerate(agents):
            # Drawn for everybody, so that one seller's bid does not move another's luck.
            slip, luck, noise = fate.gauss(0, 1), fate.random(), fate.gauss(0, _QUALITY_SD)
            if kind not in agent.quality:
                continue
            latency = agent.latency_s * complexity
            price = agent.cost(latency) * (1 + _MARKUP)
            claimed = _unit(agent.quality[kind] + agent.overstates)
            if price > budget or latency > deadline or claimed < MIN_QUALITY:
                continue
            took = latency * exp(_LATENCY_SIGMA * slip - _LATENCY_SIGMA**2 / 2)
            delivers = luck < agent.reliability
            offers.append(
                Offer(
                    place,
                    price,
                    latency,
                    _unit(agent.reliability + agent.overstates),
                    delivers and _unit(agent.quality[kind] + noise) >= MIN_QUALITY,
                    delivers,
                    took,
                    agent.cost(took),
                )
            )
        tasks.append(Task(number, kind, now, budget, deadline, 1.5 * budget, tuple(offers)))
    return World(seed, tuple(tasks))
