"""The verb `halt`: stop every agent, of the swarm or of this device, and let them go on."""

from __future__ import annotations

from typing import Any

import click

from mesh.output import Exit
from mesh.verbs import Session, command, run_async

__all__ = ["halt"]

_WAIT_S = 5.0


@command()
@click.argument("why", required=False, default="")
@click.option("--lift", is_flag=True, help="Let the agents go on.")
@click.option("--local", is_flag=True, help="Only this device; needs no bus, no coordinator, no network.")
def halt(session: Session, why: str, lift: bool, local: bool) -> int:
    """Stop every agent in the swarm now.

    Ends all processes of all agents on all devices, and nothing is awarded until `zwerm halt --lift`; what ran is put up again then. Only an
    admin's device may. Devices that are off obey when they come back. With --local it stops the agents of this device, whatever
    else works or does not, until `zwerm halt --local --lift`.
    """
    if len(why) > 200:
        raise click.UsageError("Say why in at most 200 characters.")
    if local:
        return _local_lift(session) if lift else _local(session, why)
    return _swarm(session, why, on=not lift)


def _swarm(session: Session, why: str, *, on: bool) -> int:
    from mesh.client import connect_home
    from mesh.halt_swarm import Answer, HaltSent, halt_swarm

    out = session.out
    home = session.home
    home.load()

    def heard(one: Answer) -> None:
        if on:
            out.done(f"{one.name} stopped {_count(one.stopped)}{_rest(one)}")
        else:
            out.done(f"{one.name} goes on")

    async def send() -> HaltSent:
        async with connect_home(home, role="admin", timeout_s=5.0) as swarm:
            return await halt_swarm(
                swarm.membership, swarm.endpoint, on=on, why=why, wait_s=_WAIT_S, heard=heard
            )

    sent = run_async(send(), timeout_s=session.timeout_s)
    for one in sent.answers:
        if one.halt >= sent.n:
            continue
        if one.state == "gone":
            out.warn(f"{one.name} is off; it obeys before it takes any work when it comes back")
        else:
            out.warn(f"{one.name} has not answered within {_WAIT_S:g} s   Next: `zwerm halt --local` on it")
    if not sent.stored:
        out.warn(
            "The swarm's store did not take the order: devices that are away now will not hear of it. Repeat it."
        )
    if on:
        out.line("The swarm is halted; `zwerm halt --lift` lets it go on.")
    else:
        out.line("The swarm goes on.")
    out.document("halt", _document(sent, on=on, why=why))
    return Exit.PARTIAL if sent.silent or not sent.stored else Exit.OK


def _document(sent: Any, *, on: bool, why: str) -> dict[str, Any]:
    return {
        "n": sent.n,
        "on": on,
        "why": why,
        "stored": sent.stored,
        "nodes": [
            {
                "node": one.node,
                "name": one.name,
                "answered": one.halt >= sent.n,
                "state": one.state,
                "stopped": one.stopped if one.halt >= sent.n else 0,
                "running": one.running,
            }
            for one in sent.answers
        ],
    }


def _local(session: Session, why: str) -> int:
    from .halting_proc import halt_local

    home = session.home
    node = home.load()
    done = halt_local(home, why)
    out = session.out
    if done.left:
        out.warn(f"{_count(done.left)} of {node.name} could not be ended; see `ps`, or restart the device")
    else:
        out.done(f"{node.name} stopped {_count(done.stopped)}")
    if done.daemon == "silent":
        out.warn(
            f"zwerm (process {done.daemon_pid}) does not answer; its agents were ended without it, except functions that run "
            f"inside it. It obeys when it goes on. Next: kill -9 {done.daemon_pid}"
        )
    out.line("This device is halted; `zwerm halt --local --lift` lets it go on.")
    out.document(
        "halt.local",
        {
            "node": node.name,
            "on": True,
            "why": why,
            "stopped": done.stopped,
            "left": done.left,
            "daemon": done.daemon,
        },
    )
    return Exit.FAILED if done.left else Exit.OK


def _local_lift(session: Session) -> int:
    from .halting_proc import lift_local

    node = session.home.load()
    lifted, daemon = lift_local(session.home)
    session.out.line(f"{node.name} goes on" if lifted else f"{node.name} was not halted by its owner")
    if daemon == "silent":
        session.out.warn("zwerm does not answer; it goes on as soon as it does")
    session.out.document("halt.local", {"node": node.name, "on": False, "lifted": lifted, "daemon": daemon})
    return Exit.OK


def _count(processes: int) -> str:
    return f"{processes} process{'es' * (processes != 1)}"


def _rest(one: Any) -> str:
    return f"; {one.running} function(s) inside it end only by themselves" if one.running else ""
