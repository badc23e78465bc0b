"""Bugs to plant into the cores, one at a time: the simulator's referee has to find each of them.

python -m tests.support.planted            which seed finds which, of 500
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import pytest

from agent_node import agent, fences, slots, workbook
from agent_node.obeying import Obedience
from agent_node.outbox import Outbox
from coordinator_node import engine, fold, hedging, lane, market, runs, transitions, watch, work
from coordinator_node.orders import Command
from coordinator_node.sim_actor import SimCoordinator
from coordinator_node.waiting import Waiting
from mesh import halting
from mesh.halting import Halts
from mesh.sim import Broken, Faults, World
from mesh.sim.disk import SimFile
from mesh.sim.store import Store
from protocol.messages import Progress, Result
from protocol.records import Accepted, Record

__all__ = ["BUGS", "SEEDS", "found_by"]

SEEDS = 500
Patch = pytest.MonkeyPatch


def _any_attempt(patch: Patch, fits: Callable[[watch.Live, str], bool]) -> None:
    get = watch.Watch.get

    def lenient(self: watch.Watch, key: Any, attempt: int) -> watch.Live | None:
        return get(self, key, attempt) or next(iter(self.of(key)), None)

    patch.setattr(watch.Watch, "get", lenient)
    patch.setattr(watch.Live, "fits", lambda self, attempt, epoch, node: fits(self, node))


def no_fence(patch: Patch) -> None:
    """A message counts whatever attempt it names."""
    _any_attempt(patch, lambda live, node: True)


def late_result_applied(patch: Patch) -> None:
    """A result of an earlier attempt of the same node counts."""
    _any_attempt(patch, lambda live, node: node == live.node)


def send_before_append(patch: Patch) -> None:
    """Commands leave before their records are durable."""

    def push(self: lane.Lane, records: list[Record], commands: list[Command]) -> list[Command]:
        self.waiting += records
        return commands

    patch.setattr(lane.Lane, "push", push)


def ack_before_durable(patch: Patch) -> None:
    """An append whose answer does not come is taken for written."""

    def unanswered(self: SimCoordinator, pack: Any, tries: int) -> None:
        if not pack.over and pack.tries == tries:
            pack.over = True
            self._written(pack, pack.lane.seq + 1)

    patch.setattr(SimCoordinator, "_unanswered", unanswered)


def lease_by_life(patch: Patch) -> None:
    """A lease lasts as long as its node is alive, whether the work moves or not."""
    due = watch.Watch.due

    def lenient(self: watch.Watch, now: float) -> list[tuple[watch.Live, Any]]:
        found = due(self, now)
        kept = [(live, what) for live, what in found if what != "lease" or not live.taken]
        for live, what in found:
            if what == "lease" and live.taken:
                live.heard_at = now
                self._arm(live)
        return kept

    patch.setattr(watch.Watch, "due", lenient)


def double_settle(patch: Patch) -> None:
    """A result that comes a second time is accepted a second time, and the fold allows it."""
    stale, end = work.Work._stale, fold._ended

    def accept_again(self: work.Work, desk: Any, event: Any, item: Any) -> None:
        subtask = desk.state.subtasks.get(item.subtask)
        if isinstance(item, Result) and subtask is not None and subtask.status == "accepted":
            last = subtask.attempts[-1]
            again = Accepted(
                at_ms=self._engine.at_ms,
                subtask=item.subtask,
                attempt=last.number,
                epoch=last.epoch,
                node=last.node,
                outputs=item.outputs,
                wall_ms=1,
            )
            self._engine._step.records.append((desk.run, again))
            return
        stale(self, desk, event, item)

    patch.setattr(SimCoordinator, "_check_touched", lambda self, step: None)
    patch.setattr(SimCoordinator, "check", lambda self: None)
    patch.setattr(work.Work, "_stale", accept_again)
    patch.setattr(
        fold, "_ended", lambda state, subtask, at_ms: None if subtask.ended_ms else end(state, subtask, at_ms)
    )
    patch.setitem(transitions.SUBTASK, ("accepted", "subtask.accepted"), "accepted")


def forgotten_attempts(patch: Patch) -> None:
    """Attempts that hold are forgotten by a restart."""
    patch.setattr(runs, "standing", lambda state: iter(()))


def no_new_epoch(patch: Patch) -> None:
    """Who takes a run up takes no new epoch."""
    take_over = runs.take_over
    patch.setattr(runs, "take_over", lambda *given: take_over(*given)[1:])


def leak_in_flight(patch: Patch) -> None:
    """An attempt that ends stays in the count of what is out."""

    def end_live(self: engine.Engine, live: watch.Live) -> None:
        self.watch.drop(live)
        self.hedges.ended(live)
        self.market.hold(live.node, -1)

    patch.setattr(engine.Engine, "end_live", end_live)


def lost_outbox(patch: Patch) -> None:
    """A restart forgets how attempts ended that nobody has acknowledged."""
    restore = workbook.WorkBook.restore

    def forgetful(self: workbook.WorkBook, past: Any, *rest: Any) -> None:
        past.entries.clear()
        restore(self, past, *rest)

    patch.setattr(workbook.WorkBook, "restore", forgetful)


def outbox_not_kept(patch: Patch) -> None:
    """An ending is said once, and not again when nobody acknowledges it."""
    patch.setattr(Outbox, "all", lambda self: iter(()))
    patch.setattr(workbook.WorkBook, "_resend", lambda self, key, now, step: None)


def no_sync(patch: Patch) -> None:
    """Endings are said although the disk does not have them."""
    patch.setattr(SimFile, "sync", lambda self: None)


def double_take(patch: Patch) -> None:
    """A node takes an award that it has answered before."""
    patch.setattr(fences.Fences, "refuses", lambda self, key: None)


def more_than_slots(patch: Patch) -> None:
    """What waits starts although no slot is free."""
    patch.setattr(slots.Slots, "startable", lambda self, agent: self.pools[agent].queued > 0)


def cancelled_too_early(patch: Patch) -> None:
    """`cancelled` is said while the work still runs."""
    stop = workbook.WorkBook.stop

    def hasty(self: workbook.WorkBook, attempt: Any, why: Any, now: float, step: Any) -> None:
        running = attempt.phase.value == "running"
        stop(self, attempt, why, now, step)
        if running:
            self._finish(attempt, None, now, step, ran=True)

    patch.setattr(workbook.WorkBook, "stop", hasty)


def words_without_work(patch: Patch) -> None:
    """Progress renews a lease although no step was made."""
    progress = watch.Watch.progress

    def believes(self: watch.Watch, live: watch.Live, item: Progress, now: float) -> bool:
        live.step = -1
        return progress(self, live, item, now)

    patch.setattr(watch.Watch, "progress", believes)
    # A second node would do the work, and hide it.
    patch.setattr(hedging.Hedges, "awarded", lambda self, live: None)


def forgotten_second(patch: Patch) -> None:
    """A second attempt is forgotten when the first is good."""
    patch.setattr(work.Work, "_superseded", lambda self, desk, live: self._engine.end_live(live))


def paused_award(patch: Patch) -> None:
    """A pause leaves the rounds open that it finds."""
    patch.setattr(runs.Runs, "_drop_rounds", lambda self, desk, withdraw=False: None)


def limit_is_silence(patch: Patch) -> None:
    """The lease runs on while an attempt waits for a limit of use."""
    progress = watch.Watch.progress

    def deaf(self: watch.Watch, live: watch.Live, item: Progress, now: float) -> bool:
        return progress(self, live, item.model_copy(update={"wait_ms": 0}), now)

    patch.setattr(watch.Watch, "progress", deaf)


def limit_forgotten(patch: Patch) -> None:
    """A node that has reached a limit of use is given more at once."""
    patch.setattr(market.Market, "limit", lambda self, node, capability, until: None)


def person_is_silence(patch: Patch) -> None:
    """An attempt that waits for a person is taken for one that works and does not move."""
    enter = watch.Watch.enter

    def impatient(self: watch.Watch, live: watch.Live, state: Any, now: float) -> None:
        enter(self, live, "working" if state == "person" else state, now)

    patch.setattr(watch.Watch, "enter", impatient)


def waiting_is_late(patch: Patch) -> None:
    """Work that waits is hedged like work that is slow."""
    look, wanted = hedging.Hedges._look, hedging.Hedges.wanted

    def all_work(self: hedging.Hedges, key: Any, question: Callable[[], Any]) -> Any:
        states = [(live, live.state) for live in self._engine.watch.of(key)]
        for live, _ in states:
            live.state = "working"
        try:
            return question()
        finally:
            for live, state in states:
                live.state = state

    patch.setattr(
        hedging.Hedges,
        "_look",
        lambda self, desk, live, now: all_work(self, live.key, lambda: look(self, desk, live, now)),
    )
    patch.setattr(
        hedging.Hedges,
        "wanted",
        lambda self, desk, name: all_work(self, (desk.run, name), lambda: wanted(self, desk, name)),
    )


def stale_owner_writes(patch: Patch) -> None:
    """Appends are not compared with what is there: who was deposed and does not know it writes on."""
    arrived = Store._arrived

    def blind(self: Store, request: Any) -> None:
        request.expected = len(self.logs.get(request.run, ()))
        arrived(self, request)

    patch.setattr(Store, "_arrived", blind)


def rounds_under_a_halt(patch: Patch) -> None:
    """A halt leaves the rounds open that it finds."""

    def halt_changed(self: runs.Runs, event: Any) -> None:
        (self._engine.halts.add if event.on else self._engine.halts.discard)(event.why)
        for desk in self._engine.desks.values():
            for name in desk.state.ready:
                self._engine.add(desk, name)

    patch.setattr(runs.Runs, "halt_changed", halt_changed)


def halted_node_takes(patch: Patch) -> None:
    """A halted node ends what it works on, and takes what comes."""
    halt = agent.Agent._halt

    def forgetful(self: agent.Agent, event: Any, now: float, step: Any) -> None:
        halt(self, event, now, step)
        self.halted = False

    patch.setattr(agent.Agent, "_halt", forgetful)


def word_before_the_end(patch: Patch) -> None:
    """A node says that it has carried out a halt as soon as it has heard of it."""
    halt = Obedience._halt

    def hasty(self: Obedience) -> None:
        halt(self)
        self._halts.carried_out(0)

    patch.setattr(Obedience, "_halt", hasty)


def old_order_rules(patch: Patch) -> None:
    """The order that came last rules, whatever its number."""
    patch.setattr(halting, "newer", lambda order, known: True)


def store_not_asked(patch: Patch) -> None:
    """A node that is connected again does not wait for what the swarm's store has."""
    patch.setattr(Halts, "set_sure", lambda self, sure: None)


