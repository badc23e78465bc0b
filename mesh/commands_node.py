"""Verbs about this device: up, down, status, doctor, help."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from .output import Exit, clean
from .verbs import Session, command, run_async

__all__ = ["COMMANDS", "status"]


@command()
@click.option("--background", is_flag=True, help="Return once it runs; `zwerm down` stops it.")
@click.option("--with-parent", type=int, hidden=True, help="Stop when this process, our parent, is gone.")
def up(session: Session, background: bool, with_parent: int | None) -> int:
    """Run this device's part of the swarm.

    Runs the roles that the device has (bus, coordinator, agent, ...) until Ctrl-C or `zwerm down`, and lets work in progress
    finish what it is saying first.
    """
    from .background import start_in_background

    home = session.home
    node = home.load()
    out = session.out
    if background:
        pid = start_in_background(home, timeout_s=session.timeout_s or 30.0)
        out.done(f"{node.name} is up (process {pid})")
        out.document("up", {"node": node.name, "pid": pid, "roles": node.roles})
        return Exit.OK

    from .daemon_main import daemon_argv

    argv = daemon_argv(
        home,
        quiet=out.quiet,
        as_json=out.as_json,
        verbose=session.verbose,
        no_color=not out.colour,
        parent=with_parent,
    )
    sys.stdout.flush()
    os.execv(argv[0], argv)  # noqa: S606 - becomes our own daemon: same process, same terminal, none of the command's weight
    return Exit.FAILED


@command()
def down(session: Session) -> int:
    """Stop the daemon on this device; the device stays in the swarm."""
    from .background import stop_daemon

    node = session.home.load()
    stopped = stop_daemon(session.home, timeout_s=session.timeout_s or 20.0)
    if stopped:
        session.out.done(f"{node.name} stopped")
    else:
        session.out.line(f"{node.name} was not running")
    session.out.document("down", {"node": node.name, "stopped": stopped})
    return Exit.OK


@command()
def status(session: Session) -> int:
    """One look: this device, the swarm's devices, runs, problems."""
    from .client import connect_home
    from .errors import MeshError

    home = session.home
    node = home.load()
    out = session.out
    pid = home.daemon_pid()
    document: dict[str, Any] = {
        "swarm": {"name": node.swarm, "id": node.swarm_id},
        "self": {
            "name": node.name,
            "node": node.node,
            "roles": node.roles,
            "daemon": pid,
            "home": str(home.path),
        },
        "nodes": [],
        "runs": [],
        "problems": [],
    }
    problems: list[dict[str, str]] = document["problems"]
    if pid is None:
        problems.append(
            {
                "code": "E_NO_DAEMON",
                "message": "zwerm is not running on this device",
                "hint": "zwerm up --background",
            }
        )

    stored: list[bytes] = []

    async def ask() -> None:
        from protocol.messages import ListNodes, ListRuns

        from .halting import HALT_KEY

        async with connect_home(home, timeout_s=min(session.timeout_s or 5.0, 5.0)) as swarm:
            entry = await swarm.endpoint.workspace.swarm.get(HALT_KEY)
            stored.extend([entry.value] if entry is not None else [])
            data: Any = (await swarm.endpoint.call("runs", ListNodes(), timeout_s=5.0)).data
            document["nodes"] = data.get("nodes", [])
            document["journal"] = data.get("journal", {})
            document["runs"] = (
                await swarm.endpoint.call("runs", ListRuns(limit=10), timeout_s=5.0)
            ).data.get("runs", [])

    try:
        run_async(ask(), timeout_s=session.timeout_s)
    except MeshError as error:
        problems.append({"code": error.code, "message": error.message, "hint": error.hint})
    if full := document.get("journal", {}).get("full"):
        problems.append({"code": "E_DISK_FULL", "message": full, "hint": document["journal"]["hint"]})
    problems += _halt_problem(home, stored)
    up_count = sum(1 for entry in document["nodes"] if entry.get("state") == "up")
    healthy = not problems
    document["swarm"]["healthy"] = healthy
    mark = (
        out.paint("✓ healthy", "green")
        if healthy
        else out.paint(f"✕ {len(problems)} problem{'s' * (len(problems) != 1)}", "red")
    )
    running = [run for run in document["runs"] if not run["outcome"]]
    out.line(
        f"{node.swarm}   {mark}   {up_count} of {len(document['nodes'])} devices up   {len(running)} run{'s' * (len(running) != 1)} active"
    )
    from .commands_swarm import print_nodes

    if document["nodes"]:
        print_nodes(out, document["nodes"], node.node)
    for run in document["runs"][:5]:
        state = run["outcome"] or run["status"]
        done = f"{run['counts']['accepted']}/{run['subtasks']}"
        out.line(f"  run {run['run'][-6:]}  {state:9}  {done:>9}  {clean(run['goal'])[:60]}")
    for problem in problems:
        out.warn(f"{problem['code']}  {problem['message']}   Next: {problem['hint']}")
    out.document("status", document)
    return Exit.OK if healthy else Exit.FAILED


def _halt_problem(home: Any, stored: list[bytes]) -> list[dict[str, str]]:
    """That this device, or the swarm, was halted."""
    from .errors import MeshError
    from .halt_watch import what_holds
    from .membership import Membership

    try:
        halts = what_holds(Membership.load(home), *stored)
    except MeshError:
        return []
    if not halts.halted:
        return []
    lift = "zwerm halt --local --lift" if halts.local is not None else "zwerm halt --lift"
    return [{"code": "E_HALTED", "message": halts.why, "hint": lift}]


