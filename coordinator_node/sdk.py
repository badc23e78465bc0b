"""Runs for programs: what stands behind `mesh.connect()` (entry point `zwerm.sdk`), on the same client side as the command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mesh.sdk import RunEvent, RunFailed, RunResult
from protocol.messages import Budget, CancelRun, ListNodes, ListRuns, PauseRun, ResumeRun
from protocol.messages.base import JsonObject

from .errors import PlanInvalid
from .run_client import RunClient
from .watching_bus import Watcher
from .watching_wire import Ears, find_run

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from mesh.sdk import RunsPort

__all__ = ["Run", "Runs"]

_ASK_S = 10.0


class Runs:
    """The runs of a swarm, over one connection (`mesh.sdk.RunsPort`)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.ears = Ears(endpoint)

    async def begin(
        self,
        goal: str,
        inputs: Sequence[str | Path],
        plan: Mapping[str, Any] | str | Path | None,
        budget: Budget | Mapping[str, Any] | str | None,
        parent: str | None = None,
    ) -> Run:
        """See `mesh.client.Swarm.run`."""
        from .inputs import gather, read_plan

        content = read_plan(Path(plan)) if isinstance(plan, (str, Path)) else plan
        words = goal.strip() or str((content or {}).get("goal", "")).strip()
        if not words:
            if content is None:
                raise PlanInvalid(
                    "there is neither a goal nor a plan", "Say what to do: swarm.run(GOAL, inputs=[...])."
                )
            words = "the plan of a program"
        files, skipped = gather([Path(given) for given in inputs]) if inputs else ([], [])
        client = RunClient(self.endpoint, ears=self.ears)
        await client.submit(
            words,
            files,
            skipped,
            planner="rule" if content is None else "file",
            plan=None if content is None else cast("JsonObject", dict(content)),
            budget=_budget(budget),
            parent=parent,
        )
        return Run(self, client.run)

    async def find(self, run: str) -> Run:
        """See `mesh.client.Swarm.find`."""
        return Run(self, await find_run(self.endpoint, run))

    async def events(
        self, run: str | None, after: int, patience_s: float | None, *, known: bool = False
    ) -> AsyncIterator[RunEvent]:
        """See `mesh.client.Swarm.events`."""
        whole = None if run is None else await find_run(self.endpoint, run)
        watching = Watcher(
            self.endpoint, whole, after=after, patience_s=patience_s, known=known, ears=self.ears
        )
        async with watching as watcher:
            async for told in watcher:
                yield RunEvent.of(told.run, told.event)

    async def runs(self, limit: int) -> list[dict[str, Any]]:
        """See `mesh.client.Swarm.runs`."""
        reply = await self.endpoint.call("runs", ListRuns(limit=limit), timeout_s=_ASK_S)
        return cast("list[dict[str, Any]]", reply.data["runs"])

    async def nodes(self) -> list[dict[str, Any]]:
        """See `mesh.client.Swarm.nodes`."""
        reply = await self.endpoint.call("runs", ListNodes(), timeout_s=_ASK_S)
        return cast("list[dict[str, Any]]", reply.data["nodes"])

    async def cancel(self, run: str, subtask: str, reason: str) -> None:
        """See `mesh.client.Swarm.cancel`."""
        item = CancelRun(run=run, subtask=subtask, reason=reason)
        await self.endpoint.call("runs", item, timeout_s=_ASK_S)

    async def pause(self, run: str, reason: str) -> None:
        """See `mesh.client.Swarm.pause`."""
        await self.endpoint.call("runs", PauseRun(run=run, reason=reason), timeout_s=_ASK_S)

    async def resume(self, run: str) -> None:
        """See `mesh.client.Swarm.resume`."""
        await self.endpoint.call("runs", ResumeRun(run=run), timeout_s=_ASK_S)


class Run:
    """One run (`mesh.sdk.RunHandle`)."""

    def __init__(self, runs: Runs, run: str) -> None:
        self._runs = runs
        self._run = run
        self._result: RunResult | None = None

    @property
    def run(self) -> str:
        """The run's id."""
        return self._run

    def events(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """See `mesh.sdk.RunHandle.events`."""
        return self._runs.events(self._run, after, 60.0, known=True)

    async def result(self) -> RunResult:
        """See `mesh.sdk.RunHandle.result`."""
        if self._result is None:
            view = await RunClient(self._runs.endpoint, ears=self._runs.ears, run=self._run).watch()
            self._result = RunResult(
                run=self._run,
                outcome=str(view["outcome"]),
                code=str(view["code"]),
                message=str(view["message"]),
                hint=str(view["hint"]),
                files=[str(entry["name"]) for entry in view["deliverables"]],
                view=view,
            )
        if self._result.outcome not in ("done", "partial"):
            raise RunFailed(self._result)
        return self._result

    async def deliver(self, folder: str | Path) -> list[Path]:
        """See `mesh.sdk.RunHandle.deliver`."""
        result = await self.result()
        return await RunClient(self._runs.endpoint, run=self._run).deliver(result.view, Path(folder))

    async def cancel(self, reason: str = "") -> None:
        """See `mesh.sdk.RunHandle.cancel`."""
        await self._runs.cancel(self._run, "", reason)


def _budget(budget: Budget | Mapping[str, Any] | str | None) -> Budget | None:
    from .budget_text import parse, parse_mapping

    if isinstance(budget, str):
        return parse(budget)
    if isinstance(budget, Mapping):
        return parse_mapping(budget)
    return budget


if TYPE_CHECKING:
    _: type[RunsPort] = Runs
