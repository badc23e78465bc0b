"""Adapter `acp`: an agent that speaks the Agent Client Protocol (version 1) on its standard input and output. For each job a process of its own.

    initialize -> (authenticate) -> session/new -> (session/set_mode) -> session/prompt ... session/update ... -> end of the turn

Rules. The job becomes a prompt (`prompt`), plans and tools become progress, usage is passed on as it is told. A request for leave is answered by
the entry's `permission`: `auto` gives it for this once, `never` does not, `ask` asks a person. Files that the agent reads and writes through us are
those of its job and no others. However it ends, nothing of it runs afterwards: asked first (session/cancel, the end of its input, SIGTERM), then
killed. Counterparts: `acp_turn` (what messages mean), `acp_talk` (answers the agent), `program_failures`, `agent_program`.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from asyncio.subprocess import PIPE, Process
from typing import Any, Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError
from agent_node.job import Emit, Job, Outcome
from agent_node.program_proc import CpuMeter, ask_to_end

from . import Place
from .acp_talk import Talk
from .acp_turn import Turn
from .acp_wire import LINE_MOST, Wire
from .agent_program import AgentProgram
from .made_files import largest_below, too_much, used_below
from .presets import preset
from .program_failures import ended_early
from .prompt import subtask_prompt

__all__ = ["Acp", "from_entry"]

_LOOK_S: Final = 0.5
"""How often the space that it uses is looked at, and whether it still runs."""
_CANCEL_S: Final = 1.0
"""How long it may take to end its turn when it is asked to."""


def from_entry(entry: AgentEntry, place: Place) -> Acp:
    """The adapter for one `[[agents]]` of the configuration."""
    found = preset(entry.preset)
    return Acp(entry, place, found.acp if found is not None else ())


class Acp(AgentProgram):
    """One agent program, started for each job."""

    def probe(self) -> None:
        """Check that the program, its sandbox and the protocol's library are here."""
        super().probe()
        if importlib.util.find_spec("acp") is None:
            raise AdapterError(
                "the Agent Client Protocol's library is not installed",
                "Install zwerm with it: pip install 'zwerm[acp]'",
            )

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Have the job done in one session of one turn."""
        meter, turn = CpuMeter(), Turn()
        talk = Talk(turn, job, self._entry, self._place.ask, emit, boxed=self._boxed)
        try:
            async with self.process(job, stdout=PIPE, line_bytes=LINE_MOST) as process:
                wire = Wire(process, turn, self._limits.output_bytes, talk.fail, self.who)
                problem = await self._talk(process, wire, talk, job)
            if problem is not None:
                raise problem
            talk.judge(self.who)
            made = self.handed_over(job, turn.answer)
            talk.judge_made(self.who, made)
        except WorkError as error:
            error.used = turn.used if talk.prompted else None
            if talk.prompted and error.again:
                self.keep_unfinished(job, turn.answer, turn.used, talk.step, emit)
            raise
        return Outcome(made, meter.used_s(), turn.used)

    async def _talk(self, process: Process, wire: Wire, talk: Talk, job: Job) -> WorkError | None:
        """The whole conversation; returns why it came to nothing, if it did."""
        # The first time it takes a good part of a second, and the node has other things to do.
        library = await asyncio.to_thread(importlib.import_module, "acp.connection")
        connection = library.Connection(talk.handle, wire)
        try:
            async with asyncio.TaskGroup() as tasks:
                turn = tasks.create_task(
                    talk.converse(connection, subtask_prompt(job), self.folder(job), self.who, self.login)
                )
                watch = tasks.create_task(self._watch(process, job, talk))
                ends: list[asyncio.Future[Any]] = [turn, watch, talk.failed]
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    await _asked_to_end(process, talk, connection, turn)
                    raise
                problem = await self._problem(process, job, talk, turn, watch)
                turn.cancel()
                watch.cancel()
            if problem is None:
                await _closed(process, wire)
            return problem
        finally:
            await connection.close()

    async def _problem(
        self,
        process: Process,
        job: Job,
        talk: Talk,
        turn: asyncio.Task[WorkError | None],
        watch: asyncio.Task[WorkError | None],
    ) -> WorkError | None:
        if talk.failed.done():
            return talk.failed.result()
        if turn.done() and not talk.gone:
            return turn.result()
        stopped = watch.result() if watch.done() else None
        return stopped or self._ended_early(await _status(process), job, talk)

    def _ended_early(self, status: int | None, job: Job, talk: Talk) -> WorkError:
        if largest_below(job.dir) >= self._limits.output_bytes:
            return too_much(self._limits.output_bytes)
        return ended_early(
            self.who,
            status,
            self.last_words(job),
            when=talk.phase,
            login=self.login,
            noise=talk.turn.first_noise,
        )

    async def _watch(self, process: Process, job: Job, talk: Talk) -> WorkError | None:
        """Look at its time, its files and its life. Returns why it has to be ended; None: it has ended by itself."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        given = sum(one.size for one in job.inputs)
        while process.returncode is None:
            await asyncio.sleep(_LOOK_S)
            if used_below(job.dir) > self._limits.output_bytes + given:
                return too_much(self._limits.output_bytes)
            spent_s = loop.time() - began - talk.waited_s(loop.time())
            if spent_s >= self._limits.timeout_s:
                return WorkError(
                    "E_TIMEOUT",
                    f"{self.who} was still at work after {self._limits.timeout_s:g} s ({talk.phase}) and was ended; "
                    "its owner may allow it more: timeout_s",
                    again=True,
                )
        # What it said before it ended is on its way.
        await asyncio.sleep(_LOOK_S)
        return None


async def _asked_to_end(
    process: Process, talk: Talk, connection: object, turn: asyncio.Task[WorkError | None]
) -> None:
    """Ask politely; `process` is killed by whoever opened it."""
    if await talk.cancel(connection):
        await asyncio.wait({turn}, timeout=_CANCEL_S)
    await ask_to_end(process)


async def _closed(process: Process, wire: Wire) -> None:
    """Its turn is over: the end of its input tells it to go."""
    await wire.close()
    try:
        async with asyncio.timeout(_CANCEL_S):
            await process.wait()
    except TimeoutError:
        await ask_to_end(process)


async def _status(process: Process) -> int | None:
    try:
        async with asyncio.timeout(_CANCEL_S):
            return await process.wait()
    except TimeoutError:
        return None