@command()
def doctor(session: Session) -> int:
    """Find what is wrong on this device, and say how to mend it."""
    from .doctor import examine

    findings = examine(session.home)
    out = session.out
    for finding in findings:
        mark = {
            "ok": out.paint("✓", "green"),
            "warning": out.paint("!", "yellow"),
            "error": out.paint("✕", "red"),
        }[finding.level]
        out.line(
            f"{mark} {finding.code + '  ' if finding.code else ''}{finding.text}"
            + (f"\n    Next: {finding.hint}" if finding.hint else "")
        )
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    out.line(f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}")
    out.document(
        "doctor",
        {"errors": errors, "warnings": warnings, "findings": [finding._asdict() for finding in findings]},
    )
    return Exit.FAILED if errors else Exit.OK


_TOPICS = {
    "exit-codes": "\n".join(
        f"  {int(code):>3}  {text}"
        for code, text in (
            (Exit.OK, "success"),
            (Exit.FAILED, "failed (the run failed, or doctor found errors)"),
            (Exit.USAGE, "wrong usage or configuration"),
            (Exit.UNREACHABLE, "cannot reach the bus, or nobody answers"),
            (Exit.REFUSED, "refused (invite used or expired, not permitted)"),
            (Exit.NOT_FOUND, "not found"),
            (Exit.PARTIAL, "delivered, but at least one subtask failed"),
            (Exit.LIMIT, "a limit was reached"),
            (Exit.WAITING, "waiting for a person, and nobody can be asked"),
            (Exit.NOBODY, "nobody can do it (no bid)"),
            (Exit.INCOMPATIBLE, "incompatible version"),
            (Exit.TIMEOUT, "--timeout passed"),
            (Exit.INTERRUPTED, "stopped by Ctrl-C"),
        )
    ),
    "plan": """\
A plan file says what to do step by step (zwerm run --plan FILE -i FOLDER); YAML or JSON:

  goal: Which dates are in these documents?
  steps:
    - id: read                   # one subtask for each input
      capability: doc.read
      map: inputs                # or patterns: ["*.pdf", "*.docx"]
    - id: find                   # one for each subtask of `read`
      capability: text.extract
      map: read
      params: {kinds: [date]}
    - id: table                  # one over all subtasks of `find`
      capability: table.assemble
      reduce: find
      tolerant: true             # go on without those that failed
  deliver: [table]               # by default the last step
  budget: money=5,time=2h        # the most that the run may spend (as --budget of `zwerm run`, which comes first)

Each step may also have: label, inputs, after, tries, deadline_s, output_schema, budget, and instead (capabilities
to try in turn when nobody does this one). `zwerm agents ls` shows capabilities.""",
    "ports": "  4747/tcp  the bus (TLS 1.3), on the device that ran `zwerm init`; another one if it was taken: `zwerm status`\n"
    "  6747/tcp  only where the bus has several servers: these talk to each other there (the port of the bus plus 2000)\n"
    "  5353/udp  multicast DNS, only to find the bus on the local network; may be blocked",
    "files": "  node.json, certificate.bin, charter.bin   what this device is in the swarm\n  keys/, tokens/, admin/   secrets, mode 0600\n"
    "  nats/   the bus and everything stored in the swarm (role bus)\n  logs/   the daemon's log\n  config.toml   what you may set\n"
    "  halt.bin, halt.local   orders to halt that hold: the swarm's, and the one of `zwerm halt --local`\n  running/   processes of agents, so that they can be ended without the daemon",
    "own-agents": """\
Agents of your own, in config.toml of the device:

  [[agents]]
  name = "ocr"                              # what people see
  adapter = "command"                       # or "python", with target = "package.module:function"
  capability = "image.text"
  argv = ["/usr/bin/ocr", "--json"]         # word for word; nothing is ever put into it
  price = "unknown"                         # if a meter elsewhere says what it costs; left out: measured
  estimate = {tokens = 20000}               # what one job uses at most

A program gets one JSON object on its standard input: capability, params, inputs, missing, out, previous (what earlier attempts
left), caps (what it may use) and report. What it writes into the folder `out` is its result. While it works it may append lines
of JSON to the file `report`:

  {"progress": {"fraction": 0.4, "note": "page 4 of 10"}}
  {"used": {"tokens": 900, "money": 1200}}                  all so far; money in millionths of a credit
  {"partial": {"name": "draft.md", "path": "out/draft.md"}} kept for the next attempt if this one fails
  {"limited": {"wait_s": 30, "note": "429"}}                it waits for somebody's limit of use
  {"person": {"note": "Which of the two?"}}                 it waits for a person
  {"failed": {"code": "E_LIMITED", "message": "quota", "retry_s": 60}}   before it ends with a status that is not 0

A Python function says the same with job.progress, spend, partial, limited and wait_for_person, and raises JobFailed.
`zwerm agents ls` shows what is offered, `zwerm agents test CAPABILITY FILE` tries it.""",
}


@command("help")
@click.argument("topic", required=False)
def help_(session: Session, topic: str | None) -> int:
    """Explain a topic (exit-codes, plan, own-agents, ports, files) or a command."""
    if topic in _TOPICS:
        session.out.line(_TOPICS[topic])
        session.out.document("help", {"topic": topic, "text": _TOPICS[topic]})
        return Exit.OK
    ctx = click.get_current_context()
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    verb = root.command.get_command(root, topic) if topic else root.command
    if verb is None:
        raise click.UsageError(f"There is no help on {topic!r}. Topics: {', '.join(_TOPICS)}, or a command.")
    text = verb.get_help(root if verb is root.command else click.Context(verb, info_name=topic, parent=root))
    session.out.line(text)
    session.out.document("help", {"topic": topic or "", "text": text})
    return Exit.OK


COMMANDS = [up, down, status, doctor, help_]
