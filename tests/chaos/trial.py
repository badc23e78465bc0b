"""What all trials have in common: a swarm, people who hand in goals, kills in between, and the judge at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.records import Owned, RunClosed, RunOpened

from .checker import History, Verdict, judge
from .load import Load
from .swarm import Chaos
from .watcher import Onlooker

__all__ = ["Batch", "Blow", "Trial", "busy", "owners_at", "play"]


@dataclass(slots=True)
class Blow:
    """One thing that was done to the swarm, and what came of it."""

    how: str
    node: str = ""
    at: float = 0.0
    times: dict[str, float] = field(default_factory=dict)
    outcome: str = "ok"
    note: str = ""


@dataclass(slots=True)
class Batch:
    """Some blows to one swarm, and the verdict over its whole history."""

    seed: int
    rng: random.Random
    blows: list[Blow] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    history: History = field(default_factory=dict)


Trial = Callable[[Path, Batch, int], Awaitable[None]]
"""Do so many blows to a new swarm in a folder, and put them and the verdict into the batch."""


@asynccontextmanager
async def busy(chaos: Chaos, batch: Batch, **load: Any) -> AsyncIterator[Load]:
    """People hand in goals while the block runs; afterwards everything must come to its end, and is judged."""
    people = Load(chaos, random.Random(batch.seed), **load)
    await people.listen()
    onlooker = Onlooker(chaos.client.endpoint)
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(onlooker.watch())
        await onlooker.ready.wait()
        working = tasks.create_task(people.keep_busy())
        try:
            yield people
        except BaseException:
            working.cancel()
            watching.cancel()
            raise
        people.enough.set()
        await working
        ended = [run for run, asked in people.runs.items() if asked.closed]
        people.problems += await onlooker.missed(ended)
        watching.cancel()
    batch.verdict, batch.history = await judge(chaos, people)


def owners_at(history: History, at: float) -> dict[str, str]:
    """Who owned each run that was open at a time (Unix seconds)."""
    owners: dict[str, str] = {}
    for run, messages in history.items():
        for message in messages:
            if message.at_ms / 1000 > at:
                break
            for record in message.records:
                if isinstance(record, (RunOpened, Owned)):
                    owners[run] = record.owner
                elif isinstance(record, RunClosed):
                    owners.pop(run, None)
    return owners


async def play(
    trial: Trial, kind: str, seed: int, count: int, *, bound_s: float, keep: bool = False
) -> list[dict[str, Any]]:
    """One batch, bounded in time; its lines for the tally. What went wrong is said, and the folder is kept."""
    batch = Batch(seed, random.Random(seed))
    folder = Path(tempfile.mkdtemp(prefix=f"zwerm-chaos-{kind}-"))
    began = time.monotonic()
    trouble = ""
    try:
        async with asyncio.timeout(bound_s):
            await trial(folder, batch, count)
    except TimeoutError:
        trouble = f"not over after {bound_s:.0f} s"
    except (AssertionError, OSError, ExceptionGroup) as error:
        trouble = _words(error)
    if not trouble and batch.verdict.problems:
        trouble = f"{len(batch.verdict.problems)} problems: " + "; ".join(batch.verdict.problems[:6])
    repeat = f"python -m tests.chaos.run --what {kind} --count {count} --seed {seed}"
    failed = trouble or next(
        (blow.note or blow.outcome for blow in batch.blows if blow.outcome not in ("ok", "void")), ""
    )
    if failed:
        print(
            f"FAILED {kind} seed {seed}: {failed}\n  again: {repeat}\n  left:  {folder}",
            file=sys.stderr,
            flush=True,
        )
    elif not keep:
        shutil.rmtree(folder, ignore_errors=True)
    lines: list[dict[str, Any]] = []
    for number, blow in enumerate(batch.blows or [Blow("none", outcome="failed")]):
        line: dict[str, Any] = {
            "kind": kind,
            "seed": seed,
            "n": number,
            "how": blow.how,
            "at": round(blow.at, 3),
            "outcome": "failed" if trouble else blow.outcome,
            "times": {name: round(value, 3) for name, value in blow.times.items()},
        }
        if failed:
            line |= {"repeat": repeat, "note": (trouble or blow.note)[:500]}
        if number == 0:
            line |= {"counts": dict(batch.verdict.counts), "wall_s": round(time.monotonic() - began, 1)}
        lines.append(line)
    return lines


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def quiet_logs() -> Any:
    """The product's own warnings (about lost connections) say nothing new here."""
    import logging

    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
