"""Asking the swarm to do a goal, watching it, and bringing the result home: the client's side of a run.

The client mints the run's id, so a lost answer is no lost run: asking again is the same run. What happens is told by a `Watcher`, through restarts of the
bus and of the coordinator. Ctrl-C cancels the run and waits for the swarm to say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mesh.endpoint import CallFailed, Endpoint, NoAnswer
from mesh.errors import MeshError
from mesh.output import Exit
from protocol.ids import new_run_id
from protocol.messages import Budget, CancelRun, Event, Missing, NamedRef, ShowRun, SubmitRun
from protocol.messages.base import JsonObject

from .delivery import fetch_file, unique_names, write_provenance
from .inputs import FoundFile
from .watching_bus import Watcher
from .watching_wire import Ears, passing

__all__ = ["OUTCOME_EXIT", "RunClient", "final_view", "show_run"]

OUTCOME_EXIT = {
    "done": Exit.OK,
    "partial": Exit.PARTIAL,
    "failed": Exit.FAILED,
    "cancelled": Exit.FAILED,
    "unbid": Exit.NOBODY,
}

_ASK_S = 10.0
_PLANNING_S = 5.0
"""So long a coordinator may take until it knows a run that was handed in."""
_PATIENCE_S = 60.0
"""A coordinator that is away for longer than this makes the client give up watching (the run goes on without it)."""
_AGAIN_S = 0.25
_VIEW_BYTES_MAX = 256 << 20


async def show_run(endpoint: Endpoint, run: str, *, timeout_s: float = _ASK_S) -> dict[str, Any]:
    """A run in full; `run` may be the end of its id.

    Raises:
        CallFailed: there is no such run. NoAnswer: no coordinator is up.
    """
    reply = await endpoint.call("runs", ShowRun(run=run), timeout_s=timeout_s)
    stored = reply.data.get("detail")
    if isinstance(stored, dict):
        # A large run's view does not fit into an answer and is fetched as an artifact.
        from .delivery import ref_of

        view: dict[str, Any] = json.loads(await endpoint.artifacts.read(ref_of(stored), _VIEW_BYTES_MAX))
        return view
    return dict(reply.data)


async def final_view(endpoint: Endpoint, run: str) -> dict[str, Any]:
    """A run that has ended, in full; coordinators that are on their way up, or have not read its end yet, are waited for.

    Raises:
        CallFailed: it cannot be read. NoAnswer: no coordinator came up within a minute.
    """
    end = endpoint.clock.monotonic() + _PATIENCE_S
    while True:
        trouble: MeshError = NoAnswer("runs", _PATIENCE_S)
        try:
            view = await show_run(endpoint, run, timeout_s=5.0)
            if view.get("outcome"):
                return view
        except MeshError as error:
            if not passing(error):
                raise
            trouble = error
        if endpoint.clock.monotonic() > end:
            raise trouble
        await asyncio.sleep(_AGAIN_S)


class RunClient:
    """One run, from the asking device; without `run` a new one."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        on_event: Callable[[Event], None] = lambda _event: None,
        ears: Ears | None = None,
        run: str = "",
    ) -> None:
        self.endpoint = endpoint
        self.run = run or new_run_id(endpoint.clock.now(), os.urandom(10))
        self.asked = False
        """Whether the goal was handed in, as far as we know: from then on it may be carried out."""
        self._on_event = on_event
        self._ears = ears
        self._seq = 0

    async def submit(
        self,
        goal: str,
        files: Sequence[FoundFile],
        skipped: Sequence[Missing],
        *,
        planner: str = "rule",
        plan: JsonObject | None = None,
        budget: Budget | None = None,
        parent: str | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> list[Missing]:
        """Store the files and hand the goal in; returns what was skipped in all, with files that vanished meanwhile.

        Raises:
            CallFailed: the swarm does not take it (no rule fits the goal, the plan is wrong, ...).
            NoAnswer: no coordinator is up.
        """
        left_out = list(skipped)
        refs: list[NamedRef] = []
        for number, file in enumerate(files, 1):
            try:
                ref = await self.endpoint.artifacts.put(file.path, self.endpoint.me)
            except OSError as error:
                left_out.append(
                    Missing(
                        name=file.name,
                        code="E_VANISHED",
                        message=f"cannot be read any more: {error.strerror}",
                    )
                )
                continue
            refs.append(NamedRef(name=file.name, media_type=file.media_type, ref=ref))
            if number % 50 == 0:
                say(f"stored {number} of {len(files)} files")
        item = SubmitRun(
            goal=goal,
            inputs=refs,
            skipped=left_out,
            planner=planner,
            plan=plan,
            budget=budget,
            parent=parent,
        )
        self.asked = True
        try:
            await self.endpoint.call("runs", item, timeout_s=_ASK_S, run=self.run)
        except NoAnswer:
            # It may have been taken all the same; the same run id makes a second asking harmless.
            await self.endpoint.call("runs", item, timeout_s=_ASK_S, run=self.run)
        return left_out

    async def watch(
        self, on_tick: Callable[[], None] = lambda: None, *, tick_s: float = 0.25
    ) -> dict[str, Any]:
        """Wait for the end; returns the run in full. Every event is told to `on_event` once and in order, those from before the call included.

        Raises:
            WatchLost: the swarm gave no answer for a minute. The run goes on without us.
        """
        watching = Watcher(
            self.endpoint, self.run, after=self._seq, patience_s=_PATIENCE_S, known=True, ears=self._ears
        )
        async with watching as watcher:
            while not watcher.ended:
                told = await watcher.next(tick_s)
                while told is not None:
                    self._seq = watcher.seq
                    self._on_event(told.event)
                    told = await watcher.next(0)
                on_tick()
        return await final_view(self.endpoint, self.run)

    async def cancel(self, reason: str = "stopped by the person who asked") -> dict[str, Any] | None:
        """Ask to stop the run and wait (15 s at most) until it is; its final state, or None if nobody confirmed."""
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(15):
                await self._ask_cancel(CancelRun(run=self.run, reason=reason))
                return await self.watch()
        return None

    async def _ask_cancel(self, item: CancelRun) -> None:
        end = self.endpoint.clock.monotonic() + _PLANNING_S
        while True:
            try:
                await self.endpoint.call("runs", item, timeout_s=5.0)
            except CallFailed as error:
                # It may still be planning what we handed in a moment ago; giving up now would let the run go on.
                if error.code != "E_NOT_FOUND" or self.endpoint.clock.monotonic() > end:
                    raise
                await asyncio.sleep(0.25)
            else:
                return

    async def deliver(self, view: dict[str, Any], folder: Path) -> list[Path]:
        """Fetch the deliverables and write the provenance into `folder`; returns the files.

        Raises:
            OutputError: they cannot be written.
            DigestMismatch, NotFound: stored bytes are damaged or gone.
        """
        files = [
            await fetch_file(self.endpoint.artifacts, entry, folder, name)
            for name, entry in unique_names(view["deliverables"])
        ]
        files.append(write_provenance(view, folder))
        return files
