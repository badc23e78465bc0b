"""Award rules compared in a simulated market: `python -m bench.market [--json]`. Paired over seeds, with common random numbers."""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from .market_model import AGENTS, LIARS, OVERSTATED, TASKS, Offer, Task, World, make_world
from .market_rules import RULES

__all__ = ["SEEDS", "Outcome", "compare", "paired", "play"]

SEEDS = range(7001, 7021)
"""Only for the report: whoever changes a weight of the score tries it on other seeds."""
_T_19 = 2.093
"""Student's t for 95 % and 20 pairs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rule in one world. `completion`: share of all tasks that ended with a good result; `surplus`: their value less all that was spent."""

    completion: float
    surplus: float


def play(world: World, name: str) -> Outcome:
    """Let a rule decide every task of a world as it comes; a seller does one task at a time, and what came of it is known when it ends."""
    rule = RULES[name](world)  # type: ignore[call-arg]
    done, surplus = 0, 0.0
    working: list[tuple[float, int, Task, Offer]] = []
    busy: set[int] = set()
    for task in world.tasks:
        while working and working[0][0] <= task.at_s:
            _, _, ended, offer = heapq.heappop(working)
            busy.remove(offer.agent)
            rule.learn(ended, offer)
        offers = [offer for offer in task.offers if offer.agent not in busy]
        if not offers:
            continue
        offer = rule.choose(task, offers)
        busy.add(offer.agent)
        heapq.heappush(working, (task.at_s + offer.took_s, task.number, task, offer))
        done += offer.passes
        surplus += task.value * offer.passes - offer.cost
    return Outcome(done / len(world.tasks), surplus)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference over pairs and its 95 % confidence interval."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.fmean(differences)
    half = _T_19 * statistics.stdev(differences) / sqrt(len(differences))
    return mean, mean - half, mean + half


def compare(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, list[Outcome]]]:
    """Condition -> rule -> outcomes, one a seed."""
    figures: dict[str, dict[str, list[Outcome]]] = {}
    for condition, liars in (("honest", 0), ("liars", LIARS)):
        worlds = [make_world(seed, liars=liars) for seed in seeds]
        figures[condition] = {name: [play(world, name) for world in worlds] for name in RULES}
    return figures


def report(seeds: Sequence[int] = SEEDS) -> dict[str, dict[str, dict[str, object]]]:
    """The figures of `compare` as one JSON document: means, and differences to ours with their intervals."""
    made: dict[str, dict[str, dict[str, object]]] = {}
    for condition, rules in compare(seeds).items():
        made[condition] = {}
        for name, outcomes in rules.items():
            row: dict[str, object] = {}
            for what in ("completion", "surplus"):
                values = [getattr(outcome, what) for outcome in outcomes]
                row[what] = round(statistics.fmean(values), 4)
                if name != "ours":
                    mine = [getattr(outcome, what) for outcome in rules["ours"]]
                    row[f"ours_minus_{what}"] = [round(figure, 4) for figure in paired(mine, values)]
            made[condition][name] = row
    return made


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.market", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    made = report()
    if arguments.json:
        print(json.dumps({"seeds": [SEEDS.start, SEEDS.stop - 1], **made}))
        return
    print(
        f"{AGENTS} agents, {TASKS} tasks, seeds {SEEDS.start} to {SEEDS.stop - 1};"
        f" liars: {LIARS} agents overstate by {OVERSTATED}"
    )
    for condition, rules in made.items():
        print(
            f"\n{condition:<20} completion  surplus   ours minus this: completion (95 %)       surplus (95 %)"
        )
        for name, row in rules.items():
            line = f"{name:<20} {row['completion']:>10.3f} {row['surplus']:>8.2f}"
            if name != "ours":
                c, s = row["ours_minus_completion"], row["ours_minus_surplus"]
                line += f"   {c[0]:>+18.3f} ({c[1]:+.3f} to {c[2]:+.3f})   {s[0]:>+8.2f} ({s[1]:+.2f} to {s[2]:+.2f})"  # type: ignore[index]
            print(line)


if __name__ == "__main__":
    main()
