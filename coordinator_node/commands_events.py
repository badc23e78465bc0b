"""The verb `events`: what happens in a run, or in all of them, as lines or as one JSON object a line."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mesh.output import Exit
from mesh.verbs import Session, command, run_async

if TYPE_CHECKING:
    from .watching import Told

__all__ = ["events"]


@command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option(
    "--after",
    type=click.IntRange(0, 1 << 52),
    default=0,
    metavar="SEQ",
    help="Only what is behind this number.",
)
def events(session: Session, run_id: str | None, follow: bool, after: int) -> int:
    r"""What happens in a run, in the order of its journal.

    Each event has a number; a watcher that was stopped, or lost the bus, goes on with --after and misses nothing. Without RUN: all runs of the swarm,
    from now on, until Ctrl-C; the first line says from when on (with --json: schema zwerm.watching/1). An event without a number (~) is told while it
    happens and not kept.

    \b
    Examples:
      zwerm events 3xk7qa                    all that has happened so far
      zwerm events 3xk7qa -f --after 120     and what will, behind number 120
      zwerm events --json                    everything, for a program
    """
    if run_id is None and after:
        raise click.UsageError(
            "--after counts the events of one run: name it. For example: zwerm events RUN --after 12"
        )
    try:
        return run_async(
            _events(session, run_id, follow=follow or run_id is None, after=after),
            timeout_s=session.timeout_s,
        )
    except KeyboardInterrupt:
        return Exit.INTERRUPTED  # Ctrl-C is how one stops to watch: nothing has failed, so nothing is said


async def _events(session: Session, run_id: str | None, *, follow: bool, after: int) -> int:
    from mesh.client import connect_home

    from .events_view import event_line
    from .watching_bus import Watcher
    from .watching_wire import find_run

    out = session.out

    def tell(told: Told) -> None:
        if out.as_json:
            out.document("event", told.event.document(told.run))
            return
        at = datetime.fromtimestamp(told.event.at_ms / 1000, UTC).astimezone()
        time = f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
        out.line(event_line(out, told.event, time, told.run[-6:] if run_id is None else ""))

    seq = after
    run: str | None = None
    try:
        async with connect_home(session.home, timeout_s=5.0) as swarm:
            run = None if run_id is None else await find_run(swarm.endpoint, run_id)
            async with Watcher(swarm.endpoint, run, after=after, follow=follow) as watcher:
                if run is None:
                    await watcher.ready()
                    if watcher.begun:
                        # Said only when it is true: who starts a run after this line sees it from its first event.
                        out.say("All runs, from now on. Ctrl-C ends it.")
                        out.document("watching", {"run": None})
                async for told in watcher:
                    tell(told)
                    seq = watcher.seq
    except asyncio.CancelledError:
        if run is not None and follow:
            out.say(f"stopped; `zwerm events {run[-6:]} -f --after {seq}` goes on from here")
        raise
    return Exit.OK
