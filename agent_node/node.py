"""Shell: the role `agent` of a device. Verified messages in, the core's decisions out.

    endpoint -> event -> Agent.handle -> records -> file -> commands (say, start, stop)

Rules. Records are written before any command of their step; an ending is said only after it is on the disk, and everything that ended while
the disk was busy shares the next write (group commit). What is said at about the same time, to one run and of one kind, is one message.
Time comes from one steady clock, set once at the start. Counterparts: `agent` (decides), `executor` (works), `outbox_file` (remembers).
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import MeshError
from mesh.halt_file import LOCAL
from mesh.home import private_write
from protocol import subjects
from protocol.messages import (
    AgentCard,
    Announce,
    Award,
    Bid,
    Cancel,
    Cancelled,
    Decline,
    Failed,
    Item,
    Reject,
    Result,
    ResultAck,
    Who,
    Withdraw,
)

from .adapters import LeftOut, Place, build
from .agent import Agent
from .cache_file import InputCache
from .config import load_config
from .errors import AgentError, OutboxError, OutboxFull
from .events import (
    Acked,
    Announced,
    Awarded,
    BidsRejected,
    CancelAsked,
    Command,
    Connected,
    DrainAsked,
    Event,
    LoadMeasured,
    RoomMeasured,
    Say,
    Start,
    Step,
    Stop,
    StopAsked,
    Tick,
    Withdrawn,
)
from .executor import Executor
from .history import History
from .inbox_file import Inbox
from .keeping import Keeper
from .load_proc import LoadMeter
from .obeying import Obedience
from .outbox_file import OutboxFile
from .policy import Limits
from .running_proc import FOLDER, Running

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint, Received

__all__ = ["AgentRole"]

log = logging.getLogger("zwerm.agent")

_MEASURE_S: Final = 1.0
_SAVE_EVERY: Final = 30
"""Measurements of the load between two savings of the history."""
_STOP_S: Final = 4.0
"""How long killing what runs, and saying so, may take when the node goes down."""
_HALT_S: Final = 3.0
"""How long ending everything may take after an order to halt, before what was ended so far is said."""
_LEAST_BYTES: Final = 8 << 20
"""With less room than this, or a twentieth of the disk, nothing new is taken."""
_SAY_S: Final = 1.0
"""How long the last messages may take to leave."""
_ENDINGS: Final = (Result, Failed, Cancelled)
_BIDS: Final = (Bid, Decline)


class AgentRole:
    """One node's selling side, run by the daemon."""

    name = "agent"

    def __init__(
        self, endpoint: Endpoint, config: dict[str, Any], *, functions: Iterable[Callable[..., Any]] = ()
    ) -> None:
        self.endpoint = endpoint
        self.config = load_config(config, str(endpoint.home / "config.toml"))
        self._clock = endpoint.clock
        self._epoch = self._clock.now() - self._clock.monotonic()
        jobs = endpoint.home / "jobs"
        shutil.rmtree(jobs, ignore_errors=True)
        jobs.mkdir(mode=0o700, parents=True)
        self._running = Running(endpoint.home / FOLDER, forbidden_by=endpoint.home / LOCAL)
        left_over = self._running.end_left_over()
        if left_over:
            log.warning("%d processes of an earlier start still ran and were ended", left_over)
        adapters, self.left_out = build(
            Place(self.config, jobs, self._running, home=endpoint.home, ask=Inbox(endpoint.home).ask),
            functions,
        )
        self._adapters = {adapter.spec.name: adapter for adapter in adapters}
        self._history_file = endpoint.home / "history.json"
        self._saved = 0
        self.outbox = OutboxFile(endpoint.home / "outbox.log")
        section = self.config.agent
        limits = Limits(
            section.slots, section.max_class, section.max_load, section.rate, max_price=section.max_price
        )
        self.agent = Agent(
            [adapter.spec for adapter in adapters],
            limits,
            self._load_history(),
            restored=self.outbox.open(),
            now=self._now(),
        )
        self._keeper = Keeper(self.outbox)
        try:
            self.outbox.rewrite(self.agent.records())
        except OutboxFull as error:  # what it holds already is the same, only longer
            self._keeper.filled(error)
        cache = InputCache(endpoint.home / "cache", section.cache_mib << 20)
        self._executor = Executor(
            self._adapters, endpoint.artifacts, endpoint.me, jobs, self._clock, self._take, cache
        )
        self._meter = LoadMeter()
        self._inbox: deque[Event] = deque()
        self._taking = False
        self._said: list[Say] = []
        self._endings: list[Say] = []
        self._something_said = asyncio.Event()
        self._something_ended = asyncio.Event()
        self._quiet = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._failure: AgentError | None = None
        self._broken = asyncio.Event()
        self._closing = False
        self._work: asyncio.TaskGroup | None = None
        self._obedience = Obedience(endpoint.halts, self._take, self._forbid, self._end_all)
        for adapter in adapters:
            if adapter.spec.warning:
                log.warning("agent %s: %s", adapter.spec.name, adapter.spec.warning)
        for out in self.left_out:
            log.warning("agent %s is not offered: %s %s", out.name, out.error.message, out.error.hint)

    # --- for the daemon ---

    left_out: list[LeftOut]
    """Agents that are configured and cannot be offered here, with the reason."""

    def cards(self) -> list[AgentCard]:
        """The agents on offer."""
        return self.agent.cards()

    @property
    def slots_total(self) -> int:
        """Slots in all."""
        return self.agent.slots_total

    @property
    def slots_used(self) -> int:
        """Slots in use."""
        return self.agent.slots_used

    def load(self) -> float:
        """How busy the device is, 0 to 1."""
        return self.agent.load

    async def run(self, stop: asyncio.Event) -> None:
        """Sell work until `stop` is set, then let what runs finish for a moment, end the rest, and say how it ended.

        Raises:
            OutboxError: the node's file cannot be written any more; it may not go on without it.
        """
        self._take(LoadMeasured(self._meter.measure()))
        try:
            async with asyncio.TaskGroup() as work:
                self._executor.use(work)
                self._work = work
                async with asyncio.TaskGroup() as service:
                    speakers = [
                        service.create_task(self._speak()),
                        service.create_task(self._speak_endings()),
                    ]
                    watch = service.create_task(self._watch_load())
                    self._obedience.begin()
                    await self._listen()
                    self._take(Connected())
                    await _first_of(service, stop, self._broken)
                    await self._wind_down()
                    watch.cancel()
                    _, late = await asyncio.wait(speakers, timeout=_SAY_S)
                    for speaker in late:
                        speaker.cancel()
        finally:
            self._close_down()
            for adapter in self._adapters.values():
                await adapter.close()
            self.outbox.close()
        if self._failure is not None:
            raise self._failure

    # --- in ---

    async def _listen(self) -> None:
        await self.endpoint.listen(subjects.to_node(self.endpoint.me), self._on_message)
        for capability in self.agent.capabilities:
            await self.endpoint.listen(subjects.announce(capability), self._on_message)
        self.endpoint.bus.on_state(self._on_bus_state)

    def _on_message(self, received: Received) -> None:
        event = _event_of(received)
        if event is None:
            return
        if isinstance(event, (Announced, Awarded)):
            self._look_at_disk()
        if not self._obedience.defers(event):
            self._take(event)

    def _on_bus_state(self, state: Any, _reason: str) -> None:
        if state.value == "connected":
            self._take(Connected())

    # --- orders to halt ---

    def _forbid(self, on: bool) -> None:
        self._running.halted = on

    def _end_all(self, turn: int) -> None:
        if self._work is not None and not self._closing:
            self._work.create_task(self._end_processes(turn))

    async def _end_processes(self, turn: int) -> None:
        """Kill first and ask nobody; then see that the work has noticed, and that nothing was started meanwhile."""
        stopped = await asyncio.to_thread(self._running.kill)
        await self._until_idle(_HALT_S)
        if self._obedience.holds(turn):  # what runs after it was lifted may run
            stopped += await asyncio.to_thread(self._running.kill)
        log.warning("halted: %d processes were ended", stopped)
        self._obedience.ended(turn, stopped)

    def _now(self) -> float:
        return self._epoch + self._clock.monotonic()

    def _take(self, event: Event) -> None:
        """Hand an event to the core and carry out what it decides; events that this causes at once come next, not inside."""
        self._inbox.append(event)
        if self._taking:
            return
        self._taking = True
        try:
            while self._inbox and self._failure is None:
                self._carry_out(self.agent.handle(self._inbox.popleft(), self._now()))
        except OutboxError as error:
            self._failure = error
            self._broken.set()
        finally:
            self._taking = False
        if self.agent.idle:
            self._quiet.set()
        self._set_timer()

    # --- out ---

    def _carry_out(self, step: Step) -> None:
        self._do(self._keeper.admit(step))

    def _do(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, Say):
                if isinstance(command.item, _ENDINGS):
                    self._endings.append(command)
                else:
                    self._said.append(command)
            elif isinstance(command, Start):
                over = self._executor.start(command)
                if over is not None:
                    self._inbox.append(over)
            elif isinstance(command, Stop):
                self._executor.stop(command.key)
        if self._said:
            self._something_said.set()
        if self._endings:
            self._something_ended.set()

    async def _speak(self) -> None:
        while self._said or not self._closing:
            await self._something_said.wait()
            self._something_said.clear()
            batch, self._said = self._said, []
            await self._send(batch)

    async def _speak_endings(self) -> None:
        while self._endings or not self._closing:
            await self._something_ended.wait()
            self._something_ended.clear()
            batch, self._endings = self._endings, []
            try:
                if self.outbox.unsynced:
                    await asyncio.to_thread(self.outbox.sync)
                if self.outbox.grown and not self._keeper.full:
                    self.outbox.rewrite(self.agent.records())
            except OutboxFull as error:
                self._keeper.filled(error)
                if self.outbox.unsynced:  # not on the disk yet, so not said
                    self._endings = batch + self._endings
                    continue
            except OutboxError as error:
                self._failure = error
                self._broken.set()
                return
            await self._send(batch)

    async def _send(self, batch: list[Say]) -> None:
        groups: dict[tuple[str, type[Item]], list[Item]] = {}
        for say in batch:
            groups.setdefault((say.run, type(say.item)), []).append(say.item)
        for (run, kind), items in groups.items():
            subject = subjects.bid if issubclass(kind, _BIDS) else subjects.work
            try:
                await self.endpoint.send(subject(run, self.endpoint.me), items, run=run)
            except MeshError as error:
                # Endings are said again until they are acknowledged; all else is asked for again when the bus is back.
                log.warning("%d %s of run %s not sent: %s", len(items), kind.__name__, run[-6:], error)

    # --- time ---

    def _set_timer(self) -> None:
        due = self.agent.deadline()
        if due is None or due >= self._timer_at or self._closing:
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer_at = due
        self._timer = loop.call_later(max(0.0, due - self._now()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        self._take(Tick())

    async def _watch_load(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(_MEASURE_S)
            self._retry_disk()
            self._take(LoadMeasured(self._meter.measure()))
            count += 1
            if count % _SAVE_EVERY == 0:
                self._save_history()

    def _look_at_disk(self) -> None:
        """Take no new work while the disk is nearly full: what it holds back is for the records of work that was taken."""
        disk = os.statvfs(self.endpoint.home)
        least = min(_LEAST_BYTES, disk.f_blocks * disk.f_frsize // 20)
        room = not self._keeper.full and disk.f_bavail * disk.f_frsize >= least
        if room != self.agent.room:
            if room:
                log.warning("there is room on the disk again: work is taken")
            else:
                home = self.endpoint.home
                log.warning(
                    "the disk of %s is full: no work is taken until %d KiB are free", home, least >> 10
                )
            self._take(RoomMeasured(room))

    def _retry_disk(self) -> None:
        if self._keeper.full:
            try:
                self._do(self._keeper.retry())
            except OutboxError as error:
                self._failure = error
                self._broken.set()
            if self._endings:
                self._something_ended.set()
        self._look_at_disk()

    # --- start and end ---

    def _load_history(self) -> History:
        try:
            return History.load(self._history_file.read_bytes())
        except OSError:
            return History()

    def _save_history(self) -> None:
        history = self.agent.history
        if history.changes == self._saved:
            return
        try:
            private_write(self._history_file, history.dump())
            self._saved = history.changes
        except (OSError, MeshError) as error:
            log.warning("the history of this node is not saved: %s", error)

    async def _wind_down(self) -> None:
        """Take nothing new, wait a little for what runs, stop the rest, and say how everything ended."""
        self._take(DrainAsked())
        await self._until_idle(self.config.agent.drain_s)
        self._take(StopAsked())
        await self._until_idle(_STOP_S)
        self._closing = True
        self._something_said.set()
        self._something_ended.set()

    async def _until_idle(self, bound_s: float) -> None:
        self._quiet.clear()
        if self.agent.idle or bound_s <= 0:
            return
        try:
            async with asyncio.timeout(bound_s):
                while not self.agent.idle:
                    await self._quiet.wait()
                    self._quiet.clear()
        except TimeoutError:
            pass

    def _close_down(self) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._save_history()


def _event_of(received: Received) -> Event | None:
    """The core's event for a verified message; None for kinds that are not meant for the seller."""
    items: Any = received.items
    run, kind, cls = received.run, type(items[0]), received.header.cls
    if kind is Announce:
        return Announced(run, items, cls)
    if kind is Award:
        return Awarded(run, items, cls)
    if kind is Who:
        return Connected()  # a coordinator has just (re)started: it may have missed how something ended
    plain: dict[type[Any], Any] = {
        Reject: BidsRejected,
        Cancel: CancelAsked,
        ResultAck: Acked,
        Withdraw: Withdrawn,
    }
    make = plain.get(kind)
    return make(run, items) if make is not None else None


async def _first_of(tasks: asyncio.TaskGroup, *events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [tasks.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
