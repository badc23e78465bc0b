"""Adapter `command`: a program of this device.

    [[agents]]
    name = "ocr"
    adapter = "command"
    capability = "image.text"
    argv = ["/usr/bin/ocr", "--json"]

Rules. The command line is the owner's, word for word; nothing from elsewhere is ever put into it, and there is no shell. The program gets one
JSON object on its standard input (`capability`, `params`, `inputs` with paths, `missing`, `out`) and gives back what it writes into the folder
`out`, and its standard output if that is JSON (`result.json`). While it works it may append lines of JSON to the file `report` (see `command_report`). Exit status 0 is success; otherwise the end of its standard error says why. It
runs in a sandbox (see `sandbox_proc`) with the kernel's limits on it, and everything that it started ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError, plain
from agent_node.policy import AgentSpec
from agent_node.program_proc import CpuMeter, ProgramLimits, ask_to_end, environment, running
from agent_node.running_proc import Running
from agent_node.sandbox_proc import INSIDE, check_sandbox, sandboxed

from . import Place, spec_of
from .base import Emit, Job, Outcome
from .command_report import REPORT, ReportReader
from .made_files import collected, largest_below, tail_of, too_much, used_below

__all__ = ["Command", "from_entry"]

_LOOK_S: Final = 0.5
"""How often the space that it uses is looked at."""
_STDOUT: Final = "stdout"
_STDERR: Final = "stderr"


def from_entry(entry: AgentEntry, place: Place) -> Command:
    """The adapter for one `[[agents]]` of the configuration."""
    quiet_s = max(entry.quiet_s, entry.timeout_s)
    """A program says nothing while it works, so its longest silence is as long as it may take."""
    spec = spec_of(entry, place, quiet_ms=round(quiet_s * 1000))
    limits = ProgramLimits(entry.timeout_s, entry.memory_mib << 20, entry.output_mib << 20)
    return Command(spec, entry, limits, place.running)


class Command:
    """One program, run once for each job."""

    def __init__(
        self, spec: AgentSpec, entry: AgentEntry, limits: ProgramLimits, running: Running | None = None
    ) -> None:
        self._spec = spec
        self._entry = entry
        self._argv = list(entry.argv or [])
        self._limits = limits
        self._running = running
        self._boxed = entry.sandbox != "none"

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    def probe(self) -> None:
        """Check that the program is here and that a sandbox can be made for it."""
        if shutil.which(self._argv[0]) is None:
            raise AdapterError(
                f"there is no program {self._argv[0]!r}", "Install it, or correct argv in the configuration."
            )
        if self._boxed:
            check_sandbox()

    def instant(self, job: Job) -> Outcome | None:
        """Never: a program is never instant."""
        return None

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Run the program once."""
        order = json.dumps(self._order(job, INSIDE if self._boxed else job.dir), ensure_ascii=False)
        meter = CpuMeter()
        reader = ReportReader(job.dir, root=INSIDE if self._boxed else job.dir)
        async with self._process(job) as process:
            try:
                async with asyncio.TaskGroup() as tasks:
                    feeding = tasks.create_task(_feed(process, order.encode("utf-8")))
                    problem = await self._watch(process, job, emit, reader)
                    feeding.cancel()
            except asyncio.CancelledError:
                await ask_to_end(process)
                raise
        reader.read(emit)
        try:
            if problem is not None:
                raise problem
            self._judge(process, job, reader)
        except WorkError as error:
            error.used = reader.used
            raise
        made = collected(job.dir / "out", self._stdout(job), self._limits.output_bytes)
        return Outcome(made, meter.used_s(), reader.used)

    async def close(self) -> None:
        """Nothing is kept running."""

    def _order(self, job: Job, root: Path) -> dict[str, Any]:
        inputs = [
            {
                "name": given.name,
                "path": str(root / given.path.relative_to(job.dir)),
                "media_type": given.media_type,
                "size": given.size,
            }
            for given in job.inputs
        ]
        return {
            "schema": "zwerm.job/1",
            "capability": job.capability,
            "params": job.params,
            "inputs": inputs,
            "missing": job.missing,
            "out": str(root / "out"),
            "previous": [
                {
                    "name": given.name,
                    "path": str(root / given.path.relative_to(job.dir)),
                    "media_type": given.media_type,
                }
                for given in job.previous
            ],
            "caps": job.caps.model_dump() if job.caps is not None else None,
            "report": str(root / "work" / REPORT),
        }

    @contextlib.asynccontextmanager
    async def _process(self, job: Job) -> AsyncIterator[Process]:
        (job.dir / "work").mkdir(mode=0o700)
        env = environment((INSIDE if self._boxed else job.dir) / "work", self._entry.env)
        argv = [shutil.which(self._argv[0]) or self._argv[0], *self._argv[1:]]
        if self._boxed:
            argv = sandboxed(
                self._argv, job.dir, env, network=self._entry.network, readable=self._entry.readable
            )
        with (job.dir / _STDOUT).open("xb") as stdout, (job.dir / _STDERR).open("xb") as stderr:
            async with running(
                argv,
                env,
                job.dir / "work",
                self._limits,
                agent=self._spec.name,
                entered=self._running,
                stdout=stdout,
                stderr=stderr,
            ) as process:
                yield process

    async def _watch(self, process: Process, job: Job, emit: Emit, reader: ReportReader) -> WorkError | None:
        """Wait for the end; growing output is a step, and so is what it reports. Returns why it had to be ended, if it had to."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.timeout_s
        seen = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_S, max(0.0, end - loop.time()))):
                    await process.wait()
                    return None
            used = used_below(job.dir)
            if used > self._limits.output_bytes + sum(given.size for given in job.inputs):
                return too_much(self._limits.output_bytes)
            if loop.time() >= end:
                message = f"the program was still running after {self._limits.timeout_s:g} s and was ended"
                return WorkError("E_TIMEOUT", message, again=True)
            try:
                if not reader.read(emit) and used > seen:
                    reader.moved(emit)
            except WorkError as error:
                return error
            seen = max(seen, used)

    def _judge(self, process: Process, job: Job, reader: ReportReader) -> None:
        status = process.returncode or 0
        if status == 0:
            return
        if reader.failure is not None:
            raise reader.failure
        tail = tail_of(job.dir / _STDERR)
        said = f": {tail}" if tail else " and said nothing"
        # A sandbox reports the signal that ended its program as 128 + number, as shells do.
        number = -status if status < 0 else status - 128 if status > 128 else 0
        if number == signal.SIGXFSZ or largest_below(job.dir) >= self._limits.output_bytes:
            raise too_much(self._limits.output_bytes)
        if number == signal.SIGXCPU:
            raise WorkError("E_CPU_LIMIT", "the program used more processor time than it may", again=False)
        if number in set(signal.Signals):
            name = signal.Signals(number).name
            raise WorkError("E_COMMAND", f"the program was ended by {name}{said}", again=True)
        raise WorkError("E_COMMAND", f"the program ended with status {status}{said}", again=True)

    def _stdout(self, job: Job) -> Path | None:
        """The program's standard output if it is a result."""
        if self._entry.output == "files":
            return None
        path = job.dir / _STDOUT
        try:
            with path.open("rb") as file:
                json.load(file)
        except (ValueError, RecursionError, MemoryError):
            if self._entry.output == "stdout.json":
                message = "the program's standard output is not JSON"
                raise WorkError("E_OUTPUT", f"{message}; it begins: {_head(path)!r}", again=False) from None
            return None
        return path


async def _feed(process: Process, order: bytes) -> None:
    """Write the order; a program that does not read it is none of our business."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(order)
        await process.stdin.drain()
    process.stdin.close()


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return plain(file.read(80).decode("utf-8", "replace"), 80)
