"""What people do to a simulated swarm: they ask for runs, stop them or a part of them, and let them pause; and they ask again until it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .world import World

__all__ = ["arrange"]

_ASK_S: Final = 2.0
"""A client asks again after so long."""
_SPREAD_S: Final = 15.0
"""Runs are asked for at most so far apart."""
_PAUSE_S: Final = 20.0


def arrange(world: World) -> None:
    """Put what people do into the world's future."""
    faults, rng, at = world.faults, world.rng, world.timeline.at
    for number, run in enumerate(world.plans):
        when = rng.uniform(0.1, _SPREAD_S) * number
        if run == world.last:
            at(faults.until_s + _SPREAD_S, _submit, world, run)
            continue
        at(when, _submit, world, run)
        if not faults.until_s:
            continue
        if rng.random() < faults.cancels:
            at(when + rng.uniform(0.5, 20), _cancel, world, run)
        if rng.random() < faults.pauses:
            at(
                when + rng.uniform(0.5, _PAUSE_S),
                _pause,
                world,
                run,
                True,
                world.timeline.elapsed + when + _PAUSE_S,
            )
            at(when + rng.uniform(_PAUSE_S + 1, 60), _pause, world, run, False, faults.until_s + 60)
        if rng.random() < faults.stops:
            name = rng.choice([subtask.id for subtask in world.plans[run].subtasks])
            at(when + rng.uniform(0.5, 20), _cancel_one, world, run, name)


def _submit(world: World, run: str) -> None:
    if run not in world.ledger.opened:
        world.timeline.at(_ASK_S, _submit, world, run)
        world.rng.choice(world.coordinators).submit(run, world.plans[run])


def _cancel(world: World, run: str) -> None:
    if run not in world.ledger.closed and run not in world.ledger.cancelling:
        world.timeline.at(_ASK_S, _cancel, world, run)
        for coordinator in world.coordinators:
            coordinator.cancel(run)


def _cancel_one(world: World, run: str, name: str) -> None:
    ledger = world.ledger
    if run in ledger.closed or {(run, name)} & (ledger.stopping | ledger.terminal.keys()):
        return
    world.timeline.at(_ASK_S, _cancel_one, world, run, name)
    for coordinator in world.coordinators:
        coordinator.cancel(run, name)


def _pause(world: World, run: str, on: bool, until: float) -> None:
    ledger = world.ledger
    if run in ledger.closed or run in ledger.cancelling or (on and run in ledger.paused):
        return
    if world.timeline.elapsed <= until:
        world.timeline.at(_ASK_S, _pause, world, run, on, until)
    if (run in ledger.paused) != on:
        for coordinator in world.coordinators:
            coordinator.pause(run, on=on)
