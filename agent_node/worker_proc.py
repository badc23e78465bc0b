"""Shell: warm worker processes of one agent, as seen from the node.

Rules. A worker does one job at a time, in its own session, with a clean environment and limits set by the kernel; it is started when a job needs
it, kept while it is useful, and replaced after `recycle_jobs` jobs, when it holds more than `recycle_bytes`, or when anything about it is
in doubt. Cancelling a job asks the worker first, then signals its group, then kills all that it started. A worker that dies fails its job
with `E_WORKER_DIED` and nothing else. Counterpart: `worker` (the other end of the pipe).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from protocol.messages import Usage

from .confine_proc import needed_by_python
from .errors import WorkError, plain
from .job import OUTPUTS_MAX, Emit, Job, Made, More, Outcome, usage_of
from .running_proc import Running
from .tree_proc import MARK_NAME, end_descendants, kill_all, signal_group

__all__ = ["ASK_S", "TERM_S", "WorkerLimits", "WorkerPool"]

ASK_S: Final = 1.0
"""How long a cancelled job may take to end by itself before its process gets SIGTERM."""
TERM_S: Final = 1.0
"""How long after SIGTERM it is killed."""
_START_S: Final = 30.0
_FRAME_MAX: Final = 64 << 20
_HEAD: Final = struct.Struct(">I")
_TAIL_BYTES: Final = 2000
_PLAIN_STEP: Final = 4
"""How many entries a step has that is nothing but a step."""
_ROOT: Final = str(Path(__file__).resolve().parent.parent)
_BOOT: Final = f"import sys; sys.path.insert(0, {_ROOT!r}); from agent_node.worker import main; main()"


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may use; 0 means no limit. `cpu_s` is for one job, the others for the process."""

    memory: int = 2 << 30
    files: int = 256
    file_bytes: int = 1 << 30
    cpu_s: float = 600.0
    output_bytes: int = 1 << 30
    recycle_jobs: int = 500
    recycle_bytes: int = 512 << 20


