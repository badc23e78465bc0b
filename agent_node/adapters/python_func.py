"""Adapter `python`: a Python function on this device, by its own process, by a thread, or in the node's loop.

Modes. `process` (the default) runs the function in a warm worker with its own limits: whatever it does, the node goes on. `thread` is for trusted
functions that wait: Python cannot kill a thread, so a cancelled job is over, and its slot free, only when the function returns or asks for
progress. `inline` runs in the node's loop, for what is over in less than a millisecond or is asynchronous; a plain function that needs no
input costs no task at all. Counterparts: `functions` (what is written by hand), `worker_proc` (mode process).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agent_node.errors import AdapterError, WorkError
from agent_node.functions import Given, JobCancelled, JobFailed, Output, Word, as_outputs
from agent_node.functions import Job as FunctionJob
from agent_node.job import usage_of
from agent_node.policy import AgentSpec
from agent_node.worker_proc import WorkerPool
from protocol.messages.work import WorkState

from .base import OUTPUTS_MAX, Emit, Job, Made, More, Outcome

__all__ = ["InlineFunction", "ProcessFunction", "check_target"]

_STATES: Final[dict[str, WorkState]] = {"working": "working", "limited": "limited", "person": "person"}


def check_target(target: str) -> None:
    """Look whether `package.module:function` can be there, without importing it.

    Raises:
        AdapterError: its module or file does not exist.
    """
    where = target.rpartition(":")[0]
    try:
        found = (
            Path(where).is_file() if where.endswith(".py") else importlib.util.find_spec(where) is not None
        )
    except (ImportError, ValueError):
        found = False
    if not found:
        raise AdapterError(
            f"{where} cannot be imported, so {target} is not offered",
            "Install the package that has it into zwerm's environment, or correct `target`.",
        )


class ProcessFunction:
    """Functions in worker processes. `targets` maps capabilities to functions; one pool serves them all."""

    def __init__(self, spec: AgentSpec, targets: dict[str, str], pool: WorkerPool) -> None:
        self._spec = spec
        self._targets = targets
        self.pool = pool

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    def probe(self) -> None:
        """Check that every function's module exists (it is imported by the worker only)."""
        for target in dict.fromkeys(self._targets.values()):
            check_target(target)

    def instant(self, job: Job) -> Outcome | None:
        """Never: a process is never instant."""
        return None

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Do the job in a worker."""
        return await self.pool.run(self._targets[job.capability], job, emit)

    async def close(self) -> None:
        """End the workers."""
        await self.pool.close()


class InlineFunction:
    """One function in the node's own process. `mode` is `inline` or `thread`."""

    def __init__(
        self, spec: AgentSpec, function: Callable[..., Any], mode: str = "inline", *, fileless: bool = False
    ) -> None:
        self._spec = spec
        self._function = function
        self._mode = mode
        self._fileless = fileless
        self._asynchronous = asyncio.iscoroutinefunction(function)

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    def probe(self) -> None:
        """Nothing can be missing: the function is here."""

    def instant(self, job: Job) -> Outcome | None:
        """Call a plain inline function that takes no files; what needs a thread, a wait or a file is not instant."""
        if self._mode != "inline" or self._asynchronous or not self._fileless or job.inputs:
            return None
        made = self._function_job(job, lambda *_: None)
        return self._finish(self._guarded(made), job, made)

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Call the function; in a thread it is waited for even when it was cancelled, since nothing can end it."""
        stopped = threading.Event()
        loop = asyncio.get_running_loop()
        steps = 0

        def report(note: str, fraction: float) -> None:
            nonlocal steps
            if stopped.is_set():
                raise JobCancelled
            steps += 1
            if self._mode == "thread":
                loop.call_soon_threadsafe(_unless_over, emit, steps, note, None, fraction)
            else:
                emit(steps, fraction, note)

        def tell(word: Word) -> None:
            nonlocal steps
            if stopped.is_set():
                raise JobCancelled
            steps += 1  # what was spent, made or asked has moved the work
            more = More(
                _STATES[word.state], word.wait_s, usage_of(word.used or {}), _copied(word.partial, job)
            )
            if self._mode == "thread":
                loop.call_soon_threadsafe(_unless_over, emit, steps, word.note, more)
            else:
                emit(steps, 0.0, word.note, more)

        made = self._function_job(job, report, tell)
        if self._asynchronous:
            return self._finish(await self._awaited(made), job, made)
        if self._mode == "inline":
            return self._finish(self._guarded(made), job, made)
        waiting = loop.run_in_executor(None, self._guarded, made)
        try:
            return self._finish(await asyncio.shield(waiting), job, made)
        except asyncio.CancelledError:
            stopped.set()
            while not waiting.done():
                await asyncio.wait([waiting])
            if not waiting.cancelled():
                waiting.exception()
            raise

    async def close(self) -> None:
        """Nothing is kept running."""

    def _function_job(
        self, job: Job, report: Callable[[str, float], None], tell: Callable[[Word], None] | None = None
    ) -> FunctionJob:
        inputs = [Given(given.name, given.path, given.media_type) for given in job.inputs]
        made = FunctionJob(job.capability, job.params, inputs, job.missing, job.dir, report)
        if job.previous:
            made.previous = [Given(given.name, given.path, given.media_type) for given in job.previous]
        if job.caps is not None:
            made.caps = job.caps.model_dump()
        made.tell = tell
        return made

    def _guarded(self, job: FunctionJob) -> list[Output]:
        try:
            return as_outputs(self._function(job))
        except JobCancelled:
            raise WorkError("E_CANCELLED", "the work was cancelled", again=True) from None
        except JobFailed as error:
            raise _failure(error, job) from None
        except WorkError:
            raise
        except Exception as error:
            raise WorkError("E_WORK", f"{type(error).__name__}: {error}", again=True) from error

    async def _awaited(self, job: FunctionJob) -> list[Output]:
        try:
            return as_outputs(await self._function(job))
        except JobCancelled:
            raise WorkError("E_CANCELLED", "the work was cancelled", again=True) from None
        except JobFailed as error:
            raise _failure(error, job) from None
        except WorkError:
            raise
        except Exception as error:
            raise WorkError("E_WORK", f"{type(error).__name__}: {error}", again=True) from error

    def _finish(self, outputs: list[Output], job: Job, given: FunctionJob) -> Outcome:
        if len(outputs) > OUTPUTS_MAX:
            raise WorkError(
                "E_OUTPUT", f"{len(outputs)} output files; {OUTPUTS_MAX} is the most", again=False
            )
        made: list[Made] = []
        for output in outputs:
            content = output.data.encode("utf-8") if isinstance(output.data, str) else output.data
            if isinstance(content, Path):
                content = content if content.is_absolute() else job.dir / content
                if (
                    content.is_symlink()
                    or not content.is_file()
                    or job.dir.resolve() not in content.resolve().parents
                ):
                    raise WorkError(
                        "E_OUTPUT", f"the output {output.name!r} is no ordinary file of the job", again=False
                    )
            made.append(Made(output.name, content, output.media_type or "application/octet-stream"))
        return Outcome(made, used=usage_of(given.used))


def _failure(error: JobFailed, job: FunctionJob) -> WorkError:
    failed = WorkError(error.code, error.message, again=error.retry, retry_s=error.retry_s)
    failed.used = usage_of(job.used)
    return failed


def _copied(output: Output | None, job: Job) -> Made | None:
    """A file of unfinished work as it is now: the function may go on writing into it."""
    if output is None:
        return None
    if isinstance(output.data, Path):
        content = (job.dir / output.data).read_bytes()
    else:
        content = output.data.encode("utf-8") if isinstance(output.data, str) else output.data
    return Made(output.name, content, output.media_type or "application/octet-stream")


def _unless_over(emit: Emit, step: int, note: str, more: More | None, fraction: float = 0.0) -> None:
    """Say it for a thread, which cannot be told to end: what it says too much is in its ending."""
    with contextlib.suppress(WorkError):
        if more is None:
            emit(step, fraction, note)
        else:
            emit(step, fraction, note, more)
