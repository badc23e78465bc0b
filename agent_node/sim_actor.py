"""A node's process in a simulated world: the daemon's Agent, with executor, file and speaker played in virtual time.

Rules. It does what `node` does, in its order: records are written before anything is said or begun, endings are said after the file is synced. The file has the
real frames (`outbox_file`), so what a power cut tears is read back by the real reader. Nodes have characters: a usual one, or a liar that
overstates its bids and often delivers something wrong; attempts may be slow, wedged, refused by a provider, or wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mesh.roster import HEARTBEAT_S
from mesh.sim.disk import DiskFull, SimFile
from mesh.sim.halting import Device
from mesh.sim.ledger import Broken
from mesh.sim.network import Mail, Peer
from mesh.sim.plans import ref
from mesh.sim.process import Process
from mesh.sim.world import World
from protocol import subjects
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Cancelled,
    Decline,
    Failed,
    Heartbeat,
    Hello,
    Item,
    NamedRef,
    Progress,
    Reject,
    Result,
    ResultAck,
    Usage,
    Who,
    Withdraw,
)
from protocol.messages.work import WorkState

from . import events as sell
from .agent import Agent
from .attempt import Why
from .history import History, Prior
from .keeping import must_outlast
from .obeying import Obedience
from .outbox_file import encode, parse
from .policy import AgentSpec, Limits

__all__ = ["SimAgent"]

_ENDINGS: Final = (Result, Failed, Cancelled)
_FULL_S: Final = 5.0
_POINTS: Final = (
    "agent.event.before",
    "agent.event.decided",
    "agent.file.before",
    "agent.file.written",
    "agent.say.before",
    "agent.said",
    "agent.start.before",
    "agent.started",
    "agent.sync.before",
    "agent.synced",
    "agent.ending.said",
    "agent.acked",
)


_KILLED_S: Final = 1.0
"""The longest time that a process takes to end when it is killed."""
_GIVES_UP: Final = 1 / 3
"""Share of the work that waits for a limit of use, and ends when it has waited."""
_LEASE_MOST = 6
"""So many times the longest silence that was asked for nothing holds that does not move, when nothing goes wrong."""


@dataclass(slots=True)
class _Job:
    """Work under way."""

    key: sell.AttemptKey
    slot: int
    began: float
    steps: int
    seconds: float
    used: Usage
    person: bool = False
    """It waits for a person now."""


class SimAgent(Process):
    """One node."""

    kind = "agent"
    points = _POINTS
    back_most_s = 15.0

    def __init__(self, world: World, peer: Peer, *, first: bool = False) -> None:
        super().__init__(world, peer)
        rng = world.rng
        large = len(world.capabilities) > 2
        self.slots = 1 if large else rng.randint(1, 3)
        every = first or rng.random() < 0.5
        self.capabilities = frozenset(world.capabilities if every else {rng.choice(world.capabilities)})
        self.speed = rng.uniform(0.7, 1.4) if large else rng.uniform(0.3, 3.0)
        self.liar = rng.random() < world.faults.liars
        self.file = SimFile()
        self.core: Agent | None = None
        self._device = Device(world, self, lambda: not self.file.full)
        self._obedience: Obedience | None = None
        self._jobs: dict[sell.AttemptKey, _Job] = {}
        self._begun: set[sell.AttemptKey] = set()
        """What was begun in this life."""
        self._endings: list[sell.Say] = []
        self._syncing = False
        self._pulse: Heartbeat | None = None
        self._said: dict[sell.AttemptKey, None] = {}
        """Endings that have left and nobody has acknowledged: a restart must not forget them."""

    # --- life ---

    def boot(self) -> None:
        """Come to life: first what its device knows of halts."""
        self._device.begin(self._open, lambda: len(self._jobs))

    def _open(self) -> None:
        """Sell work, with what the file has."""
        load = self.world.load
        records, _ = parse(self.file.data)
        prior = load.steps[0] * load.step_s
        spec = AgentSpec(
            "worker", self.capabilities, self.slots, queue=1, quiet_ms=int(load.quiet_s * 1000), prior=Prior(prior, 0.2)
        )  # fmt: skip
        now = self.peer.clock.steady()
        core = Agent([spec], Limits(self.slots), History(), restored=records, now=now)
        for key in self._said:
            if core.outbox.get(key) is None:
                raise Broken(f"{self.name} has said how {key.subtask}/{key.attempt} ended, and forgot it")
        try:
            self.file.replace(b"".join(map(encode, core.records())))
        except DiskFull:
            self.kill(_FULL_S)
            return
        self.core = core
        halts = self._device.halts
        self._obedience = Obedience(halts, self.take, lambda _on: None, self._end_all)
        halts.on_obeyed(self._say_pulse)
        self._obedience.begin()
        self.take(sell.Connected())
        self.hello()
        self._beat()

    def lost(self) -> None:
        """Everything in memory is gone, and all that runs."""
        now = self.world.timeline.elapsed
        for job in self._jobs.values():
            self._tallied(job, now, wrong=None)
        self.core = None
        self._device.lost()
        self._obedience = None
        self._jobs, self._endings, self._syncing = {}, [], False
        self._begun.clear()

    def come_back(self) -> None:
        """The connection is there again."""
        self.guarded(self._device.come_back)
        self.guarded(self.hello)
        self.guarded(self.take, sell.Connected())

    @property
    def settled(self) -> bool:
        """Whether nothing runs and nothing is unacknowledged."""
        return self.core is not None and self.core.idle and not len(self.core.outbox)

    def core_deadline(self) -> float | None:
        """When the core wants to be woken."""
        return self.core.deadline() if self.core is not None else None

    def wake(self) -> None:
        """The time has come."""
        self.take(sell.Tick())

    def hello(self) -> None:
        """Say who this is."""
        if self.core is None:
            return
        hello = Hello(
            name=self.name,
            version="0",
            roles=["agent"],
            agents=self.core.cards(),
            slots=self.slots,
            certificate=b"",
        )
        self._publish(subjects.heartbeat(self.peer.bus_key), "", [hello])

    def _beat(self) -> None:
        if self.core is not None:
            self._say_pulse()
            self.later(HEARTBEAT_S, self._beat)

    def _say_pulse(self) -> None:
        if self.core is None:
            return
        halts, used = self._device.halts, self.core.slots_used
        now = (used, halts.halted, halts.obeyed)
        if self._pulse is None or now != (self._pulse.slots_used, self._pulse.halted, self._pulse.halt):
            self._pulse = Heartbeat(
                load=0.1, slots_used=used, slots=self.slots, halted=now[1], halt=now[2], stopped=halts.stopped if now[1] else 0
            )  # fmt: skip
        self.world.stops.word(self.name, self._pulse, len(self._jobs))
        self.world.network.pulse(self.peer, self.world.ears, self._pulse)

    # --- in ---

    def hear(self, mail: Mail) -> None:
        """A message got through."""
        items: Any = mail.items
        if mail.kind == "control":
            self.guarded(self._device.said, items)
            return
        made: dict[type[Any], Callable[[], sell.Event]] = {
            Announce: lambda: sell.Announced(mail.run, items),
            Withdraw: lambda: sell.Withdrawn(mail.run, items),
            Reject: lambda: sell.BidsRejected(mail.run, items),
            Award: lambda: sell.Awarded(mail.run, items),
            Cancel: lambda: sell.CancelAsked(mail.run, items),
            ResultAck: lambda: sell.Acked(mail.run, items),
            Who: sell.Connected,
        }
        if isinstance(items[0], Who):
            self.guarded(self.hello)
        event = made[type(items[0])]()
        if self._obedience is not None and not self._obedience.defers(event):
            self.guarded(self.take, event)

    def take(self, event: sell.Event) -> None:
        """One step: its records reach the file, then its effects happen, one by one."""
        if self.core is None:
            return
        if isinstance(event, sell.Awarded):
            self.world.stops.takes(self.name)
        self.point("agent.event.before")
        self.world.steps += 1
        self.world.timeline.note(self.name, _line(event))
        step = self.core.handle(event, self.peer.clock.steady())
        self.point("agent.event.decided")
        if step.records:
            self.point("agent.file.before")
            try:
                self.file.append(b"".join(map(encode, step.records)))
            except DiskFull:
                self.kill(_FULL_S)
                return
            acked = [record.key for record in step.records if isinstance(record, sell.Forgot)]
            for key in acked:
                self._said.pop(key, None)
            for _ in acked:
                self.point("agent.acked")
            self.point("agent.file.written")
        self._carry_out(step)
        used, total = self.core.slots_used, self.core.slots_total
        if not 0 <= used <= total or len(self._jobs) > total:
            self.world.tally.overshoot += max(used, len(self._jobs)) - total
            raise Broken(f"{self.name} uses {used} and works on {len(self._jobs)} of {total} slots")
        self.set_timer()

    def _carry_out(self, step: sell.Step) -> None:
        said: dict[tuple[str, type[Item]], list[Item]] = {}
        if any(map(must_outlast, step.commands)):
            self.file.sync()
        for command in step.commands:
            if isinstance(command, sell.Say):
                if isinstance(command.item, _ENDINGS):
                    self._endings.append(command)
                else:
                    said.setdefault((command.run, type(command.item)), []).append(self._told(command.item))
            elif isinstance(command, sell.Start):
                self.point("agent.start.before")
                self._begin(command)
                self.point("agent.started")
            elif isinstance(command, sell.Stop):
                self._stop(command.key)
        if self._endings and not self._syncing:
            self._syncing = True
            self.later(self.world.rng.uniform(0.0005, 0.01), self._sync)
        for (run, kind), items in said.items():
            self.point("agent.say.before")
            subject = subjects.bid if issubclass(kind, (Bid, Decline)) else subjects.work
            self._publish(subject(run, self.peer.bus_key), run, items)
            self.point("agent.said")

    def _sync(self) -> None:
        self._syncing = False
        self.point("agent.sync.before")
        self.file.sync()
        self.point("agent.synced")
        endings, self._endings = self._endings, []
        groups: dict[tuple[str, type[Item]], list[Item]] = {}
        for say in endings:
            groups.setdefault((say.run, type(say.item)), []).append(say.item)
            item: Any = say.item
            key = sell.AttemptKey(say.run, item.subtask, item.attempt, item.epoch)
            if self.core is not None and self.core.outbox.get(key) is not None:
                self._said[key] = None
        for (run, _), items in groups.items():
            self._publish(subjects.work(run, self.peer.bus_key), run, items)
            self.point("agent.ending.said")

    def _told(self, item: Item) -> Item:
        """What it says; a liar promises more than it can."""
        if self.liar and isinstance(item, Bid):
            return item.model_copy(
                update={"eta_ms": max(1, item.eta_ms // 4), "price": item.price // 4, "success": 0.99, "load": 0.0}
            )  # fmt: skip
        return item

    def _publish(self, subject: str, run: str, items: list[Item]) -> None:
        self.world.network.send(self.peer, self.world.desks, subject, run, items)

    # --- work ---

    def _begin(self, command: sell.Start) -> None:
        world, key = self.world, command.key
        if key in self._begun:
            raise Broken(f"{self.name} begins {key.subtask}/{key.attempt} a second time")
        self._begun.add(key)
        self.world.stops.begins(self.name, f"{key.subtask}/{key.attempt}")
        rng, load, chance = world.rng, world.load, world.network.chance
        steps, seconds = load.draw(rng)
        seconds *= self.speed * (5 if chance(world.faults.slow) else 1)
        taken = {job.slot for job in self._jobs.values()}
        slot = next(number for number in range(self.slots + 1) if number not in taken)
        job = self._jobs[key] = _Job(
            key,
            slot,
            world.timeline.elapsed,
            steps,
            seconds,
            world.spending.begin(key.run, command.award.caps),
        )
        world.tally.begun(key, self.peer.node, (self.name, slot), job.began)
        if chance(world.faults.wedge):
            moves = rng.uniform(0, seconds)
            self.later(moves, self._wedged, job)
            self._moving(job, moves)
            self.later(moves + load.wedged_s, self._finish, job)
        elif chance(world.faults.limited):
            self.later(rng.uniform(0, seconds), self._limited, job)
        elif chance(world.faults.waits):
            self._begin_waiting(job, seconds)
        else:
            self._moving(job, seconds)
            self.later(seconds, self._finish, job)

    def _begin_waiting(self, job: _Job, seconds: float) -> None:
        """Work that stands still for a while in its middle, and says why."""
        rng, load, faults = self.world.rng, self.world.load, self.world.faults
        began, lasts, person = rng.uniform(0, seconds), rng.uniform(1, 6) * load.quiet_s, rng.random() < 0.5
        if person and rng.random() < faults.patient:
            lasts = load.deadline_s * rng.uniform(1.0, 1.2)
        self._moving(job, began)
        self.later(began, self._waits, job, person, lasts)
        if not person and rng.random() < _GIVES_UP:
            self.later(began + lasts, self._limited, job)
            return
        self.later(began + lasts, self._report, job, seconds + lasts)
        self.later(began + lasts + seconds, self._finish, job)

    def _moving(self, job: _Job, seconds: float) -> None:
        """Say how far it is, now and then, while it moves."""
        every = self.world.load.progress_s
        done = self.world.timeline.elapsed - job.began
        if done + every < seconds:
            self.later(every, self._report, job, seconds)

    def _report(self, job: _Job, seconds: float) -> None:
        if self._jobs.get(job.key) is not job:
            return
        share = (self.world.timeline.elapsed - job.began) / job.seconds
        step = max(1, int(job.steps * share))
        job.person = False
        self._moving(job, seconds)
        self.take(sell.WorkProgress(job.key, step, min(1.0, share)))

    def _waits(self, job: _Job, person: bool, seconds: float) -> None:
        if self._jobs.get(job.key) is job:
            job.person = person
            state: WorkState = "person" if person else "limited"
            self.take(sell.WorkProgress(job.key, 0, state=state, wait_ms=int(seconds * 1000)))

    def _wedged(self, job: _Job) -> None:
        if self._jobs.get(job.key) is job:
            self.world.timeline.note(self.name, f"is wedged at {job.key.subtask}")
            self.world.tally.stuck(job.key, self.peer.node, self.world.timeline.elapsed)
            if self.world.rng.random() < self.world.faults.chatter:
                self._chatter(job, self.world.timeline.elapsed)

    def _chatter(self, job: _Job, since: float) -> None:
        """It is wedged, and says that it works: the same step again and again."""
        world = self.world
        calm = world.timeline.elapsed - max(since, world.faults.until_s)
        if calm > _LEASE_MOST * world.load.quiet_s and self._jobs.get(job.key) is job:
            raise Broken(f"{job.key.subtask} does not move, and {self.name} still has it after {calm:.0f} s")
        if self._jobs.get(job.key) is not job or self.core is None or job.key not in self.core.attempts:
            return
        key = job.key
        step = self.core.attempts[key].step
        item = Progress(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch, step=step, note="on it")
        self._publish(subjects.work(key.run, self.peer.bus_key), key.run, [item])
        self.later(2.0, self._chatter, job, since)

    def _limited(self, job: _Job) -> None:
        if self._over(job, wrong=None):
            rng, quiet_s = self.world.rng, self.world.load.quiet_s
            retry_ms = int(1000 * quiet_s * rng.uniform(0.5, 4)) if rng.random() < 0.5 else 0
            self.take(
                sell.WorkFailed(
                    job.key, "E_LIMITED", "the provider said 429", True, job.used, retry_ms=retry_ms
                )
            )

    def _finish(self, job: _Job) -> None:
        world, faults, key = self.world, self.world.faults, job.key
        chance = world.network.chance
        if chance(faults.fail):
            if self._over(job, wrong=None):
                self.take(sell.WorkFailed(key, "E_WORK", "it broke", world.rng.random() < 0.8, job.used))
            return
        wrong = chance(min(1.0, faults.bad * (6 if self.liar else 1)))
        if not self._over(job, wrong=wrong):
            return
        name = "bad.json" if wrong and world.rng.random() < faults.caught else "out.json"
        output = NamedRef(name=name, ref=ref(f"{key.run} {key.subtask} {wrong}"))
        wall_ms = int(job.seconds * 1000)
        self.take(sell.WorkDone(key, [output], wall_ms, wall_ms // 10, job.used))

    def _over(self, job: _Job, *, wrong: bool | None) -> bool:
        """Nothing of it runs any more; False if that was so before."""
        if self._jobs.get(job.key) is not job:
            return False
        del self._jobs[job.key]
        self._tallied(job, self.world.timeline.elapsed, wrong=wrong)
        return True

    def _tallied(self, job: _Job, now: float, *, wrong: bool | None) -> None:
        steps = (
            min(job.steps, int(job.steps * (now - job.began) / job.seconds)) if wrong is None else job.steps
        )
        where = (self.name, job.slot)
        self.world.tally.over(job.key, self.peer.node, where, now, steps=steps, wrong=wrong)

    def _stop(self, key: sell.AttemptKey) -> None:
        job = self._jobs.get(key)
        if job is None:
            return
        attempt = self.core.attempts.get(key) if self.core is not None else None
        if job.person and attempt is not None and attempt.why is Why.DEADLINE:
            raise Broken(f"{self.name} stops {key.subtask} at its deadline, and it waits for a person")
        self.later(self.world.rng.uniform(0.01, 1.5), self._stopped, key)

    def _stopped(self, key: sell.AttemptKey) -> None:
        job = self._jobs.get(key)
        if job is not None and self._over(job, wrong=None):
            self.take(sell.WorkStopped(key, job.used))

    def _end_all(self, turn: int) -> None:
        """Everything that runs is killed."""
        ends = [self.world.rng.uniform(0.01, _KILLED_S) for _ in self._jobs]
        for key, wait in zip(list(self._jobs), ends, strict=True):
            self.later(wait, self._killed, key)
        self.later(max(ends, default=0.0) + 0.001, self._all_ended, turn, len(ends))

    def _killed(self, key: sell.AttemptKey) -> None:
        job = self._jobs.get(key)
        if job is not None and self._over(job, wrong=None):
            self.take(sell.WorkFailed(key, "E_WORKER_DIED", "killed", False, job.used))

    def _all_ended(self, turn: int, stopped: int) -> None:
        if self._obedience is not None:
            self._obedience.ended(turn, stopped)

    # --- checks ---

    def check(self) -> None:
        """What it thinks that it works on is what it works on."""
        if self.core is None:
            return
        running = {key for key, attempt in self.core.attempts.items() if attempt.phase.value != "queued"}
        if running != set(self._jobs):
            raise Broken(f"{self.name} works on {sorted(self._jobs)}, and its core thinks {sorted(running)}")

    def story(self) -> str:
        """What it still has."""
        if self.core is None or self.settled:
            return "" if self.gone or self.core is not None else f"{self.name} is down"
        return f"{self.name}: {len(self.core.attempts)} attempts, {len(self.core.outbox)} unacknowledged"


def _line(event: Any) -> str:
    """An event in a few words, the same in every process."""
    items = getattr(event, "items", None)
    kind = type(event).__name__
    if items is None:
        key = getattr(event, "key", None)
        return f"{kind} {key.subtask}/{key.attempt}" if key is not None else kind
    names = ",".join(
        f"{type(item).__name__}:{item.subtask}/{getattr(item, 'attempt', '') or getattr(item, 'round', 0) & 0xFFFFF}"
        for item in items
    )
    return f"{kind} {event.run[-4:]} {names}"