def halt_in_the_queue(patch: Patch) -> None:
    """An order to halt waits behind what came before it while the lease was out."""
    patch.setattr(Waiting, "put", lambda self, event: self._events.append(event))


def tail_lost(patch: Patch) -> None:
    """The store acknowledges an append, and then loses it."""
    head = Store._head

    def forgetful(self: Store, run: str, entry: Any) -> None:
        head(self, run, entry)
        if entry.seq == _LOST:
            self.logs[run].pop()

    patch.setattr(Store, "_head", forgetful)


def gap(patch: Patch) -> None:
    """The store loses a message in the middle of a journal."""
    head = Store._head

    def forgetful(self: Store, run: str, entry: Any) -> None:
        head(self, run, entry)
        if entry.seq == _LOST:
            del self.logs[run][_LOST // 2]

    patch.setattr(Store, "_head", forgetful)


_LOST: Final = 6
"""The message of a run at which something is lost."""

BUGS: dict[str, Callable[[Patch], None]] = {
    bug.__name__: bug
    for bug in (
        no_fence,
        late_result_applied,
        send_before_append,
        ack_before_durable,
        lease_by_life,
        double_settle,
        forgotten_attempts,
        no_new_epoch,
        leak_in_flight,
        lost_outbox,
        outbox_not_kept,
        no_sync,
        double_take,
        more_than_slots,
        cancelled_too_early,
        words_without_work,
        forgotten_second,
        paused_award,
        limit_is_silence,
        limit_forgotten,
        person_is_silence,
        waiting_is_late,
        stale_owner_writes,
        rounds_under_a_halt,
        halted_node_takes,
        word_before_the_end,
        old_order_rules,
        store_not_asked,
        halt_in_the_queue,
        tail_lost,
        gap,
    )
}
_WORLD: Final = Faults(power_cuts=2, wedge=0.15)
_HALTED: Final = Faults(halts=1.0)
WORLDS: Final = dict.fromkeys(
    (
        "rounds_under_a_halt",
        "halted_node_takes",
        "word_before_the_end",
        "old_order_rules",
        "store_not_asked",
        "halt_in_the_queue",
    ),
    _HALTED,
)
"""Bugs that show in other worlds than the usual ones."""


def found_by(name: str, seeds: int = SEEDS) -> tuple[int, str] | None:
    """The first seed that finds a bug, and what the referee says."""
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name](patch)
        for seed in range(seeds):
            try:
                World(seed, faults=WORLDS.get(name, _WORLD)).play()
            except Broken as broken:
                return seed, str(broken).partition("\n")[0]
    return None


if __name__ == "__main__":
    missed = 0
    for one in sys.argv[1:] or BUGS:
        found = found_by(one)
        missed += found is None
        print(
            f"{one:22} {'NOT FOUND' if found is None else f'seed {found[0]:3}: {found[1][:150]}'}", flush=True
        )
    sys.exit(1 if missed else 0)
