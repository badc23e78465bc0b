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
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError, plain
from agent_node.policy import AgentSpec
from agent_node.running_proc import Running
from agent_node.sandbox_proc import INSIDE, check_sandbox, sandboxed
from agent_node.tree_proc import MARK_NAME, kill_all, signal_group

from . import Place, spec_of
from .base import OUTPUTS_MAX, Emit, Job, Made, Outcome
from .command_report import REPORT, ReportReader

__all__ = ["Command", "CommandLimits", "from_entry"]

_LAUNCHER: Final = str(Path(__file__).resolve().parent.parent / "limits_proc.py")
_ASK_S: Final = 1.0
"""How long after SIGTERM a cancelled program is killed."""
_LOOK_S: Final = 0.5
"""How often the space that it uses is looked at."""
_TAIL_BYTES: Final = 2000
_STDOUT: Final = "stdout"
_STDERR: Final = "stderr"
_TYPES: Final = {
    ".json": "application/json",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """What one run of the program may use."""

    timeout_s: float = 600.0
    memory: int = 2 << 30
    output_bytes: int = 1 << 30
    files: int = 1024


def from_entry(entry: AgentEntry, place: Place) -> Command:
    """The adapter for one `[[agents]]` of the configuration."""
    quiet_s = max(entry.quiet_s, entry.timeout_s)
    """A program says nothing while it works, so its longest silence is as long as it may take."""
    spec = spec_of(entry, place, quiet_ms=round(quiet_s * 1000))
    limits = CommandLimits(entry.timeout_s, entry.memory_mib << 20, entry.output_mib << 20)
    return Command(spec, entry, limits, place.running)


class Command:
    """One program, run once for each job."""

    def __init__(
        self, spec: AgentSpec, entry: AgentEntry, limits: CommandLimits, running: Running | None = None
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
        root = INSIDE if self._boxed else job.dir
        order = json.dumps(self._order(job, root), ensure_ascii=False).encode("utf-8")
        mark = os.urandom(8).hex()
        if self._running is not None:
            self._running.begin(mark, self._spec.name)
        try:
            return await self._run(job, emit, mark, order)
        finally:
            if self._running is not None:
                self._running.ended(mark)

    async def _run(self, job: Job, emit: Emit, mark: str, order: bytes) -> Outcome:
        out = job.dir / "out"
        before, began = _children_cpu_s(), asyncio.get_running_loop().time()
        reader = ReportReader(job.dir, root=INSIDE if self._boxed else job.dir)
        process = await self._start(job, mark)
        try:
            if self._running is not None:
                self._running.started(mark, process.pid)
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(_feed(process, order))
                problem = await self._watch(process, job, emit, reader)
                feeding.cancel()
        except asyncio.CancelledError:
            await self._stop(process)
            raise
        finally:
            kill_all(process.pid if process.returncode is None else None, mark)
            await process.wait()
        kill_all(None, mark)
        reader.read(emit)
        try:
            if problem is not None:
                raise problem
            self._judge(process, job, reader)
        except WorkError as error:
            error.used = reader.used
            raise
        # Of all programs that ended meanwhile, so no more than this one can have used in its time.
        most = (asyncio.get_running_loop().time() - began) * (os.cpu_count() or 1)
        cpu_s = min(most, max(0.0, _children_cpu_s() - before))
        return Outcome(_collected(out, self._stdout(job), self._limits.output_bytes), cpu_s, reader.used)

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

    async def _start(self, job: Job, mark: str) -> Process:
        (job.dir / "work").mkdir(mode=0o700)
        home = str((INSIDE if self._boxed else job.dir) / "work")
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, MARK_NAME: mark}
        env.update(self._entry.env)
        argv = self._argv
        if self._boxed:
            argv = sandboxed(argv, job.dir, env, network=self._entry.network, readable=self._entry.readable)
        else:
            argv = [shutil.which(argv[0]) or argv[0], *argv[1:]]
        limits = {
            "memory": self._limits.memory,
            "files": self._limits.files,
            "file_bytes": self._limits.output_bytes,
            "cpu_hard_s": int(self._limits.timeout_s * (os.cpu_count() or 1)) + 1,
        }
        launch = {"parent": os.getpid(), "limits": limits, "argv": argv, "env": env}
        with (job.dir / _STDOUT).open("xb") as stdout, (job.dir / _STDERR).open("xb") as stderr:
            try:
                return await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-I",
                    "-S",
                    _LAUNCHER,
                    json.dumps(launch),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=job.dir / "work",
                    env={"LANG": "C.UTF-8", MARK_NAME: mark},
                    start_new_session=True,
                )
            except OSError as error:
                raise WorkError(
                    "E_COMMAND", f"the program cannot be started: {error.strerror}", again=True
                ) from None

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
            used = _used(job.dir)
            if used > self._limits.output_bytes + sum(given.size for given in job.inputs):
                return _too_much(self._limits.output_bytes)
            if loop.time() >= end:
                message = f"the program was still running after {self._limits.timeout_s:g} s and was ended"
                return WorkError("E_TIMEOUT", message, again=True)
            try:
                if not reader.read(emit) and used > seen:
                    reader.moved(emit)
            except WorkError as error:
                return error
            seen = max(seen, used)

    async def _stop(self, process: Process) -> None:
        """Ask the program to end, and wait a moment; whoever called kills what is left."""
        signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASK_S):
                await process.wait()

    def _judge(self, process: Process, job: Job, reader: ReportReader) -> None:
        status = process.returncode or 0
        if status == 0:
            return
        if reader.failure is not None:
            raise reader.failure
        tail = _tail(job.dir / _STDERR)
        said = f": {tail}" if tail else " and said nothing"
        # A sandbox reports the signal that ended its program as 128 + number, as shells do.
        number = -status if status < 0 else status - 128 if status > 128 else 0
        if number == signal.SIGXFSZ or _largest(job.dir) >= self._limits.output_bytes:
            raise _too_much(self._limits.output_bytes)
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


def _too_much(limit: int) -> WorkError:
    return WorkError(
        "E_OUTPUT_LIMIT", f"the program wrote more than the {limit:,} bytes allowed", again=False
    )


def _sizes(folder: Path) -> Iterator[int]:
    """Sizes of the files below a folder; links are not followed."""
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                yield (Path(where) / name).lstat().st_size


def _used(folder: Path) -> int:
    return sum(_sizes(folder))


def _largest(folder: Path) -> int:
    return max(_sizes(folder), default=0)


def _collected(out: Path, stdout: Path | None, limit: int) -> list[Made]:
    """The program's outputs: standard output first, then the files in `out` by name. Links and special files are left out."""
    made = [Made("result.json", stdout, "application/json")] if stdout is not None else []
    total = sum(entry.content.stat().st_size for entry in made if isinstance(entry.content, Path))
    for path in sorted(out.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        total += path.stat().st_size
        name = plain(path.relative_to(out).as_posix(), 255)
        made.append(Made(name, path, _TYPES.get(path.suffix.lower(), "application/octet-stream")))
        if len(made) > OUTPUTS_MAX:
            raise WorkError("E_OUTPUT", f"the program made more than {OUTPUTS_MAX} files", again=False)
    if total > limit:
        raise _too_much(limit)
    return made


def _tail(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return plain(file.read().decode("utf-8", "replace"), 800).strip()
    return ""


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return plain(file.read(80).decode("utf-8", "replace"), 80)


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system
