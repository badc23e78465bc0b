"""The verb `sim`: plan a swarm by playing it in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from protocol.errors import ZwermError

from .clock import SystemClock
from .output import Exit
from .sim.faults import PROFILES
from .verbs import Session, command

if TYPE_CHECKING:
    from .sim.world import World

__all__ = ["COMMANDS", "RuleBroken"]


class RuleBroken(ZwermError):
    """A simulated swarm broke one of the rules that must always hold."""

    def __init__(self, found: str) -> None:
        first, _, trace = found.partition("\n")
        super().__init__(
            "E_SIM",
            f"the simulated swarm broke a rule: {first}",
            f"This is a defect of zwerm: report it with the same numbers and seed. What came before:\n{trace}",
        )


@command()
@click.option(
    "--agents",
    type=click.IntRange(1, 5_000),
    default=30,
    show_default=True,
    help="Nodes that work, one slot each.",
)
@click.option(
    "--subtasks",
    type=click.IntRange(1, 50_000),
    default=400,
    show_default=True,
    help="Pieces of work, about 300 steps each.",
)
@click.option(
    "--hours",
    type=click.FloatRange(0.1, 24 * 30),
    default=2.0,
    show_default=True,
    help="For how long that is to keep them busy.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed is the same history."
)
@click.option(
    "--faults", type=click.Choice(PROFILES), default="mild", show_default=True, help="How much goes wrong."
)
def sim(session: Session, agents: int, subtasks: int, hours: float, seed: int, faults: str) -> int:
    r"""See how a swarm would do, before there is one.

    Plays a whole swarm in virtual time, with the very code that decides in a real one: nodes die, wedge, lie and vanish, links break, messages are lost and
    doubled, clocks are wrong, disks fill up. Then it says how long the work took, what it cost in messages, and how fast trouble was found.
    Lost, duplicated and overshoot must be 0.

    \b
    Examples:
      zwerm sim --agents 300 --subtasks 4000 --hours 12 --seed 7 --json
      zwerm sim --faults hostile
    """  # fmt: skip
    from .sim.ledger import Broken
    from .sim.planning import large_world
    from .sim.report import lines, report

    clock = SystemClock()
    began = clock.monotonic()
    out = session.out
    shown = began

    def watch(world: World) -> None:
        nonlocal shown
        now = clock.monotonic()
        if session.timeout_s is not None and now - began > session.timeout_s:
            raise TimeoutError
        if out.live and now - shown > 0.2:
            shown = now
            done = len(world.ledger.terminal)
            hour = world.timeline.elapsed / 3600
            print(
                f"\r\x1b[K{done:,} of {subtasks:,} subtasks, hour {hour:.1f}",
                end="",
                file=out.stderr,
                flush=True,
            )

    world = large_world(seed, agents=agents, subtasks=subtasks, hours=hours, faults=faults)
    try:
        world.play(watch)
    except Broken as broken:
        raise RuleBroken(str(broken)) from None
    finally:
        if out.live:
            print("\r\x1b[K", end="", file=out.stderr, flush=True)
    found = report(world, clock.monotonic() - began)
    for what, how_much in lines(found):
        out.line(f"{out.paint(what.ljust(30), 'dim')} {how_much}")
    out.document("sim", found)
    return Exit.OK if not (found["lost"] or found["duplicated"] or found["overshoot"]) else Exit.FAILED


COMMANDS = [sim]
