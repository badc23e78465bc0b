"""kill -9 of agent daemons in the middle of their work, and SIGSTOP for longer than the lease: awarded again in time, and what a zombie says later is late."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from protocol.records import Awarded, LateResult

from .checker import Message, judge
from .load import Asked, Load
from .swarm import Chaos, Node, Shape, agent_config, chaos_swarm, until
from .trial import Batch, Blow, Trial
from .work import made_of

__all__ = ["LEASE_SLACK_S", "worker_kills"]

LEASE_SLACK_S = 2.0
"""So long after the lease's end the work must be awarded again."""
_AGENTS = 6
_VICTIMS = 4
_PIECES = 10
_MODES = ("kill", "restart", "stop", "stop")


def worker_kills() -> Trial:
    """Rounds in which four of six working nodes are struck at once."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        shape = Shape(agents=_AGENTS, agent=agent_config(slots=2, queue=0))
        async with chaos_swarm(folder, shape) as chaos:
            people = Load(chaos, batch.rng)
            await people.listen()
            number = 0
            while len(batch.blows) < count:
                number += 1
                wanted = min(_VICTIMS, count - len(batch.blows))
                batch.blows += await _round(chaos, people, batch, number, wanted)
            batch.verdict, batch.history = await judge(chaos, people)
            for blow in batch.blows:
                batch.verdict.counts[f"worker_{blow.how}"] += 1

    return trial


def _goal(folder: Path, number: int) -> Asked:
    asked = Asked("", {})
    steps: list[dict[str, Any]] = []
    for piece in range(_PIECES):
        text = f"round {number} piece {piece}"
        params = {
            "text": text,
            "gate": str(folder / f"gate{number}"),
            "begun": str(folder / f"begun{number}"),
        }
        steps.append({"id": f"h{piece:02}", "capability": "chaos.hold", "params": params})
        asked.results[f"h{piece:02}"] = made_of(text)
    asked.plan = {"goal": f"round {number}", "steps": steps}
    asked.subtasks = {step["id"] for step in steps}
    return asked


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


async def _round(chaos: Chaos, people: Load, batch: Batch, number: int, wanted: int) -> list[Blow]:
    rng = batch.rng
    asked = await people.do(_goal(chaos.folder, number), wait=False)
    begun = chaos.folder / f"begun{number}"
    await until("all pieces are being worked at", lambda: _lines(begun) >= _PIECES, 40.0)
    holders = await _holders(chaos, asked.run)
    nodes = chaos.by_id()
    busy = sorted({fence[2] for fence in holders.values()})
    victims = [nodes[name] for name in rng.sample(busy, min(wanted, len(busy) - 1))]
    blows: list[Blow] = []
    for place, victim in enumerate(victims):
        mode = _MODES[place % len(_MODES)] if rng.random() < 0.7 else rng.choice(_MODES)
        at = victim.pause() if mode == "stop" else victim.kill()
        blows.append(Blow(mode, victim.id, at))
        if mode == "restart":
            victim.start()
    # Everybody may end now: the survivors, the later attempts, and the zombies while their node stands still.
    (chaos.folder / f"gate{number}").touch()
    stopped = [(nodes[blow.node], blow) for blow in blows if blow.how == "stop"]
    async with asyncio.TaskGroup() as tasks:
        for node, blow in stopped:
            tasks.create_task(_wake(node, blow.at + rng.uniform(12.6, 15.5)))
        await people.end_of(asked, 60.0)
    zombies = {
        (name, *fence): blow
        for name, fence in holders.items()
        for _, blow in stopped
        if fence[2] == blow.node
    }

    async def all_late() -> bool:
        found = {
            (record.subtask, record.attempt, record.epoch, record.node)
            for message in await _history(chaos, asked.run)
            for record in message.records
            if isinstance(record, LateResult)
        }
        return zombies.keys() <= found

    await until(f"what {len(zombies)} zombies say is on record as late", all_late, 30.0, step_s=0.3)
    _measure(blows, holders, await _history(chaos, asked.run))
    for victim in victims:
        if not victim.alive:
            victim.start()
    for victim in victims:
        await victim.serving()
    await chaos.everybody_up()
    return blows


async def _wake(node: Node, at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.time()))
    node.resume()


async def _history(chaos: Chaos, run: str) -> list[Message]:
    endpoint = chaos.judge.endpoint
    messages: list[Message] = []
    async for stored in endpoint.journal.read(run):
        header, records = endpoint.open_record(run, stored.data, stored.at_ms)
        messages.append(Message(stored.seq, stored.at_ms, (header.sender.hex(), header.session), records))
    return messages


async def _holders(chaos: Chaos, run: str) -> dict[str, tuple[int, int, str]]:
    """Subtask -> the attempt that holds it (nothing has ended yet)."""
    return {
        record.subtask: (record.attempt, record.epoch, record.node)
        for message in await _history(chaos, run)
        for record in message.records
        if isinstance(record, Awarded)
    }


def _measure(blows: list[Blow], holders: dict[str, tuple[int, int, str]], messages: list[Message]) -> None:
    """When what a struck node held was awarded again, and whether that was in time."""
    leases = {
        (record.subtask, record.attempt): record.lease_ms / 1000
        for message in messages
        for record in message.records
        if isinstance(record, Awarded)
    }
    for blow in blows:
        for name, (attempt, _, node) in holders.items():
            if node != blow.node:
                continue
            again = [
                message.at_ms / 1000 - blow.at
                for message in messages
                for record in message.records
                if isinstance(record, Awarded) and record.subtask == name and record.attempt == attempt + 1
            ]
            took = again[0] if again else float("inf")
            blow.times["reaward_s"] = max(blow.times.get("reaward_s", 0.0), took)
            if took > leases[name, attempt] + LEASE_SLACK_S:
                blow.outcome = "slow"
                blow.note = f"{name} was awarded again {took:.1f} s after {blow.how}, its lease is {leases[name, attempt]:.0f} s"
