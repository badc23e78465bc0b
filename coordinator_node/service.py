"""Shell: the service `runs`: what clients ask of a coordinator, and what they are told.

Rules. A request may come twice and does the same once: a run is known by its id, which the client mints. A goal is planned before anything is written, so
that one which nobody understands leaves nothing behind. The answer to a submission is given when the run is in the journal: from then on it
survives whatever happens to this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from mesh.endpoint import NoAnswer
from mesh.errors import MeshError
from protocol.codec import pack, unpack
from protocol.errors import Rejected, ZwermError
from protocol.ids import RUN_ID_CHARS
from protocol.messages import (
    CancelRun,
    ForRun,
    ListNodes,
    ListRuns,
    PauseRun,
    Ping,
    Reply,
    ResumeRun,
    RunEvents,
    ShowRun,
    SubmitRun,
    Type,
    type_of,
)
from protocol.messages.base import JsonObject
from protocol.registry import body_validator

from .budget_text import merge
from .crash_proc import crash_point
from .errors import JournalBroken, PlanInvalid, RunUnknown, SubtaskUnknown
from .offers import named_bytes
from .orders import CancelAsked, PauseAsked, ResumeAsked, RunAccepted
from .planner import Request, find_planner, replan_of
from .state import RunState
from .views import halted_view, live_view, ref_view, run_view, summary_view
from .watching_pages import EventPages

if TYPE_CHECKING:
    from mesh.endpoint import Received

    from .node import CoordinatorRole

__all__ = ["JournalFull", "RunsService"]

_STANDS_S: Final = 20.0
_OWNER_S: Final = 6.0
"""How long a run may be without an owner before who asks is told so: a takeover is quicker."""
_HANDED_S: Final = 3.0
_LOOK_S: Final = 0.2
_HANDED_SUBMIT_S: Final = 8.0
"""A submission is planned and written down first."""
_OWNERS: Final = frozenset({Type.CANCEL_RUN, Type.PAUSE_RUN, Type.RESUME_RUN, Type.SUBMIT_RUN})
"""Requests that only the owner of a run can carry out: of that run, or of the one above it."""
_VALUES_MAX: Final = 60_000
_DATA_BYTES_MAX: Final = 100_000
"""Largest view that an answer carries as data; a larger one is stored, and the answer names it."""
_INPUTS_MAX: Final = 1_000
"""Files of one run: so many fit into the journal message that opens it."""

_NAMES_BYTES_MAX: Final = 450_000
"""And so much their names may take."""


_MORE_ROOM: Final = (
    "Give it more space: `journal_mib` in config.toml of the device that runs the bus; its disk must have it."
)


class JournalFull(ZwermError):
    """No new run is taken: what runs must be able to end."""

    def __init__(self, why: str) -> None:
        super().__init__("E_DISK_FULL", f"no new run is taken: {why}", _MORE_ROOM)


class NotWritten(ZwermError):
    """The journal did not confirm in time; the run may exist all the same."""

    definite = False
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "E_STORE",
            f"the journal did not confirm the run within {_STANDS_S:.0f} s",
            "Ask again: the run id is kept.",
        )


class Taken(ZwermError):
    """Another coordinator has the run now; what was asked was not written by this one."""

    retryable = True

    def __init__(self, run: str) -> None:
        super().__init__(
            "E_CONFLICT", f"run {run[-6:]} was taken by another coordinator at this moment", "Ask again."
        )


class RunsService:
    """Answers requests for one coordinator."""

    def __init__(self, role: CoordinatorRole) -> None:
        self._role = role
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._pages = EventPages(role.endpoint, role.node_name)

    async def answer(self, received: Received) -> Reply:
        """One request.

        Raises:
            ZwermError: it was refused; code, message and hint are the answer.
        """
        request = received.items[0]
        owners: Reply | None = None
        if isinstance(request, (CancelRun, PauseRun, ResumeRun)):
            owners = await self._hand_on(request, request.run, received)
        elif (
            isinstance(request, SubmitRun)
            and request.parent is not None
            and await self._role.endpoint.journal.last(received.run) is None
        ):
            owners = await self._hand_on(request, request.parent, received)
        if owners is not None:
            return owners
        return await self._do(received.run, request, received.node)

    async def answer_as_owner(self, received: Received) -> Reply | None:
        """A request about a run of ours that another coordinator was asked; None when it is not for us.

        Raises:
            ZwermError: as `answer`.
        """
        handed = received.items[0]
        if not isinstance(handed, ForRun) or handed.to != self._role.endpoint.node:
            return None
        if handed.asks not in _OWNERS:
            return Reply(
                ok=False,
                code="E_TYPE",
                message="this is not for the owner alone",
                hint="Ask any coordinator.",
            )
        try:
            item = unpack(handed.body, max_nodes=_VALUES_MAX) if handed.body else handed.item
            [request] = body_validator(handed.asks).validate_python([item])
        except (ValidationError, Rejected):
            return Reply(ok=False, code="E_SCHEMA", message="what was handed on is no such request")
        return await self._do(handed.run, request, handed.by)

    async def _hand_on(
        self, request: CancelRun | PauseRun | ResumeRun | SubmitRun, name: str, received: Received
    ) -> Reply | None:
        """Let the owner of the run of this name do it; None when that is us, or the run has ended.

        Raises:
            RunUnknown: there is no such run, or nobody owns it at the moment.
            CallFailed: its owner said no.
        """
        role = self._role
        run = await role.archive.find(name)
        until = role.endpoint.clock.monotonic() + _OWNER_S
        if isinstance(request, SubmitRun):
            until += _HANDED_SUBMIT_S
        while run not in role.engine.desks:
            state, _ = await role.archive.get(run)
            if state.status == "closed":
                return None
            if role.takeover.board.lives(state.owner):
                answer = await self._ask_owner(*_handed(request, state.owner, received, run))
                if answer is not None:
                    return answer
            if role.endpoint.clock.monotonic() > until:
                raise RunUnknown(
                    f"run {run[-6:]} belongs to a coordinator that does not answer, and nobody has taken it yet",
                    "Try again in a few seconds; `zwerm nodes` shows which coordinators are up.",
                )
            await asyncio.sleep(_LOOK_S)
        return None

    async def _ask_owner(self, handed: ForRun, timeout_s: float) -> Reply | None:
        """The owner's answer; None when it gives none, or dies meanwhile: then somebody else owns the run soon.

        Raises:
            CallFailed: it said no.
        """
        role = self._role

        async def ask() -> Reply | MeshError | None:
            try:
                return await role.endpoint.call("owner", handed, timeout_s=timeout_s, run=handed.run)
            except NoAnswer:
                return None
            except MeshError as error:
                return error

        call = role.tasks.create_task(ask())
        try:
            while not call.done() and role.takeover.board.lives(handed.to):
                await asyncio.wait([call], timeout=_LOOK_S)
            answer = call.result() if call.done() else None
        finally:
            call.cancel()
        if isinstance(answer, MeshError):
            raise answer
        return answer

    async def _do(self, run: str, request: Any, by: str) -> Reply:
        if isinstance(request, SubmitRun):
            return await self._submit(run, request, by)
        if isinstance(request, CancelRun):
            return await self._cancel(request, by)
        if isinstance(request, (PauseRun, ResumeRun)):
            return await self._pause(request, by)
        if isinstance(request, ShowRun):
            return await self._show(request)
        if isinstance(request, ListRuns):
            return await self._list(request)
        if isinstance(request, RunEvents):
            return await self._events(request)
        if isinstance(request, ListNodes):
            return Reply(ok=True, data=self._nodes())
        if isinstance(request, Ping):
            return Reply(ok=True, data={"node": self._role.endpoint.node, "name": self._role.endpoint.name})
        return Reply(
            ok=False,
            code="E_TYPE",
            message=f"a coordinator does not answer {type(request).__name__}",
            hint="Update zwerm so that both sides have one version.",
        )

    def stands(self, run: str) -> None:
        """The run is in the journal."""
        waiting = self._waiting.pop(run, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def deposed(self, run: str) -> None:
        """The run is another coordinator's before what was asked of us was in the journal."""
        waiting = self._waiting.pop(run, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(Taken(run))

    def close(self) -> None:
        """Nobody will be told anything any more."""
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()

    # --- submit ---

    async def _submit(self, run: str, request: SubmitRun, by: str) -> Reply:
        role = self._role
        with contextlib.suppress(Taken):
            await self._until_stands(run)
        if run in role.engine.desks or await role.endpoint.journal.last(run) is not None:
            return await self._again(run)
        names = [named.name for named in request.inputs]
        if len(set(names)) != len(names):
            raise PlanInvalid("two of the inputs have the same name", "Give each file a name of its own.")
        if len(names) + len(request.skipped) > _INPUTS_MAX:
            raise PlanInvalid(
                f"{len(names):,} files are more than one run takes ({_INPUTS_MAX:,})",
                "Submit them in several runs.",
            )
        reasons = sum(100 + len(gap.name.encode()) + len(gap.message.encode()) for gap in request.skipped)
        if (size := named_bytes(request.inputs) + reasons) > _NAMES_BYTES_MAX:
            raise PlanInvalid(
                f"the names of the {len(names):,} files, and of what was left out, take {size >> 10:,} KiB;"
                f" one run takes {_NAMES_BYTES_MAX >> 10:,}",
                "Use shorter names, or submit them in several runs.",
            )
        await role.space.measure()
        if role.space.level != "room":
            raise JournalFull(role.space.why)
        planned = Request(request.goal, request.inputs, request.skipped, request.plan)
        plan = await asyncio.to_thread(find_planner(request.planner).plan, planned)
        most = role.config.run_budget
        if request.parent is not None:
            await self._mine(request.parent)  # or it was taken from us since it was handed on
            most = most.model_copy(update={"children": None})
        budget = merge(request.budget, plan.budget, most)
        artifacts, me = role.endpoint.artifacts, role.endpoint.me
        goal_ref = await artifacts.put(request.goal.encode(), me)
        plan_ref = await artifacts.put(plan.model_dump_json(by_alias=True).encode(), me)
        crash_point("submit.planned")
        if run not in self._waiting and run not in role.engine.desks:
            depth = 0
            if request.parent is not None:
                # No other event comes between this answer and the engine's own.
                budget, depth = role.engine.children.admit(request.parent, run, budget, by)
            self._waiting[run] = asyncio.get_running_loop().create_future()
            accepted = RunAccepted(run, goal_ref, request.inputs, request.skipped, by, plan, plan_ref, budget)
            replans = replan_of(plan.planner) is not None
            role.take(dataclasses.replace(accepted, parent=request.parent, depth=depth, replans=replans))
        try:
            await self._until_stands(run)
        except Taken:  # two coordinators were asked, and the other was first
            return await self._again(run)
        crash_point("submit.stands")
        return Reply(ok=True, data={"run": run, "planner": plan.planner, "subtasks": len(plan.subtasks)})

    async def _again(self, run: str) -> Reply:
        """The answer to a submission of a run that is there."""
        state, content = await self._role.archive.get(run)
        planner = content.plan.planner if content else ""
        return Reply(
            ok=True, data={"run": run, "planner": planner, "subtasks": len(state.subtasks), "again": True}
        )

    async def _until_stands(self, run: str) -> None:
        waiting = self._waiting.get(run)
        if waiting is None:
            return
        try:
            async with asyncio.timeout(_STANDS_S):
                await asyncio.shield(waiting)
        except TimeoutError:
            raise NotWritten from None

    # --- the rest ---

    async def _cancel(self, request: CancelRun, by: str) -> Reply:
        state = await self._mine(request.run)
        run = state.run
        if request.subtask:
            subtask = state.subtasks.get(request.subtask)
            if subtask is None:
                raise SubtaskUnknown(run, request.subtask, list(state.subtasks))
            if subtask.terminal:
                data: JsonObject = {"run": run, "subtask": request.subtask, "status": subtask.status}
                return Reply(ok=True, data=data)
        if state.status == "closed":
            return Reply(ok=True, data={"run": run, "status": "closed", "outcome": state.outcome})
        await self._order(CancelAsked(run, by, request.reason, request.subtask))
        data = {"run": run, "subtask": request.subtask, "status": "cancelling", "outcome": ""}
        return Reply(ok=True, data=data)

    async def _pause(self, request: PauseRun | ResumeRun, by: str) -> Reply:
        state = await self._mine(request.run)
        if state.status == "open":
            if isinstance(request, PauseRun):
                await self._order(PauseAsked(state.run, by, request.reason))
            else:
                await self._order(ResumeAsked(state.run, by))
        working = sum(1 for subtask in state.subtasks.values() if subtask.status == "awarded")
        return Reply(
            ok=True,
            data={
                "run": state.run,
                "status": state.status,
                "outcome": state.outcome,
                "paused": state.paused,
                "working": working,
            },
        )

    async def _order(self, event: CancelAsked | PauseAsked | ResumeAsked) -> None:
        """Have something done about a run, and wait until it is in the journal: then it holds whatever happens to this process."""
        if event.run not in self._waiting:
            self._waiting[event.run] = asyncio.get_running_loop().create_future()
        self._role.take(event)
        await self._until_stands(event.run)

    async def _mine(self, name: str) -> RunState:
        """The state of a run that this coordinator can do something about, or of one that has ended."""
        run = await self._role.archive.find(name)
        state, _ = await self._role.archive.get(run)
        if state.status != "closed" and run not in self._role.engine.desks:
            raise RunUnknown(
                f"run {run[-6:]} belongs to another coordinator",
                "Start the device that took it, or wait until it is back.",
            )
        return state

    async def _show(self, request: ShowRun) -> Reply:
        role = self._role
        run = await role.archive.find(request.run)
        state, content = await role.archive.get(run)
        now = role.now()
        live: dict[str, list[dict[str, Any]]] = {}
        for item in role.engine.watch.of_run(run):
            live.setdefault(item.key[1], []).append(live_view(item, now, role.node_name))
        waiting = role.engine.scheduler.waiting(run) | role.engine.purse.waiting(run)
        view = {**run_view(state, content, role.node_name, live, waiting), **self._read_only(state)}
        encoded = json.dumps(view, ensure_ascii=False).encode()
        if len(encoded) <= _DATA_BYTES_MAX:
            return Reply(ok=True, data=view)
        ref = await role.endpoint.artifacts.put(encoded, role.endpoint.me)
        planner = content.plan.planner if content else ""
        summary = summary_view(state, content.plan.goal if content else "", role.node_name, planner)
        return Reply(ok=True, data={"schema": "zwerm.run/1", **summary, "detail": ref_view(ref)})

    async def _events(self, request: RunEvents) -> Reply:
        whole = len(request.run) == RUN_ID_CHARS
        run = request.run if whole else await self._role.archive.find(request.run)
        return Reply(ok=True, data=await self._pages.page(run, request.after, request.limit))

    async def _list(self, request: ListRuns) -> Reply:
        name = self._role.node_name
        runs: list[Any] = []
        for found in await self._role.archive.newest(request.limit):
            if isinstance(found, JournalBroken):
                runs.append(halted_view(found))
                continue
            state, content = found
            plan = content.plan if content else None
            summary = summary_view(
                state, plan.goal if plan else "", name, planner=plan.planner if plan else ""
            )
            if state.run in self._role.engine.desks:  # whose state is ahead of the journal
                summary["records"] = self._role.store.count(state.run)
            runs.append({**summary, **self._read_only(state)})
        return Reply(ok=True, data={"runs": runs})

    def _read_only(self, state: RunState) -> dict[str, Any]:
        """Why nothing of a run is begun, if that is for want of room in the journal."""
        space = self._role.space
        held = space.level == "endings" and state.status != "closed"
        return {"read_only": space.why if held else ""}

    def _nodes(self) -> JsonObject:
        role = self._role
        now = role.endpoint.clock.now()
        nodes: list[Any] = [
            {
                "node": presence.node,
                "name": presence.name,
                "state": presence.state,
                "roles": list(presence.roles),
                "version": presence.version,
                "slots": presence.slots,
                "slots_used": presence.slots_used,
                "load": presence.load,
                "refused": presence.refused,
                "halted": presence.halted,
                "seen_s": round(max(0.0, now - presence.seen), 1),
                "agents": [card.model_dump() for card in presence.agents],
                "held": role.engine.market.sellers[presence.node].held
                if presence.node in role.engine.market.sellers
                else 0,
            }
            for presence in role.endpoint.roster.all()
        ]
        space = role.space
        journal: Any = {
            "used": round(space.share, 3),
            "full": space.why,
            "hint": _MORE_ROOM if space.why else "",
        }
        return {
            "coordinator": role.endpoint.node,
            "coordinator_name": role.endpoint.name,
            "nodes": nodes,
            "journal": journal,
        }


def _handed(
    request: CancelRun | PauseRun | ResumeRun | SubmitRun, to: str, received: Received, run: str
) -> tuple[ForRun, float]:
    """A request as it is handed to the owner of a run, and how long its answer may take."""
    asks = int(type_of(request))
    item = request.model_dump(exclude_defaults=True, by_alias=True)
    if isinstance(request, SubmitRun):
        body = pack(item, max_nodes=_VALUES_MAX)
        handed = ForRun(to=to, by=received.node, run=received.run, asks=asks, item={}, body=body)
        return handed, _HANDED_SUBMIT_S
    return ForRun(to=to, by=received.node, run=run, asks=asks, item=item | {"run": run}), _HANDED_S
