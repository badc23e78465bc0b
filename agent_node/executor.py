"""Shell: carries out awards. One task for each that takes time; what is over at once costs none.

Rules. Inputs are fetched into a private directory (0700) before the adapter sees the job and their digests hold; outputs are stored in the
workspace before `WorkDone` is told; the directory is gone afterwards, however the job ended. Exactly one of WorkDone, WorkFailed, WorkStopped
comes back for every start. Names from elsewhere never become paths. Counterparts: `agent` (orders), `adapters` (do the work).
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from mesh.clock import Clock
from mesh.errors import MeshError, no_room
from protocol.artifact import ArtifactRef
from protocol.errors import ZwermError
from protocol.messages import NamedRef

from .adapters.base import Adapter, InputPath, Job, Made, More, Outcome
from .cache_file import InputCache
from .errors import WorkError, plain
from .events import AttemptKey, Event, InputsCached, Start, WorkDone, WorkFailed, WorkProgress, WorkStopped
from .spending import Spending, least

__all__ = ["Executor", "Store"]

log = logging.getLogger("zwerm.agent.executor")

_RESULT_BYTES: Final = 60_000
"""What the files of one result may take in its message (SPEC MSG-3: 64 KiB)."""
_FILE_BYTES: Final = 160
"""Of which one file takes so many beside its name and type."""
_KEEP_S: Final = 5.0
_PAUSE_FIRST_S: Final = 0.2
_PAUSE_MOST_S: Final = 5.0
_AT_ONCE: Final = 256 * 1024
_SUFFIX: Final = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


class Store(Protocol):
    """The part of the workspace that an executor needs: see `mesh.workspace.Artifacts`."""

    async def put(self, source: bytes | Path, writer: str) -> ArtifactRef:
        """Store content under its digest."""
        ...

    def get(self, ref: ArtifactRef) -> AsyncIterator[bytes]:
        """The content, whose digest holds if the iteration ends without an error."""
        ...


class Executor:
    """All running work of one node."""

    def __init__(
        self,
        adapters: dict[str, Adapter],
        store: Store,
        writer: str,
        folder: Path,
        clock: Clock,
        tell: Callable[[Event], None],
        cache: InputCache,
    ) -> None:
        self._adapters = adapters
        self._store = store
        self._writer = writer
        self._folder = folder
        self._clock = clock
        self._tell = tell
        self._cache = cache
        self._tasks: asyncio.TaskGroup | None = None
        self._running: dict[AttemptKey, asyncio.Task[None]] = {}
        self._serial = 0

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """Start work in this group from now on."""
        self._tasks = tasks

    def start(self, order: Start) -> Event | None:
        """Carry out an award. Returns what became of it if it is over already; otherwise `tell` is called when it is."""
        if order.key in self._running:
            return None
        self._serial += 1
        adapter = self._adapters[order.agent]
        award = order.award
        job = Job(
            id=f"{self._serial:06d}",
            capability=award.capability,
            params=dict(award.params),
            dir=self._folder / f"{self._serial:06d}",
            missing=[item.model_dump() for item in award.missing],
            caps=least(award.caps, adapter.spec.caps),
            output_schema=award.output_schema,
            run=order.key.run,
        )
        if not award.inputs and not award.partial:
            try:
                began = self._clock.monotonic()
                outcome = adapter.instant(job)
                if outcome is not None and not outcome.outputs:
                    wall_ms = round((self._clock.monotonic() - began) * 1000)
                    return WorkDone(order.key, (), wall_ms, round(outcome.cpu_s * 1000), outcome.used)
            except WorkError as error:
                return _failed(order.key, error)
        if self._tasks is None:
            return WorkFailed(order.key, "E_SHUTDOWN", "the node is going down", retryable=True)
        self._running[order.key] = self._tasks.create_task(self._carry_out(order, job, adapter))
        return None

    def stop(self, key: AttemptKey) -> None:
        """Stop an award's work; harmless when it is over."""
        task = self._running.get(key)
        if task is not None:
            task.cancel()

    @property
    def running(self) -> int:
        """How many tasks carry out awards."""
        return len(self._running)

    async def _carry_out(self, order: Start, job: Job, adapter: Adapter) -> None:
        key = order.key
        event: WorkDone | WorkFailed | WorkStopped = WorkStopped(key)
        began = self._clock.monotonic()
        spending = Spending(job.caps)
        keeping: set[asyncio.Task[None]] = set()

        def emit(step: int, fraction: float, note: str, more: More | None = None) -> None:
            if more is None:
                spending.moved(step)
                spending.waits = None
                self._tell(WorkProgress(key, step, fraction, note))
                return
            spending.moved(step, more.used)
            if more.partial is not None:
                self._keep_partial(key, more.partial, spending, keeping)
            wait_ms = round(more.wait_s * 1000)
            spending.waits = (more.state, wait_ms) if more.state != "working" else None
            self._tell(WorkProgress(key, step, fraction, note, more.state, wait_ms, spending.used))

        try:
            try:
                await self._prepare(order, job)
                outcome = await adapter.run(job, emit)
                outputs = await self._put_all(outcome, spending)
                wall_ms = round((self._clock.monotonic() - began) * 1000)
                event = WorkDone(key, tuple(outputs), wall_ms, round(outcome.cpu_s * 1000), spending.used)
            except WorkError as error:
                spending.ended(error.used)
                event = _failed(key, error)
            except ZwermError as error:
                # The workspace: an input that is gone or damaged, a full disk, a bus that is away. Elsewhere it may go otherwise.
                event = WorkFailed(
                    key, error.code, plain(f"{error.message} {error.hint}".strip()), retryable=True
                )
            except OSError as error:
                code = "E_DISK_FULL" if no_room(error) else "E_DISK"
                event = WorkFailed(key, code, f"the job's directory: {error.strerror}", retryable=True)
            except Exception as error:
                log.exception("%s failed in its adapter", key)
                event = WorkFailed(
                    key, "E_INTERNAL", plain(f"{type(error).__name__}: {error}"), retryable=True
                )
        finally:
            await _until_kept(keeping)
            if not isinstance(event, WorkDone):
                event = replace(event, used=spending.used, partial=spending.kept)
            # In this order: nothing of the job is left, on the disk neither, when its end is told.
            shutil.rmtree(job.dir, ignore_errors=True)
            del self._running[key]
            self._tell(event)

    async def _prepare(self, order: Start, job: Job) -> None:
        for folder in (job.dir, job.dir / "in", job.dir / "out"):
            folder.mkdir(mode=0o700)
        for number, named in enumerate(order.award.inputs):
            suffix = _SUFFIX.search(named.name)
            path = job.dir / "in" / f"{number:04d}{suffix.group().lower() if suffix else ''}"
            if not await self._off_loop(named.ref.size, self._cache.copy_to, named.ref, path):
                await self._fetch(named.ref, path)
            job.inputs.append(InputPath(named.name, path, named.media_type, named.ref.size))

        for number, named in enumerate(order.award.partial):
            suffix = _SUFFIX.search(named.name)
            path = job.dir / "in" / f"previous-{number:04d}{suffix.group().lower() if suffix else ''}"
            try:
                await self._fetch(named.ref, path)
            except ZwermError as error:
                # A help, not a condition: without it the work begins at its beginning.
                log.warning("what an earlier attempt left, %r, is not there: %s", named.name, error.message)
                path.unlink(missing_ok=True)
                continue
            job.previous.append(InputPath(named.name, path, named.media_type, named.ref.size))

    async def _put_all(self, outcome: Outcome, spending: Spending) -> list[NamedRef]:
        """Put the outputs into the workspace, if they may be."""
        spending.ended(outcome.used)
        spending.check()
        spending.store(sum(_size(made) for made in outcome.outputs))
        outputs = [await self._keep_surely(made) for made in outcome.outputs]
        _check_sayable(outputs)
        return outputs

    def _keep_partial(
        self, key: AttemptKey, made: Made, spending: Spending, keeping: set[asyncio.Task[None]]
    ) -> None:
        """Store a file of unfinished work beside the work; the next word about it names the file."""
        spending.store(_size(made))
        if isinstance(made.content, Path) and made.content.stat().st_size < _AT_ONCE:
            made = Made(made.name, made.content.read_bytes(), made.media_type)

        async def keep() -> None:
            try:
                spending.keep(await self._keep(made))
            except (ZwermError, OSError) as error:
                log.warning("unfinished work %r is not kept: %s", made.name, error)
                return
            state, wait_ms = spending.waits or ("working", 0)
            kept = tuple(spending.kept)
            self._tell(WorkProgress(key, spending.step, 0.0, "", state, wait_ms, spending.used, kept))

        if self._tasks is not None:
            task = self._tasks.create_task(keep())
            keeping.add(task)
            task.add_done_callback(keeping.discard)

    async def _fetch(self, ref: ArtifactRef, path: Path) -> None:
        with path.open("xb") as file:
            async for chunk in self._store.get(ref):
                file.write(chunk)
        await self._remember(ref, path)

    async def _keep_surely(self, made: Made) -> NamedRef:
        """Finished work is not lost because the bus is away just now: it waits, until its deadline or an order to stop."""
        pause_s = _PAUSE_FIRST_S
        while True:
            try:
                return await self._keep(made)
            except MeshError as error:
                if not error.retryable:
                    raise
                log.warning("%r cannot be stored yet: %s", made.name, error.message)
            await asyncio.sleep(pause_s)
            pause_s = min(_PAUSE_MOST_S, 2 * pause_s)

    async def _keep(self, made: Made) -> NamedRef:
        ref = await self._store.put(made.content, self._writer)
        await self._remember(ref, made.content)
        name = plain(made.name, 255).strip() or "output"
        return NamedRef(name=name, media_type=made.media_type[:127] or "application/octet-stream", ref=ref)

    async def _remember(self, ref: ArtifactRef, content: bytes | Path) -> None:
        kept = await self._off_loop(ref.size, self._cache.add, ref, content)
        if kept is not None:
            self._tell(InputsCached(kept.held, kept.gone))

    async def _off_loop(self, size: int, function: Callable[..., Any], *args: object) -> Any:
        """Call a function that copies `size` bytes: at once when it is little, in a thread when the bus would wait for it."""
        return function(*args) if size < _AT_ONCE else await asyncio.to_thread(function, *args)


def _failed(key: AttemptKey, error: WorkError) -> WorkFailed:
    return WorkFailed(
        key,
        error.code,
        error.message,
        error.again,
        used=error.used,
        retry_ms=round(error.retry_s * 1000),
    )


def _size(made: Made) -> int:
    return len(made.content) if isinstance(made.content, bytes) else made.content.stat().st_size


async def _until_kept(keeping: set[asyncio.Task[None]]) -> None:
    """Give what is being stored a moment; what takes longer is lost to the next attempt, and nothing else."""
    if not keeping:
        return
    _, late = await asyncio.wait(keeping, timeout=_KEEP_S)
    for task in late:
        task.cancel()


def _check_sayable(outputs: list[NamedRef]) -> None:
    """A result that no message can carry would never arrive: it is a failure, and is said as one."""
    size = sum(_FILE_BYTES + len(named.name.encode()) + len(named.media_type) for named in outputs)
    if size > _RESULT_BYTES:
        raise WorkError(
            "E_OUTPUT",
            f"{len(outputs)} output files with such long names do not fit into one message",
            again=False,
        )
