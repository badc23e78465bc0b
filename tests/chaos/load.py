"""People who hand in goals while things are killed, and remember everything that they were told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from dataclasses import dataclass, field
from typing import Any

from mesh.endpoint import CallFailed, Received
from mesh.errors import MeshError
from protocol import subjects
from protocol.ids import new_run_id
from protocol.messages import Event, SubmitRun

from .swarm import Chaos, Stuck
from .work import made_of

__all__ = ["Asked", "Load", "Told"]

Told = tuple[int, str, str]
"""What an event said: number of the record, its kind, its subtask."""

SUBMIT_S = 90.0
"""So long somebody goes on asking until the swarm has taken a goal."""


@dataclass(slots=True)
class Asked:
    """One run, as its client knows it."""

    run: str
    plan: dict[str, Any]
    results: dict[str, str] = field(default_factory=dict)
    """Subtask -> the text that it must come to."""
    subtasks: set[str] = field(default_factory=set)
    taken: bool = False
    """The swarm has said that it has the run: it may never be lost from then on."""
    closed: bool = False
    outcome: str = "done"
    """How it must end."""


def mixed(rng: random.Random, tag: str, *, width: int, ms: tuple[int, int], chain: int = 3) -> Asked:
    """A goal of short pieces: results of their own, no-ops, a chain, and a last step over all of the results."""
    asked = Asked("", {})
    steps: list[dict[str, Any]] = []

    def echo(name: str, **more: Any) -> str:
        text = f"{tag} {name}"
        steps.append(
            {"id": name, "capability": "chaos.echo", "params": {"text": text, "ms": rng.randint(*ms)}, **more}
        )
        asked.results[name] = made_of(text)
        return name

    names = [echo(f"e{number:03}") for number in range(width)]
    before = names[0]
    for number in range(chain):
        before = echo(f"c{number:03}", after=before)
    steps += [{"id": f"n{number:03}", "capability": "demo.noop"} for number in range(width // 2)]
    steps.append({"id": "all", "capability": "chaos.join", "reduce": names})
    asked.results["all"] = "".join(sorted(asked.results[name] for name in names))
    asked.plan = {"goal": tag, "steps": steps}
    asked.subtasks = {step["id"] for step in steps}
    return asked


class Load:
    """Keeps `at_once` runs under way."""

    def __init__(
        self,
        chaos: Chaos,
        rng: random.Random,
        *,
        at_once: int = 4,
        width: tuple[int, int] = (16, 48),
        ms: tuple[int, int] = (5, 120),
    ) -> None:
        self.chaos = chaos
        self.rng = rng
        self.at_once = at_once
        self.width = width
        self.ms = ms
        self.runs: dict[str, Asked] = {}
        self.told: dict[str, set[Told]] = {}
        self.owner: dict[str, str] = {}
        """Run -> who spoke of it last."""
        self.problems: list[str] = []
        self.heard = 0.0
        """When a record was last told (Unix seconds)."""
        self.enough = asyncio.Event()
        self._closed: dict[str, asyncio.Event] = {}
        self._serial = 0

    def open_runs(self, node: str = "") -> list[str]:
        """Runs that have not ended as far as we know: all, or those of which a node spoke last."""
        return [
            run
            for run, asked in self.runs.items()
            if asked.taken and not asked.closed and (not node or self.owner.get(run) == node)
        ]

    async def listen(self) -> None:
        """Hear what happens in all runs."""
        await self.chaos.client.endpoint.listen(subjects.events_all(), self._on_event)

    def _on_event(self, received: Received) -> None:
        told = self.told.setdefault(received.run, set())
        self.owner[received.run] = received.node
        for item in received.items:
            if isinstance(item, Event):
                told.add((item.seq, item.kind, item.subtask))
                self.heard = time.time()
                if item.kind == "run.closed" and received.run in self._closed:
                    self._closed[received.run].set()

    async def keep_busy(self) -> None:
        """Hand in goals until `enough`; ends when all of them have ended."""
        async with asyncio.TaskGroup() as people:
            for _ in range(self.at_once):
                people.create_task(self._person())

    async def _person(self) -> None:
        while not self.enough.is_set():
            self._serial += 1
            await self.do(
                mixed(self.rng, f"g{self._serial}", width=self.rng.randint(*self.width), ms=self.ms)
            )

    async def do(self, asked: Asked, *, wait: bool = True) -> Asked:
        """Hand one goal in, until the swarm says that it has it, and wait for its end."""
        asked.run = new_run_id(self.chaos.client.endpoint.clock.now(), os.urandom(10))
        self.runs[asked.run] = asked
        self._closed[asked.run] = asyncio.Event()
        await self._submit(asked)
        if wait and asked.taken:
            await self.end_of(asked)
        return asked

    async def _submit(self, asked: Asked) -> None:
        item = SubmitRun(goal=asked.plan["goal"], planner="file", plan=asked.plan)
        end = time.monotonic() + SUBMIT_S
        said = ""
        while time.monotonic() < end:
            try:
                await self.chaos.client.endpoint.call("runs", item, timeout_s=1.5, run=asked.run)
            except CallFailed as error:
                said = f"{error.code}: {error.message}"
                if error.code not in ("E_STORE", "E_NO_ANSWER", "E_TIMEOUT", "E_SENDER", "E_BUS"):
                    break
            except MeshError as error:
                said = f"{error.code}: {error.message}"
            else:
                asked.taken = True
                return
            await asyncio.sleep(0.1)
        self.problems.append(f"run {asked.run[-6:]} was not taken: {said}")

    async def end_of(self, asked: Asked, timeout_s: float = 150.0) -> None:
        """Wait until the run's journal says that it has ended.

        Raises:
            Stuck: it does not.
        """
        end = time.monotonic() + timeout_s
        while not asked.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.5):
                    await self._closed[asked.run].wait()
            with contextlib.suppress(MeshError):
                asked.closed = await self._has_ended(asked.run)
            if not asked.closed:
                self._closed[asked.run].clear()
                if time.monotonic() > end:
                    raise Stuck(f"run {asked.run} has not ended after {timeout_s:.0f} s")

    async def _has_ended(self, run: str) -> bool:
        endpoint = self.chaos.judge.endpoint
        stored = await endpoint.journal.last(run)
        if stored is None:
            return False
        kinds = {record.k for record in endpoint.open_record(run, stored.data, stored.at_ms)[1]}
        if kinds != {"result.late"}:
            return "run.closed" in kinds
        # What came late is written behind the end, too: look at everything.
        async for stored in endpoint.journal.read(run):
            if any(
                record.k == "run.closed" for record in endpoint.open_record(run, stored.data, stored.at_ms)[1]
            ):
                return True
        return False
