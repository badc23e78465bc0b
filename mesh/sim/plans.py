"""What simulated swarms are asked for: small random plans for many seeds, and large ones for planning a swarm."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Final

from protocol.artifact import ArtifactRef
from protocol.ids import new_run_id
from protocol.plan import Plan

from .timeline import START

__all__ = ["LARGE", "SMALL", "Load", "large_plans", "ref", "run_id", "small_plans"]

SMALL: Final = ("doc.read", "text.find")
"""Capabilities of small worlds."""
LARGE: Final = ("sim.read", "sim.draft", "sim.merge")
_ABSENT: Final = 0.1
"""Share of files that are first to be read in a way that no node knows."""
_RUN_SUBTASKS: Final = 1_000
_READS, _DRAFTS = 8, 4
_GROUP: Final = _READS + _DRAFTS + 1
_WRITER: Final = "U" + "A" * 55


def ref(content: str) -> ArtifactRef:
    """A reference to content that need not exist."""
    data = content.encode()
    return ArtifactRef(sha256=hashlib.sha256(data).digest(), size=len(data), chunks=1, writer=_WRITER)


def run_id(number: int) -> str:
    """The id of a world's run."""
    return new_run_id(START + number, hashlib.sha256(str(number).encode()).digest())


@dataclass(frozen=True, slots=True)
class Load:
    """How long work is. `quiet_s`: the longest silence that agents declare; progress is said every `progress_s`."""

    steps: tuple[int, int] = (1, 8)
    step_s: float = 0.5
    progress_s: float = 1.0
    quiet_s: float = 10.0
    deadline_s: float = 300.0
    wedged_s: float = 1_000.0
    """A wedged attempt ends by itself only after this."""

    def draw(self, rng: random.Random) -> tuple[int, float]:
        """The steps of one try, and the seconds that it takes on a node of usual speed."""
        steps = rng.randint(*self.steps)
        return steps, steps * self.step_s * rng.uniform(0.7, 1.3)


def small_plans(rng: random.Random) -> list[Plan]:
    """Two to four runs of a few subtasks: read files, find something in each, report."""
    return [_small(rng, number) for number in range(rng.randint(2, 4))]


def _small(rng: random.Random, number: int) -> Plan:
    count = rng.randint(1, 5)
    inputs = [f"f{number}-{index}.txt" for index in range(count)]
    subtasks: list[dict[str, Any]] = []
    for index, name in enumerate(inputs):
        subtasks.append(
            {"id": f"read-{index}", "capability": "doc.read", "inputs": [name], "output_schema": {}}
        )
        if rng.random() < _ABSENT:
            subtasks[-1] |= {"capability": "doc.absent", "instead": ["doc.read"]}
        subtasks.append({"id": f"find-{index}", "capability": "text.find", "needs": [f"read-{index}"]})
    needs = [f"find-{index}" for index in range(count)]
    report = {"id": "report", "capability": "text.find", "needs": needs, "output_schema": {}}
    return _plan([*subtasks, {**report, "tolerant": rng.random() < 0.7}], inputs)


def _plan(subtasks: list[dict[str, Any]], inputs: list[str]) -> Plan:
    return Plan.model_validate(
        {
            "goal": "sim",
            "planner": "sim",
            "inputs": inputs,
            "subtasks": subtasks,
            "deliver": [{"subtask": "report"}],
        }
    )


def large_plans(subtasks: int, load: Load) -> list[Plan]:
    """Runs of about a thousand subtasks each: groups of eight that read, four that draft from two of them, one that merges; then a report of all."""
    runs = max(1, round(subtasks / _RUN_SUBTASKS))
    sizes = [subtasks // runs + (number < subtasks % runs) for number in range(runs)]
    return [_large(size, load) for size in sizes]


def _large(count: int, load: Load) -> Plan:
    deadline_ms = int(load.deadline_s * 1000)
    made: list[dict[str, Any]] = []

    def add(name: str, capability: str, needs: list[str]) -> str:
        made.append(
            {
                "id": name,
                "capability": capability,
                "needs": needs,
                "tolerant": capability != "sim.read",
                "deadline_ms": deadline_ms,
                "output_schema": {},
            }
        )
        return name

    ends: list[str] = []
    left = count - 1
    for group in range(left // _GROUP):
        reads = [add(f"g{group}-read-{index}", "sim.read", []) for index in range(_READS)]
        drafts = [
            add(f"g{group}-draft-{index}", "sim.draft", reads[2 * index : 2 * index + 2])
            for index in range(_DRAFTS)
        ]
        ends.append(add(f"g{group}-merge", "sim.merge", drafts))
    ends += [add(f"read-{index}", "sim.read", []) for index in range(left % _GROUP)]
    add("report", "sim.merge", ends)
    return _plan(made, [])
