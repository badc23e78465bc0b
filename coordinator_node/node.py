"""Shell: the role `coordinator` of a device. Verified messages in, the engine's decisions out, the journal between.

    endpoint -> event -> Engine.handle -> records -> journal -> commands (say, check, show) -> endpoint

Rules. Nothing leaves before its records are durable: every step goes through `JournalStore`. What is said at about the same time, to one subject, of one
run and kind, is one message; what nobody waits for (rejects, acknowledgements, most events) is put off a little, so that it shares one. Events for
watchers leave in journal order. Before anything is heard, unfinished runs of this node are read back. Counterparts: `engine` decides, `service`
answers clients, `journal_store` remembers, `takeover_store` shares the runs with other coordinators, `checking_store` checks results.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import secrets
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mesh.bus import Subscription
from mesh.errors import MeshError
from mesh.roster import NodeGone, Presence
from mesh.roster import NodeSeen as RosterSeen
from protocol import subjects
from protocol.errors import ZwermError
from protocol.messages import Event, Reject, ResultAck
from protocol.records import Record, RunClosed

from . import orders
from .archive import Archive
from .budget import KINDS, limits_of
from .budget_store import DayBudget
from .chain import Link
from .checking_store import Checker
from .config import load_config
from .crash_proc import crash_point
from .engine import Engine
from .journal_store import JournalStore
from .lane import Durable
from .orders import (
    AnswersReceived,
    BeginChild,
    CheckResult,
    Command,
    DrawDay,
    NodeInfo,
    NodeLost,
    PlanStored,
    RevisePlan,
    RunEnded,
    RunStands,
    Say,
    SayAll,
    ShowProgress,
    Step,
    TellParent,
)
from .orders import NodeSeen as NodeIsHere
from .planner import replan_of
from .replanning import revise
from .service import RunsService
from .snapshot_store import Snapshots
from .space_store import Level, Space
from .speaker import Speaker
from .takeover_store import Takeover
from .trace import Head, TraceWriter
from .views import event_of

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint, Received

__all__ = ["CoordinatorRole"]

log = logging.getLogger("zwerm.coordinator")

_EAGER: Final = frozenset(
    {"run.opened", "run.closed", "run.cancelling", "subtask.accepted", "subtask.failed", "attempt.failed"}
)
"""Events that people wait for; they take along those that were put off before them."""
_RETURN_S: Final = 1.0
"""How long giving back what was drawn of budgets may take; what is left of it is spent."""
_DRAIN_S: Final = 5.0
"""How long writing down and saying what is decided may take at the end."""


class CoordinatorRole:
    """One node's buying side, run by the daemon."""

    name = "coordinator"

    def __init__(self, endpoint: Endpoint, config: dict[str, Any]) -> None:
        self.endpoint = endpoint
        self.config = load_config(config, str(endpoint.home / "config.toml"))
        self._clock = endpoint.clock
        self._start_at = self._clock.now() - self._clock.monotonic()
        seed = self.config.seed if self.config.seed is not None else secrets.randbits(60)
        self.engine = Engine(
            endpoint.node,
            random.Random(seed),  # noqa: S311 - auctions are fair, not secret, and must be replayable
            self.config.settings(),
            now=self.now(),
        )
        self._trace: TraceWriter | None = None
        if self.config.trace:
            self._trace = TraceWriter(Path(self.config.trace), Head(seed, endpoint.node, self.now()))
        self.takeover = Takeover(self)
        self.archive = Archive(endpoint, self.engine, self.takeover.board, self.config.kept_runs)
        bounds = self.engine.settings.bounds
        self._days = DayBudget(
            endpoint.kv, endpoint.node, *map(limits_of, (bounds.day, bounds.node_day, bounds.agent_day))
        )
        self.snapshots = Snapshots(
            endpoint, self.takeover.board.heads, self.start, self.config.snapshot_records
        )
        self.space = Space(endpoint, self._on_space, lambda: bool(self.store.refused))
        self.service = RunsService(self)
        self._checker = Checker(endpoint.artifacts)
        self.store: JournalStore
        self.tasks: asyncio.TaskGroup
        self._inbox: list[orders.Event] = []
        self._taking = False
        self._speaker = Speaker(endpoint)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self.closing = False
        self._halted = False
        self._beside: set[asyncio.Task[None]] = set()
        self._ears: list[Subscription] = []
        self._failure: Exception | None = None
        self._broken = asyncio.Event()
        self.serving = asyncio.Event()
        """Set when clients are answered."""

    def now(self) -> float:
        """Unix seconds that never go back."""
        return self._start_at + self._clock.monotonic()

    def refused(self) -> int:
        """How many signed claims were false."""
        return sum(self.engine.refused.values())

    def node_name(self, node: str) -> str:
        """What people call a node."""
        presence = self.endpoint.roster.get(node)
        if presence is not None:
            return presence.name
        return self.endpoint.name if node == self.endpoint.node else self.engine.market.name(node)

    async def run(self, stop: asyncio.Event) -> None:
        """Buy work until `stop` is set, then write down and say what is decided, and return.

        Runs that are not finished stay in the journal; the next start goes on with them.

        Raises:
            Exception: the engine broke one of its own rules. It must not go on: what it thinks may be wrong, what the journal says is not.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self.tasks = tasks
                self.store = JournalStore(
                    self.endpoint, self.start, self._released, self._deposed, self._wrote, self.space.look
                )
                speaker = tasks.create_task(self._speaker.run())
                for presence in self.endpoint.roster.alive(self._clock.now()):
                    self.take(NodeIsHere(_info(presence)))
                self.endpoint.roster.subscribe(self._on_roster)
                self.endpoint.halts.subscribe(self._on_halts)
                self._on_halts()
                if await self._recover(stop):
                    await self._listen()
                    self.start(self.space.run())
                    self.serving.set()
                    await self._until(stop)
                self.closing = True
                await self._wind_down(speaker)
        finally:
            self.closing = True
            if self._timer is not None:
                self._timer.cancel()
            self._speaker.close()
            if self._trace is not None:
                self._trace.close()
        if self._failure is not None:
            raise self._failure

    async def _recover(self, stop: asyncio.Event) -> bool:
        """Read back what the journal has, however long it takes; False when the order to stop came first."""
        pause = 0.2
        while not stop.is_set():
            try:
                await self.takeover.begin()
                recovered = await self.archive.recover(self.store)
            except MeshError as error:
                if not error.retryable:
                    raise
                log.warning("the journal cannot be read back yet: %s", error.message)
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)
                continue
            crash_point("recover.read")
            for event in recovered:
                self.take(event)
            crash_point("recover.taken")
            return True
        return False

    async def _until(self, stop: asyncio.Event) -> None:
        """Wait for the order to stop, or for the engine's failure."""
        waits = [self.tasks.create_task(event.wait()) for event in (stop, self._broken)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> object:
        """Run something beside; it ends with the role."""
        task = self.tasks.create_task(coroutine)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def _listen(self) -> None:
        self._ears += [
            await self.endpoint.listen(subjects.bids(), self._on_answers, wanted=self.takeover.wanted),
            await self.endpoint.listen(subjects.works(), self._on_work, wanted=self.takeover.wanted),
            await self.endpoint.serve("owner", self.service.answer_as_owner, shared=False),
            await self.endpoint.serve("runs", self.service.answer),
        ]

    async def _wind_down(self, speaker: asyncio.Task[None]) -> None:
        for ear in self._ears:  # another coordinator answers from now on
            with contextlib.suppress(MeshError):
                await ear.unsubscribe()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self.store.drain()
        except TimeoutError:
            log.warning(
                "the journal did not take everything within %.0f s; it will be decided again", _DRAIN_S
            )
        self._speaker.close()
        _, late = await asyncio.wait([speaker], timeout=1.0)
        for task in late:
            task.cancel()
        # Whatever else still runs (checks, retries of the journal) is started anew by the next owner.
        self.service.close()
        for other in list(self._beside):
            other.cancel()
        await self._return_slices()
        await self.takeover.leave()

    # --- in ------------------------------------------------------------------------------------------------------------------------

    def _on_answers(self, received: Received) -> None:
        items: Sequence[Any] = received.items
        digest = hashlib.sha256(received.raw).digest()[:16]
        self.take(AnswersReceived(received.run, received.node, received.member.bus_key, items, digest))

    def _on_work(self, received: Received) -> None:
        items: Sequence[Any] = received.items
        self.take(orders.WorkReceived(received.run, received.node, received.member.bus_key, items))

    def _on_roster(self, change: RosterSeen | NodeGone) -> None:
        if isinstance(change, NodeGone):
            self.take(NodeLost(change.node, change.reason))
        else:
            self.take(NodeIsHere(_info(change.presence)))

    def _on_halts(self) -> None:
        order = self.endpoint.halts.order
        on = order is not None and order.on
        # What the engine was told, not what it has heard: while our lease is out it hears nothing.
        if on != self._halted:
            self._halted = on
            self.take(orders.HaltChanged(on))

    def _on_space(self, level: Level) -> None:
        self.take(orders.HaltChanged(level == "endings", "space"))

    def take(self, event: orders.Event) -> None:
        """Hand an event to the engine and its step to the journal; what that causes at once comes next, not inside."""
        if self.closing or self.takeover.keeps(event):
            return
        first = self.takeover.before(event)
        self._inbox += [event] if first is None else [first, event]
        if self._taking:
            return
        self._taking = True
        try:
            while self._inbox:
                self._handle(self._inbox.pop(0))
        except Exception as error:
            log.exception("the engine broke a rule of its own at %s", type(event).__name__)
            self._failure, self.closing = error, True
            self._broken.set()
        finally:
            self._taking = False
        self._set_timer()

    def _handle(self, event: orders.Event) -> None:
        now = self.now()
        if self._trace is not None:
            self._trace.event(event, now)
        crash_point("event.before")
        step = self.engine.handle(event, now)
        crash_point("event.folded")
        if step.records or step.commands:
            self._submit(step)

    def _submit(self, step: Step) -> None:
        by_run: dict[str, tuple[list[Any], list[Command]]] = {}
        for run, record in step.records:
            by_run.setdefault(run, ([], []))[0].append(record)
        for command in step.commands:
            by_run.setdefault(command.run, ([], []))[1].append(command)
        for run, (records, commands) in by_run.items():
            self.store.submit(run, records, commands)

    def _wrote(self, run: str, link: Link, records: Sequence[Record]) -> None:
        self.takeover.board.heads.wrote(run, link, records)
        state = self.engine.state(run)
        if state is not None:
            self.snapshots.durable(state, link)

    def _deposed(self, run: str) -> None:
        self.take(orders.RunDeposed(run))
        self.service.deposed(run)

    # --- out -----------------------------------------------------------------------------------------------------------------------

    def _released(self, run: str, durable: Sequence[Durable], commands: Sequence[Command]) -> None:
        """Records are in the journal: carry out what they justify, then tell watchers, who are in no hurry."""
        shown = [command for command in commands if isinstance(command, ShowProgress)]
        for command in commands:
            crash_point("command.before")
            if not isinstance(command, ShowProgress):
                self._carry_out(command)
            crash_point("command.after")
        subject = subjects.events(run)
        for number, record in durable:
            event = event_of(number, record, self.node_name)
            # A screen does not show a twentieth of a second, and a thousand small messages cost the work its processor.
            self._speaker.say(subject, run, event, lazy=not isinstance(record, RunClosed))
        for command in shown:  # what carries the number of a record stands behind it, for watchers as well
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Say):
            lazy = isinstance(command.item, (Reject, ResultAck))
            self._speaker.say(subjects.to_node(command.to), command.run, command.item, lazy=lazy)
        elif isinstance(command, SayAll):
            self._speaker.say(subjects.announce(command.capability), command.run, command.item)
        elif isinstance(command, CheckResult):
            self.start(self._check(command))
        elif isinstance(command, RevisePlan):
            self.start(self._revise(command))
        elif isinstance(command, ShowProgress):
            event = Event(
                seq=self.store.count(command.run),
                at_ms=int(self.now() * 1000),
                kind=command.kind,
                subtask=command.subtask,
                node=command.node,
                node_name=self.node_name(command.node)[:64],
                data=command.data,
                volatile=True,
            )
            self._speaker.say(subjects.events(command.run), command.run, event, lazy=True)
        elif isinstance(command, RunStands):
            self.service.stands(command.run)
        elif isinstance(command, BeginChild):
            self.take(command.accepted)
        elif isinstance(command, TellParent):
            self.take(orders.ChildEnded(command.parent, command.run, command.used))
        elif isinstance(command, DrawDay):
            self.start(self._draw(command))
        elif isinstance(command, RunEnded):
            self.archive.ended(command.run)
            for run in self.archive.overdue():
                self.store.forget(run)
                self.take(orders.RunForgotten(run))

    async def _draw(self, command: DrawDay) -> None:
        wanted = {kind: amount for kind in KINDS if (amount := command.wanted.get(kind)) is not None}
        try:
            granted, total = await self._days.draw(command.day, wanted)
        except MeshError as error:
            log.warning("the day's budget cannot be drawn yet: %s", error.message)
            self.take(orders.DayDrawn(command.day, {}, failed=True))
            return
        mine, all_ = ({str(kind): amount for kind, amount in one.items()} for one in (granted, total))
        self.take(orders.DayDrawn(command.day, mine, total=all_))

    async def _return_slices(self) -> None:
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(_RETURN_S):
                for day, unused in self.engine.purse.unused_day():
                    await self._days.give_back(day, unused)

    async def _revise(self, command: RevisePlan) -> None:
        """Look for other ways, and store the new plan; whatever goes wrong, the answer is that there is none."""
        stored = PlanStored(command.run, None, None, {})
        try:
            replan = replan_of(command.plan.planner)
            found = await asyncio.to_thread(revise, command.plan, command.wanted, replan)
            if found.forms:
                content = found.plan.model_dump_json(by_alias=True).encode()
                ref = await self.endpoint.artifacts.put(content, self.endpoint.me)
                stored = PlanStored(command.run, found.plan, ref, found.forms)
        except ZwermError as error:
            log.warning("run %s: its plan cannot be revised: %s", command.run[-6:], error)
        self.take(stored)

    async def _check(self, command: CheckResult) -> None:
        crash_point("check.before")
        event = await self._checker.check(command)
        crash_point("check.after")
        self.take(event)

    # --- time ----------------------------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        due = self.engine.deadline()
        if due is None or due >= self._timer_at or self.closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, due - self.now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self.take(orders.Tick())


def _info(presence: Presence) -> NodeInfo:
    """What the engine needs to know of a node."""
    slots: dict[str, int] = {}
    for card in presence.agents:
        for capability in card.capabilities:
            slots[capability] = slots.get(capability, 0) + card.slots
    return NodeInfo(presence.node, presence.bus_key, presence.name, slots)