class _Worker:
    """One process."""

    def __init__(self, process: Process, errors: Path, mark: str) -> None:
        self.process = process
        self.mark = mark
        self.jobs = 0
        self.rss = 0
        self._errors = errors

    async def write(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        body = msgpack.packb(frame)
        self.process.stdin.write(_HEAD.pack(len(body)) + body)
        await self.process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        """The next frame. Raises IncompleteReadError at the end of the stream, ValueError for one that is no frame of ours."""
        assert self.process.stdout is not None
        (length,) = _HEAD.unpack(await self.process.stdout.readexactly(_HEAD.size))
        if length > _FRAME_MAX:
            raise ValueError(f"a frame of {length} bytes")
        frame = msgpack.unpackb(await self.process.stdout.readexactly(length))
        if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
            raise ValueError("a frame without a kind")  # noqa: TRY004 - one kind of failure for the caller
        return frame

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def end(self) -> int:
        """Kill it with all that it has started, and wait until it is gone; returns its exit status."""
        kill_all(self.process.pid if self.alive else None, self.mark)
        if self.process.stdin is not None:
            self.process.stdin.close()
        status = await self.process.wait()
        kill_all(None, self.mark)
        with contextlib.suppress(OSError):
            self._errors.unlink()
        return status

    def tail(self) -> str:
        """The last of what it wrote to stderr."""
        with contextlib.suppress(OSError), self._errors.open("rb") as file:
            file.seek(max(0, self._errors.stat().st_size - _TAIL_BYTES))
            return plain(file.read().decode("utf-8", "replace"), 400).strip()
        return ""


class WorkerPool:
    """The workers of one agent. How many run at once is the caller's business: it has slots."""

    def __init__(
        self,
        name: str,
        folder: Path,
        limits: WorkerLimits,
        *,
        path: Sequence[str] = (),
        env: dict[str, str] | None = None,
        confined: bool = False,
        running: Running | None = None,
    ) -> None:
        """Args: `path` is where modules are found (the node's own places when left out); `confined`, see `confine_proc`."""
        self.name = name
        self.limits = limits
        self._folder = folder
        self._path = list(path)
        self._confined = confined
        self._running = running
        self._env = env or {}
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live."""
        return [worker.process.pid for worker in self._all if worker.alive]

    async def run(self, target: str, job: Job, emit: Emit) -> Outcome:
        """Do one job in a worker.

        Raises:
            WorkError: it failed; or its worker died, used too much, or made too much.
        """
        worker = await self._take()
        healthy = False
        try:
            try:
                await worker.write(_job_frame(target, job))
                answer = await self._answer(worker, job, emit)
            except asyncio.CancelledError:
                healthy = await _ask_to_stop(worker)
                raise
            except (
                asyncio.IncompleteReadError,
                ConnectionError,
                ValueError,
                msgpack.UnpackException,
            ) as error:
                raise await self._died(worker, error) from None
            healthy = True
            worker.jobs += 1
            worker.rss = int(answer.get("rss_kib", 0)) * 1024
            used = usage_of(answer.get("used") or {})
            if answer["t"] == "failed":
                raise _failure(answer, used)
            return Outcome(
                _made(answer, job, self.limits.output_bytes), float(answer.get("cpu_s", 0.0)), used
            )
        finally:
            await self._give_back(worker, healthy=healthy)

    async def warm(self) -> None:
        """Start one worker ahead of the first job."""
        if not self._all:
            self._idle.append(await self._start())

    async def close(self) -> None:
        """End all workers."""
        workers, self._all = list(self._all), set()
        self._idle.clear()
        for worker in workers:
            await worker.end()
            self._ended(worker.mark)

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await self._retire(worker)
        return await self._start()

    async def _give_back(self, worker: _Worker, *, healthy: bool) -> None:
        used_up = worker.jobs >= self.limits.recycle_jobs or worker.rss > self.limits.recycle_bytes > 0
        if healthy and worker.alive and not used_up and worker in self._all:
            end_descendants(worker.process.pid)
            self._idle.append(worker)
        else:
            await self._retire(worker)

    async def _retire(self, worker: _Worker) -> int:
        self._all.discard(worker)
        status = await worker.end()
        self._ended(worker.mark)
        return status

    def _ended(self, mark: str) -> None:
        if self._running is not None:
            self._running.ended(mark)

    async def _start(self) -> _Worker:
        mark = os.urandom(8).hex()
        if self._running is not None:
            self._running.begin(mark, self.name)
        descriptor, name = tempfile.mkstemp(prefix=f".{self.name}-", suffix=".err", dir=self._folder)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self._folder),
            MARK_NAME: mark,
            **self._env,
        }
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-c",
                _BOOT,
                str(os.getpid()),
                stdin=PIPE,
                stdout=PIPE,
                stderr=descriptor,
                cwd="/",
                env=environment,
                start_new_session=True,
                limit=1 << 20,
            )
        except OSError as error:
            os.unlink(name)  # noqa: PTH108 - one system call
            self._ended(mark)
            raise WorkError(
                "E_WORKER", f"no worker process can be started: {error.strerror}", again=True
            ) from None
        finally:
            os.close(descriptor)
        worker = _Worker(process, Path(name), mark)
        self._all.add(worker)
        try:
            if self._running is not None:
                self._running.started(mark, process.pid)
            limits = {
                "memory": self.limits.memory,
                "files": self.limits.files,
                "file_bytes": self.limits.file_bytes,
                "cpu_s": self.limits.cpu_s,
            }
            path = self._path or sys.path
            setup = {
                "t": "setup",
                "path": needed_by_python(path) if self._confined else path,
                "limits": limits,
                "writable": [str(self._folder)] if self._confined else [],
            }
            await worker.write(setup)
            async with asyncio.timeout(_START_S):
                ready = await worker.read()
            if ready["t"] != "ready":
                raise ValueError(f"it said {ready['t']!r}")
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            failure = await self._died(worker, error)
            raise WorkError("E_WORKER", f"a worker did not start: {failure.message}", again=True) from None
        except BaseException:
            await self._retire(worker)
            raise
        return worker

    async def _answer(self, worker: _Worker, job: Job, emit: Emit) -> dict[str, Any]:
        while True:
            frame = await worker.read()
            if frame["t"] == "step":
                step, fraction, note = int(frame["n"]), float(frame["fraction"]), str(frame["note"])
                if len(frame) == _PLAIN_STEP:
                    emit(step, fraction, note)
                else:
                    emit(step, fraction, note, _more(frame, job, self.limits.output_bytes))
            elif frame["t"] in ("done", "failed"):
                return frame
            else:
                raise ValueError(f"a frame of the unknown kind {frame['t']!r}")

    async def _died(self, worker: _Worker, error: Exception) -> WorkError:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_S):
                await worker.process.wait()
        unasked = worker.alive
        tail = worker.tail()
        status = await self._retire(worker)
        said = f"; it last said: {tail}" if tail else ""
        if unasked:
            return WorkError("E_WORKER_DIED", f"the worker broke off in disorder ({error}){said}", again=True)
        if status == -signal.SIGXCPU:
            allowed = f"more than {self.limits.cpu_s:g} s of processor time"
            return WorkError("E_CPU_LIMIT", f"the work used {allowed} and was ended", again=False)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return WorkError(
            "E_WORKER_DIED", f"the worker process {how} in the middle of the work{said}", again=True
        )


def _failure(answer: dict[str, Any], used: Usage | None) -> WorkError:
    error = WorkError(
        str(answer["code"]),
        str(answer["message"]),
        again=bool(answer["again"]),
        retry_s=float(answer.get("retry_s", 0.0)),
    )
    error.used = used
    return error


def _more(frame: dict[str, Any], job: Job, most: int) -> More:
    """What a worker says beside a step, none of which is believed."""
    state = frame.get("state", "working")
    if state not in ("working", "limited", "person"):
        raise ValueError(f"a step in the unknown state {state!r}")
    partial = frame.get("partial")
    made = _made({"outputs": [partial]}, job, most)[0] if partial is not None else None
    return More(state, float(frame.get("wait_s", 0.0)), usage_of(frame.get("used") or {}), made)


def _job_frame(target: str, job: Job) -> dict[str, Any]:
    return {
        "t": "job",
        "target": target,
        "capability": job.capability,
        "params": job.params,
        "inputs": [[given.name, str(given.path), given.media_type] for given in job.inputs],
        "missing": job.missing,
        "dir": str(job.dir),
        "previous": [[given.name, str(given.path), given.media_type] for given in job.previous],
        "caps": job.caps.model_dump() if job.caps is not None else None,
    }


async def _ask_to_stop(worker: _Worker) -> bool:
    """Ask, then SIGTERM; whether the worker ended its job by itself and can do another."""
    try:
        async with asyncio.timeout(ASK_S):
            await worker.write({"t": "cancel"})
            while (await worker.read())["t"] not in ("done", "failed"):
                pass
            return True
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, ValueError, msgpack.UnpackException):
        pass
    if worker.alive:
        signal_group(worker.process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_S):
                await worker.process.wait()
    return False


def _made(answer: dict[str, Any], job: Job, most: int) -> list[Made]:
    """The outputs that a worker names, none of which is believed: each must be an ordinary file of the job."""
    listed = answer["outputs"]
    if len(listed) > OUTPUTS_MAX:
        raise WorkError("E_OUTPUT", f"{len(listed)} output files; {OUTPUTS_MAX} is the most", again=False)
    outputs: list[Made] = []
    total = 0
    root = job.dir.resolve()
    for name, where, media_type in listed:
        path = Path(where)
        if path.is_symlink() or not path.is_file() or root not in path.resolve().parents:
            raise WorkError("E_OUTPUT", f"the output {name!r} is no ordinary file of the job", again=False)
        total += path.stat().st_size
        if total > most:
            raise WorkError(
                "E_OUTPUT_LIMIT", f"the outputs are larger than the {most:,} bytes allowed", again=False
            )
        outputs.append(Made(str(name), path, str(media_type)))
    return outputs
