"""Adapter `headless`: an agent program that does one task and ends, for those that speak no ACP or need none. For each job a process of its own.

Presets: `hermes -z`, `kimi -p`, `openclaw agent exec`, `codex exec`, `claude -p`. The task is written to its standard input and to the file `TASK.md`
of the folder that it starts in; it never becomes a word of the command line. Its answer, usage and cost are read from what it prints (JSON, lines
of JSON, or words) and from `usage.json`. It asks nobody for leave: it does what its own settings allow, so give it no more than the sandbox
does. Counterparts: `headless_reply`, `agent_program`, `presets`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from asyncio.subprocess import Process
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from agent_node.beneath_file import OutsideError, read_beneath
from agent_node.config import AgentEntry
from agent_node.errors import WorkError
from agent_node.job import Emit, Job, More, Outcome
from agent_node.program_proc import CpuMeter, ask_to_end

from . import Place
from .agent_program import AgentProgram
from .headless_reply import Reply, read_reply, with_usage
from .made_files import largest_below, too_much, used_below
from .presets import preset
from .program_failures import ended_early, nothing_made, says_that_it_failed
from .prompt import subtask_prompt

__all__ = ["Headless", "from_entry"]

_LOOK_S: Final = 0.5
_STDOUT: Final = "stdout"
_READ_MOST: Final = 64 << 20
"""Bytes of its output that are read for its answer."""


def from_entry(entry: AgentEntry, place: Place) -> Headless:
    """The adapter for one `[[agents]]` of the configuration."""
    found = preset(entry.preset)
    return Headless(entry, place, found.headless if found is not None else ())


class Headless(AgentProgram):
    """One agent program, run once for each job."""

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Have the job done by one run of the program."""
        meter, steps = CpuMeter(), itertools.count(1)
        prompt = subtask_prompt(job).encode("utf-8", "replace")
        work = job.dir / "work" if self._boxed else job.dir
        work.mkdir(mode=0o700, exist_ok=True)
        (work / "TASK.md").write_bytes(prompt)
        with (job.dir / _STDOUT).open("xb") as stdout:
            async with self.process(job, stdout=stdout, line_bytes=1 << 16) as process:
                problem = await self._work(process, prompt, job, emit, steps)
        reply = self._reply(job, work)
        try:
            if problem is not None:
                raise problem
            self._judge(process, job, reply)
            emit(next(steps), 1.0, "", More(used=reply.used))
            made = self.handed_over(job, reply.answer)
            if not made:
                raise nothing_made(self.who)
        except WorkError as error:
            error.used = reply.used
            if error.again:
                self.keep_unfinished(job, reply.answer, reply.used, next(steps), emit)
            raise
        return Outcome(made, meter.used_s(), reply.used)

    async def _work(
        self, process: Process, prompt: bytes, job: Job, emit: Emit, steps: Iterator[int]
    ) -> WorkError | None:
        try:
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(_feed(process, prompt))
                problem = await self._watch(process, job, emit, steps)
                feeding.cancel()
        except asyncio.CancelledError:
            await ask_to_end(process)
            raise
        return problem

    async def _watch(self, process: Process, job: Job, emit: Emit, steps: Iterator[int]) -> WorkError | None:
        """Wait for its end; growing output is a step. Returns why it had to be ended, if it had to."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.timeout_s
        given = sum(one.size for one in job.inputs)
        seen = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_S, max(0.0, end - loop.time()))):
                    await process.wait()
                    return None
            used = used_below(job.dir)
            if used > self._limits.output_bytes + given:
                return too_much(self._limits.output_bytes)
            if loop.time() >= end:
                return WorkError(
                    "E_TIMEOUT",
                    f"{self.who} was still at work after {self._limits.timeout_s:g} s and was ended; "
                    "its owner may allow it more: timeout_s",
                    again=True,
                )
            if used > seen:
                seen = used
                try:
                    emit(next(steps), 0.0, "")
                except WorkError as error:
                    return error

    def _reply(self, job: Job, work: Path) -> Reply:
        with (job.dir / _STDOUT).open("rb") as file:
            reply = read_reply(file.read(_READ_MOST).decode("utf-8", "replace"))
        with contextlib.suppress(OSError, OutsideError):
            with_usage(reply, _read(work, "usage.json"))
        return reply

    def _judge(self, process: Process, job: Job, reply: Reply) -> None:
        status = process.returncode or 0
        if status != 0 and largest_below(job.dir) >= self._limits.output_bytes:
            raise too_much(self._limits.output_bytes)
        if status == 0 and not reply.error:
            return
        said = reply.error or self.last_words(job) or reply.answer[-300:]
        if status == 0:
            raise says_that_it_failed(self.who, said, login=self.login)
        raise ended_early(self.who, status, said, when="in the middle of its work", login=self.login)


def _read(folder: Path, name: str) -> str:
    return read_beneath(folder, PurePosixPath(name), 1 << 20).decode("utf-8", "replace")


async def _feed(process: Process, prompt: bytes) -> None:
    """Write the task; a program that does not read it has it in `TASK.md`."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(prompt)
        await process.stdin.drain()
    process.stdin.close()
