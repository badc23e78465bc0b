"""Verbs of the role `agent`: what this device offers, and trying it without a swarm.

They read the device's own configuration (`commands_agents` changes it) and start nothing that stays: `zwerm agents test` runs one job in a directory of its own, exactly
as an award would be carried out, sandbox and limits included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mesh.output import Exit
from mesh.verbs import HELP_SETTINGS, Session, command, run_async

from .commands_agents import VERBS
from .commands_demo import demo
from .commands_halt import halt
from .commands_inbox import inbox
from .commands_models import models
from .commands_secrets import secrets

__all__ = ["COMMANDS"]


@command("ls")
def list_agents(session: Session) -> int:
    """What this device offers, and what it cannot offer and why."""
    from .local import look

    offered, left_out = look(session.home.path)
    out = session.out
    rows: list[tuple[object, ...]] = [
        (spec.name, "offered", spec.adapter, spec.slots, ", ".join(sorted(spec.capabilities)))
        for spec in (adapter.spec for adapter in offered)
    ]
    rows += [(gone.name, "left out", "", "", gone.error.message) for gone in left_out]
    out.table(("AGENT", "STATE", "ADAPTER", "SLOTS", "CAPABILITIES"), rows)
    for adapter in offered:
        if adapter.spec.warning:
            out.warn(f"{adapter.spec.name}: {adapter.spec.warning}")
    for gone in left_out:
        if gone.error.hint:
            out.warn(f"{gone.name}: {gone.error.hint}")
    out.document(
        "agents",
        {
            "agents": [_described(adapter.spec) for adapter in offered],
            "left_out": [
                {
                    "name": gone.name,
                    "code": gone.error.code,
                    "message": gone.error.message,
                    "hint": gone.error.hint,
                }
                for gone in left_out
            ],
        },
    )
    return Exit.OK


@command("show")
@click.argument("name")
def show_agent(session: Session, name: str) -> int:
    """One agent: what it can do, what it can be given, what was measured of it."""
    from .local import find_agent, measured

    home = session.home.path
    spec = find_agent(home, name).spec
    document = _described(spec) | {"measured": measured(home, spec)}
    out = session.out
    out.line(f"{spec.name}   {spec.description or '(no description)'}")
    out.line(f"  adapter        {spec.adapter}")
    out.line(f"  slots          {spec.slots}, and {spec.queue} may wait")
    out.line(f"  takes          up to {spec.max_inputs:,} files, {spec.max_bytes:,} bytes together")
    for entry in document["measured"]:
        times = (
            f"{entry['wall_s']:.2f} s ± {entry['error_s']:.2f}"
            if entry["samples"]
            else "nothing measured yet"
        )
        out.line(f"  {entry['capability']:<20} {times}; success {entry['success']:.0%}")
    out.document("agent", document)
    return Exit.OK


@command("test")
@click.argument("what")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-p", "--params", default="{}", metavar="JSON", help="Parameters, as one JSON object.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Where to put its files."
)
def test_agent(session: Session, what: str, files: tuple[Path, ...], params: str, output: Path | None) -> int:
    """Do one job on this device, without a swarm: WHAT is a capability or an agent, the files are its inputs.

    An agent that takes a task in words gets a small one, if --params says no other.
    """
    from .local import parse_params, try_job

    given = parse_params(params)
    tried = run_async(try_job(session.home.path, what, files, given, output), timeout_s=session.timeout_s)
    out = session.out
    out.done(f"{tried.capability} by {tried.agent}: {len(tried.files)} files in {tried.wall_s:.2f} s")
    for name, size in tried.files:
        out.line(f"  {name}   {size:,} bytes")
    out.document(
        "agent-test",
        {
            "capability": tried.capability,
            "agent": tried.agent,
            "wall_s": round(tried.wall_s, 3),
            "cpu_s": round(tried.cpu_s, 3),
            "outputs": [{"name": name, "bytes": size} for name, size in tried.files],
        },
    )
    return Exit.OK


def _described(spec: Any) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "adapter": spec.adapter,
        "capabilities": sorted(spec.capabilities),
        "slots": spec.slots,
        "queue": spec.queue,
        "max_bytes": spec.max_bytes,
        "max_inputs": spec.max_inputs,
        "warning": spec.warning,
    }


agents = click.Group(
    "agents",
    commands={"ls": list_agents, "show": show_agent, "test": test_agent, **VERBS},
    help="What this device offers to the swarm.",
    context_settings=HELP_SETTINGS,
)

COMMANDS: list[click.Command] = [agents, demo, halt, inbox, models, secrets]
"""What the entry point `zwerm.commands` hands to the command line."""
