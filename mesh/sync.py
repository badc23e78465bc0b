"""The swarm for programs without asyncio: what `mesh.client` has, call by call, each of which waits for its answer.

    from mesh import connect_sync

    with connect_sync() as swarm:
        run = swarm.run("Summarise this folder", inputs=["notes/"])
        for event in run.events():
            print(event.seq, event.kind, event.subtask)
        print(run.deliver("out"))

Rules. The connection lives on an event loop in a thread of its own, which ends with the `with` block. Several threads may use one connection at once. What a call
raises, and what Ctrl-C interrupts, is the caller's; the run goes on. A program that has an event loop uses `connect`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from protocol.errors import ZwermError
from protocol.messages import Budget

from .client import Swarm, connect
from .sdk import RunEvent, RunHandle, RunResult

if TYPE_CHECKING:
    from .halt_swarm import HaltSent

__all__ = ["LoopRuns", "SyncRun", "SyncSwarm", "connect_sync"]

T = TypeVar("T")

_AHEAD: Final = 256
"""Events that are fetched before somebody asks for them."""
_END_S: Final = 10.0


class LoopRuns(ZwermError):
    """A thread with a running event loop may not be held up."""

    def __init__(self) -> None:
        super().__init__(
            "E_ASYNC",
            "this thread has a running event loop, which would stand still",
            "Use `async with connect() as swarm`, or call this in a thread: `await asyncio.to_thread(...)`.",
        )


class _Closed(ZwermError):
    def __init__(self) -> None:
        super().__init__(
            "E_CLOSED", "the connection is closed", "Use it inside of `with connect_sync() as swarm:`."
        )


class _Thread:
    """An event loop in a thread, and the connection that lives on it."""

    def __init__(self, opening: AbstractAsyncContextManager[Swarm]) -> None:
        self._opening = opening
        self._ready: concurrent.futures.Future[Swarm] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event
        self._tasks: asyncio.TaskGroup
        self._pumps: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._main, name="zwerm-sync", daemon=True)

    def start(self) -> Swarm:
        """Connect.

        Raises:
            ZwermError: as `mesh.client.connect`.
        """
        self._thread.start()
        return self._ready.result()

    def close(self) -> None:
        """Disconnect, and end the thread."""
        if self._loop is not None:
            self._later(self._stop.set)
            self._loop = None
        self._thread.join(_END_S)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop, and wait for it; it is given up when the caller is interrupted."""
        if self._loop is None:
            coroutine.close()
            raise _Closed
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _Closed from None
        finally:
            future.cancel()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The same items, fetched by one task, a little ahead."""
        got: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()
        room = asyncio.Semaphore(_AHEAD)
        task = self.call(self._pump(items, got, room))
        try:
            while True:
                item, error = got.get()
                if error is not None:
                    if isinstance(error, StopAsyncIteration):
                        return
                    raise error
                self._later(room.release)
                yield item  # type: ignore[misc]
        finally:
            self._later(task.cancel)

    def _later(self, action: Callable[[], object]) -> None:
        """Have something done on the loop, if it still runs."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(action)

    async def _pump(
        self,
        items: AsyncIterator[T],
        got: queue.Queue[tuple[T | None, BaseException | None]],
        room: asyncio.Semaphore,
    ) -> asyncio.Task[None]:
        async def pump() -> None:
            try:
                async for item in items:
                    await room.acquire()
                    got.put((item, None))
            except asyncio.CancelledError:
                got.put((None, _Closed()))
                raise
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
                got.put((None, error))
            else:
                got.put((None, StopAsyncIteration()))
            finally:
                close = getattr(items, "aclose", None)
                if close is not None:
                    await close()

        task = self._tasks.create_task(pump())
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        return task

    def _main(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that connects
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        async with self._opening as swarm, asyncio.TaskGroup() as self._tasks:
            self._loop = asyncio.get_running_loop()
            self._ready.set_result(swarm)
            await self._stop.wait()
            for pump in self._pumps:
                pump.cancel()


class SyncRun:
    """One run (`mesh.sdk.RunHandle`)."""

    def __init__(self, thread: _Thread, handle: RunHandle) -> None:
        self._thread = thread
        self._handle = handle

    @property
    def run(self) -> str:
        """The run's id."""
        return self._handle.run

    def events(self, after: int = 0) -> Iterator[RunEvent]:
        """As `RunHandle.events`."""
        return self._thread.iterate(self._handle.events(after))

    def result(self) -> RunResult:
        """As `RunHandle.result`."""
        return self._thread.call(self._handle.result())

    def deliver(self, folder: str | Path) -> list[Path]:
        """As `RunHandle.deliver`."""
        return self._thread.call(self._handle.deliver(folder))

    def cancel(self, reason: str = "") -> None:
        """As `RunHandle.cancel`."""
        self._thread.call(self._handle.cancel(reason))


class SyncSwarm:
    """A connection (`mesh.client.Swarm`)."""

    def __init__(self, thread: _Thread, swarm: Swarm) -> None:
        self._thread = thread
        self._swarm = swarm

    def run(
        self,
        goal: str = "",
        *,
        inputs: Sequence[str | Path] = (),
        plan: Mapping[str, Any] | str | Path | None = None,
        budget: Budget | Mapping[str, Any] | str | None = None,
        parent: str | None = None,
    ) -> SyncRun:
        """As `Swarm.run`."""
        begun = self._swarm.run(goal, inputs=inputs, plan=plan, budget=budget, parent=parent)
        return SyncRun(self._thread, self._thread.call(begun))

    def find(self, run: str) -> SyncRun:
        """As `Swarm.find`."""
        return SyncRun(self._thread, self._thread.call(self._swarm.find(run)))

    def events(
        self, run: str | None = None, *, after: int = 0, patience_s: float | None = 60.0
    ) -> Iterator[RunEvent]:
        """As `Swarm.events`."""
        return self._thread.iterate(self._swarm.events(run, after=after, patience_s=patience_s))

    def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """As `Swarm.runs`."""
        return self._thread.call(self._swarm.runs(limit))

    def nodes(self) -> list[dict[str, Any]]:
        """As `Swarm.nodes`."""
        return self._thread.call(self._swarm.nodes())

    def cancel(self, run: str, *, subtask: str = "", reason: str = "") -> None:
        """As `Swarm.cancel`."""
        self._thread.call(self._swarm.cancel(run, subtask=subtask, reason=reason))

    def pause(self, run: str, *, reason: str = "") -> None:
        """As `Swarm.pause`."""
        self._thread.call(self._swarm.pause(run, reason=reason))

    def resume(self, run: str) -> None:
        """As `Swarm.resume`."""
        self._thread.call(self._swarm.resume(run))

    def halt(self, why: str = "", *, wait_s: float = 5.0) -> HaltSent:
        """As `Swarm.halt`."""
        return self._thread.call(self._swarm.halt(why, wait_s=wait_s))

    def lift(self, *, wait_s: float = 5.0) -> HaltSent:
        """As `Swarm.lift`."""
        return self._thread.call(self._swarm.lift(wait_s=wait_s))


@contextmanager
def connect_sync(home: str | Path | None = None, *, timeout_s: float = 10.0) -> Iterator[SyncSwarm]:
    """Connect this program to the swarm that this device is in, without asyncio.

    Args:
        home: the state directory; by default the device's own.
        timeout_s: how long to look for the bus.

    Raises:
        LoopRuns: this thread has a running event loop.
        NotInSwarm: the device is in no swarm.
        BusUnreachable: the bus does not answer.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise LoopRuns
    thread = _Thread(connect(home, timeout_s=timeout_s))
    try:
        yield SyncSwarm(thread, thread.start())
    finally:
        thread.close()
