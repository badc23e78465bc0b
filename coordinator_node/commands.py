"""Verbs about work: run, runs, artifacts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh.output import Exit, Out, clean
from mesh.verbs import Session, command, run_async

from .commands_events import events

if TYPE_CHECKING:
    from protocol.messages import Budget

    from .run_client import RunClient

__all__ = ["COMMANDS"]

_GOAL_CHARS_MAX = 8000
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@command()
@click.argument("goal", required=False)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or folder to work on (repeatable).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results (default: zwerm-out/<run>).",
)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A plan file (YAML or JSON) instead of a rule.",
)
@click.option(
    "--budget",
    "budget_text",
    metavar="KIND=AMOUNT,...",
    help="The most that it may spend: money=5,tokens=2M,steps=1000,time=2h,bytes=100MB,children=10.",
)
@click.option("--parent", metavar="RUN", help="Begin it below this run (its whole id), out of its budget.")
@click.option("--detach", is_flag=True, help="Hand the goal in and return; `zwerm runs show` follows it.")
@click.option("--with-parent", type=int, hidden=True, help="Cancel when this process, our parent, is gone.")
def run(
    session: Session,
    goal: str | None,
    inputs: tuple[Path, ...],
    output: Path | None,
    plan_file: Path | None,
    budget_text: str | None,
    parent: str | None,
    detach: bool,
    with_parent: int | None,
) -> int:
    r"""Do a goal.

    The swarm breaks GOAL into subtasks, its devices bid for them, and the results come back as files, with a record of who made what.
    Exit code: 0 done, 6 delivered but something failed, 9 nobody can do it, 1 failed.

    \b
    Examples:
      zwerm run "Find every date and amount in these documents" -i contracts/ -o out
      zwerm run "Summarise this folder" -i notes/
      zwerm run --plan plan.yaml -i data/ --budget money=5,time=2h
    """
    from .inputs import read_plan

    plan = read_plan(plan_file) if plan_file is not None else None
    if goal is None:
        if plan is None:
            raise click.UsageError('Do what? For example: zwerm run "Summarise this folder" -i notes/')
        goal = str(plan.get("goal") or f"the plan {plan_file}")
    goal = goal.strip()
    if not goal:
        raise click.UsageError('The goal is empty. For example: zwerm run "Summarise this folder" -i notes/')
    if len(goal) > _GOAL_CHARS_MAX:
        raise click.UsageError(
            f"The goal has {len(goal):,} characters; {_GOAL_CHARS_MAX:,} is the most. Put long instructions into a file and give it with -i."
        )
    if not inputs and plan is None:
        raise click.UsageError("On which files? Give them with -i FILE or -i FOLDER.")
    budget = _read_budget(budget_text)
    if parent is not None and not re.fullmatch(r"[a-z2-7]{26}", parent):
        raise click.UsageError(
            "--parent takes the whole id of a run, 26 characters: `zwerm runs show` prints it."
        )
    session.home.load()  # a device that is in no swarm hears it before any file is looked at
    return run_async(
        _run(session, goal, inputs, output, plan, budget, parent=parent, detach=detach),
        timeout_s=session.timeout_s,
        parent=with_parent,
    )


def _read_budget(text: str | None) -> Budget | None:
    if text is None:
        return None
    from .budget_text import parse

    return parse(text)


async def _run(
    session: Session,
    goal: str,
    inputs: tuple[Path, ...],
    output: Path | None,
    plan: dict[str, Any] | None,
    budget: Budget | None,
    *,
    parent: str | None,
    detach: bool,
) -> int:
    from mesh.client import connect_home
    from protocol.messages import Event

    from .inputs import gather
    from .progress_view import RunProgress
    from .run_client import OUTCOME_EXIT, RunClient

    out = session.out
    files, skipped = gather(inputs) if inputs else ([], [])
    for item in skipped[:10]:
        out.warn(f"{clean(item.name)} is left out: {clean(item.message)}")
    if len(skipped) > 10:
        out.warn(f"… and {len(skipped) - 10} more files")
    async with connect_home(session.home) as swarm:
        clock = swarm.endpoint.clock
        progress: RunProgress | None = None
        with _screen(out) as draw:

            def on_event(event: Event) -> None:
                nonlocal progress
                if progress is None:
                    return
                line = progress.take(event, clock.monotonic())
                if out.as_json:
                    out.document("event", event.document(client.run))
                elif line and draw is None:
                    out.say(f"{clock.monotonic() - progress.started:6.1f}s  {line}")

            client = RunClient(swarm.endpoint, on_event=on_event)
            progress = RunProgress(run=client.run, started=clock.monotonic(), heard=clock.monotonic())
            out.say(
                f"run {client.run[-6:]}   {len(files)} file{'s' * (len(files) != 1)}   {clean(goal)[:100]}"
            )

            def tick() -> None:
                if draw is not None and progress is not None:
                    draw(progress.lines(out, clock.monotonic(), _width()))

            try:
                await client.submit(
                    goal,
                    files,
                    skipped,
                    planner="file" if plan is not None else "rule",
                    plan=plan,
                    budget=budget,
                    parent=parent,
                    say=out.say,
                )
                if detach:
                    out.done(f"run {client.run[-6:]} handed in   zwerm runs show {client.run[-6:]}")
                    out.document("run", {"run": client.run, "outcome": ""})
                    return Exit.OK
                view = await client.watch(tick)
            except asyncio.CancelledError:
                if client.asked:
                    await _cancel(client, out)
                raise
            tick()
        folder = output or Path("zwerm-out") / client.run[-6:]
        code = OUTCOME_EXIT.get(str(view["outcome"]), Exit.FAILED)
        if view["outcome"] == "failed" and view["code"] == "E_BUDGET":
            code = Exit.LIMIT
        paths = await client.deliver(view, folder) if view["deliverables"] else []
    _report(out, view, paths, clock.monotonic() - progress.started)
    return code


async def _cancel(client: RunClient, out: Out) -> None:
    """After Ctrl-C: have the run stopped before we go, also when it had just been handed in."""
    out.say("Cancelling … (Ctrl-C again to leave it)")
    current = asyncio.current_task()
    if current is not None:
        current.uncancel()
    short = client.run[-6:]
    if await client.cancel():
        out.say("the run is cancelled")
    else:
        out.warn(f"nobody confirmed that the run stopped; `zwerm runs cancel {short}` tries again")


def _report(out: Out, view: dict[str, Any], paths: list[Path], took: float) -> None:
    short = str(view["run"])[-6:]
    outcome = str(view["outcome"])
    if outcome in ("done", "partial"):
        mark = out.done if outcome == "done" else out.warn
        mark(f"{outcome} in {took:.1f} s   {', '.join(map(str, paths))}")
        if outcome == "partial":
            for subtask in view["subtask_list"]:
                if subtask["status"] in ("failed", "cancelled") and not subtask["cause"]:
                    out.warn(
                        f"{clean(subtask['label'] or subtask['id'])}: {subtask['code']} {clean(subtask['message'])}"
                    )
        out.line(
            f"Who made what: {paths[-1]}   ·   zwerm runs show {short}"
            if paths
            else f"zwerm runs show {short}"
        )
    else:
        from protocol.errors import ZwermError

        code = str(view["code"]) if str(view["code"]).startswith("E_") else "E_RUN"
        if not out.as_json:
            out.failure(
                ZwermError(
                    code,
                    str(view["message"]) or f"the run ended: {outcome}",
                    str(view["hint"]) or f"zwerm runs show {short}",
                )
            )
    out.document(
        "run",
        {
            "run": view["run"],
            "ok": outcome in ("done", "partial"),
            "outcome": outcome,
            "code": view["code"],
            "message": view["message"],
            "hint": view["hint"],
            "seconds": round(took, 3),
            "files": [str(path) for path in paths],
            "skipped": view["skipped"],
            "budget": view.get("budget", {}),
        },
    )


@contextlib.contextmanager
def _screen(out: Out) -> Any:
    """A live view where there is a terminal: yields a function that draws lines, or None."""
    if not out.live:
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, no_color=not out.colour, highlight=False)
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        yield lambda lines: live.update(Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis"))


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


# --- runs ----------------------------------------------------------------------------------------------------------------------


@command("ls")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def runs_ls(session: Session, limit: int) -> int:
    """Past and present runs, newest first."""
    from protocol.messages import ListRuns

    data = _ask(session, ListRuns(limit=limit)).data
    found: list[dict[str, Any]] = data["runs"]
    session.out.table(
        ("RUN", "STATE", "DONE", "WHEN", "GOAL"),
        [
            (
                entry["run"][-6:],
                entry["outcome"] or ("paused" if entry.get("paused") else entry["status"]),
                f"{entry['counts']['accepted']}/{entry['subtasks']}",
                _when(entry["opened_ms"]) if entry["opened_ms"] else "",
                (entry["goal"] or entry["message"])[:60],
            )
            for entry in found
        ],
    )
    if not found:
        session.out.line('No runs yet. Start one: zwerm run "Summarise this folder" -i FOLDER')
    session.out.document("runs", {"runs": found})
    return Exit.OK


@command("show")
@click.argument("run_id", metavar="RUN")
@click.option("--bids", is_flag=True, help="Every bid of every award.")
def runs_show(session: Session, run_id: str, bids: bool) -> int:
    """One run: its subtasks, who did them, which bids there were and why the winner won."""
    from .budget_view import budget_lines

    view = run_async(_view(session, run_id), timeout_s=session.timeout_s)
    out = session.out
    out.line(
        f"run {view['run']}   {view['outcome'] or ('paused' if view.get('paused') else view['status'])}"
        f"   planner {view['planner']}   by {view['by_name']}"
    )
    if view.get("paused"):
        why = f": {clean(view['pause_reason'])}" if view["pause_reason"] else ""
        out.line(f"paused by {view['paused_by_name']}{why}   zwerm runs resume {view['run'][-6:]}")
    out.line(f"goal {clean(view['goal'])[:200]}")
    if view["message"]:
        out.line(f"{'' if view['code'] == 'OK' else view['code'] + '  '}{clean(view['message'])}")
    for line in budget_lines(view.get("budget")):
        out.line(clean(line))
    rows: list[tuple[object, ...]] = []
    for subtask in view["subtask_list"]:
        last = subtask["attempts"][-1] if subtask["attempts"] else None
        rows.append(
            (
                subtask["id"],
                subtask["capability"],
                subtask["status"],
                last["node_name"] if last else "",
                len(subtask["attempts"]),
                f"{last['wall_ms']} ms" if last and last["wall_ms"] else "",
                (subtask["code"] + " " + subtask["message"])[:60]
                if subtask["code"]
                else subtask.get("waits", "")[:100]
                or (_standing(subtask["live"]) or last["reason"][:60] if last else ""),
            )
        )
    out.table(("SUBTASK", "CAPABILITY", "STATE", "NODE", "TRIES", "TOOK", "WHY"), rows)
    if bids:
        _show_bids(out, view)
    for entry in view["deliverables"]:
        out.line(f"file {entry['name']}   {entry['bytes']} bytes   sha256 {entry['sha256'][:16]}…")
    out.document("run", view)
    return Exit.OK


def _standing(out: list[dict[str, Any]]) -> str:
    """How work that is out stands, in a few words; of two attempts, both."""
    if len(out) > 1:
        return "; ".join(f"{live['node_name']}: {_stands(live)}" for live in out)
    return _stands(out[0]) if out else ""


def _stands(live: dict[str, Any]) -> str:
    since, silent = _span(live["state_s"]), _span(live["silent_s"])
    if live["checking"]:
        return "its result is being checked"
    if live["state"] == "person":
        return f"waits for a person, {since}: {clean(live['note'])}".rstrip(": ")
    if live["state"] == "limited":
        return f"waits for a limit of use, about {_span(live['wait_s'])} more: {clean(live['note'])}".rstrip(
            ": "
        )
    if live["state"] == "awarded":
        return f"awarded {_span(live['since_s'])} ago, not taken yet"
    return f"step {live['step']}, moved {silent} ago: {clean(live['note'])}".rstrip(": ")


def _span(seconds: float) -> str:
    """A span of time as people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def _show_bids(out: Out, view: dict[str, Any]) -> None:
    for subtask in view["subtask_list"]:
        for attempt in subtask["attempts"]:
            out.line(
                f"{subtask['id']} attempt {attempt['attempt']}: {attempt['status']}  {attempt['code']} {clean(attempt['message'])}"
            )
            for bid in attempt["bids"]:
                mark = "*" if bid["node"] == attempt["node"] else " "
                out.line(
                    f"  {mark} {bid['node_name']:<16} score {bid['score']:7.3f}  price {bid['price'] / 1e6:8.4f}  eta {bid['eta_ms']} ms"
                    f"  success {bid['success']:.2f}  load {bid['load']:.2f}"
                )


@command("cancel")
@click.argument("run_id", metavar="RUN")
@click.argument("subtask", required=False, default="")
@click.option("--reason", default="", help="A word for the record.")
def runs_cancel(session: Session, run_id: str, subtask: str, reason: str) -> int:
    """Stop a run, or one SUBTASK of it; what runs of it is stopped on its devices.

    Without that subtask the run goes on; what needs it is given up, except work that can do without.
    """
    from protocol.messages import CancelRun

    data = _ask(session, CancelRun(run=run_id, reason=reason, subtask=subtask)).data
    what = f"subtask {subtask} of run {run_id}" if subtask else f"run {run_id}"
    status = str(data.get("status", ""))
    session.out.done(
        f"{what} is being cancelled" if status == "cancelling" else f"{what} had ended already ({status})"
    )
    session.out.document("run.cancel", {"run": run_id, **data})
    return Exit.OK


@command("pause")
@click.argument("run_id", metavar="RUN")
@click.option("--reason", default="", help="A word for the record.")
def runs_pause(session: Session, run_id: str, reason: str) -> int:
    """Begin nothing more of a run. What is at work goes on, and its results count."""
    from protocol.messages import PauseRun

    data = _ask(session, PauseRun(run=run_id, reason=reason)).data
    if data.get("paused"):
        working = int(data.get("working", 0))
        rest = f"; {working} subtask{'s' * (working != 1)} still at work" if working else ""
        session.out.done(f"run {run_id} is paused{rest}   zwerm runs resume {run_id}")
    else:
        session.out.warn(f"run {run_id} cannot be paused: it is {data['outcome'] or data['status']}")
    session.out.document("run.pause", {"run": run_id, **data})
    return Exit.OK if data.get("paused") else Exit.FAILED


@command("resume")
@click.argument("run_id", metavar="RUN")
def runs_resume(session: Session, run_id: str) -> int:
    """Go on with a paused run."""
    from protocol.messages import ResumeRun

    data = _ask(session, ResumeRun(run=run_id)).data
    open_ = data.get("status") == "open"
    if open_:
        session.out.done(f"run {run_id} goes on")
    else:
        session.out.warn(f"run {run_id} cannot go on: it is {data['outcome'] or data['status']}")
    session.out.document("run.resume", {"run": run_id, **data})
    return Exit.OK if open_ else Exit.FAILED


def _ask(session: Session, item: Any) -> Any:
    from mesh.client import connect_home

    async def ask() -> Any:
        async with connect_home(session.home, timeout_s=5.0) as swarm:
            return await swarm.endpoint.call("runs", item, timeout_s=10.0)

    return run_async(ask(), timeout_s=session.timeout_s)


async def _view(session: Session, run_id: str) -> dict[str, Any]:
    from mesh.client import connect_home

    from .run_client import show_run

    async with connect_home(session.home, timeout_s=5.0) as swarm:
        return await show_run(swarm.endpoint, run_id)


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


# --- artifacts -----------------------------------------------------------------------------------------------------------------


def _files(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Every file of a run: what was delivered, what was made on the way, what went in."""
    found = [{"kind": "result", "by": "", **entry} for entry in view["deliverables"]]
    for subtask in view["subtask_list"]:
        winner = next(
            (attempt["node_name"] for attempt in subtask["attempts"] if attempt["status"] == "accepted"), ""
        )
        found += [{"kind": subtask["id"], "by": winner, **entry} for entry in subtask["outputs"]]
    return found + [{"kind": "input", "by": view["by_name"], **entry} for entry in view["input_files"]]


@command("ls")
@click.argument("run_id", metavar="RUN")
def artifacts_ls(session: Session, run_id: str) -> int:
    """The files of a run."""
    view = run_async(_view(session, run_id), timeout_s=session.timeout_s)
    files = _files(view)
    session.out.table(
        ("NAME", "KIND", "BYTES", "SHA256", "MADE BY"),
        [
            (entry["name"], entry["kind"], entry["bytes"], entry["sha256"][:16], entry["by"])
            for entry in files
        ],
    )
    session.out.document("artifacts", {"run": view["run"], "files": files})
    return Exit.OK


@command("get")
@click.argument("run_id", metavar="RUN")
@click.argument("name", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), help="Folder (default: here)."
)
def artifacts_get(session: Session, run_id: str, name: str | None, output: Path) -> int:
    """Fetch a run's results, or one of its files by name or by the start of its SHA-256."""
    from protocol.errors import ZwermError

    async def fetch() -> list[Path]:
        from mesh.client import connect_home

        from .delivery import fetch_file, unique_names
        from .run_client import show_run

        async with connect_home(session.home, timeout_s=5.0) as swarm:
            view = await show_run(swarm.endpoint, run_id)
            if name is None:
                wanted = unique_names(view["deliverables"])
            else:
                matches = [
                    entry
                    for entry in _files(view)
                    if entry["name"] == name or entry["sha256"].startswith(name.lower())
                ]
                digests = {entry["sha256"] for entry in matches}
                if len(digests) != 1:
                    raise ZwermError(
                        "E_NOT_FOUND",
                        f"{len(digests) or 'no'} files of the run match {name!r}",
                        f"`zwerm artifacts ls {run_id}` lists them; the start of a SHA-256 is exact.",
                    )
                wanted = unique_names(matches[:1])
            return [
                await fetch_file(swarm.endpoint.artifacts, entry, output, target) for target, entry in wanted
            ]

    paths = run_async(fetch(), timeout_s=session.timeout_s)
    for path in paths:
        session.out.done(str(path))
    session.out.document("artifacts.get", {"files": [str(path) for path in paths]})
    return Exit.OK


@command("verify")
@click.argument("run_id", metavar="RUN")
def artifacts_verify(session: Session, run_id: str) -> int:
    """Read every file of a run back from the swarm and check it against its SHA-256."""

    async def verify() -> list[dict[str, Any]]:
        from mesh.client import connect_home
        from mesh.errors import MeshError

        from .delivery import ref_of
        from .run_client import show_run

        results = []
        async with connect_home(session.home, timeout_s=5.0) as swarm:
            view = await show_run(swarm.endpoint, run_id)
            for entry in {entry["sha256"]: entry for entry in _files(view)}.values():
                digest = hashlib.sha256()
                problem = ""
                try:
                    async for chunk in swarm.endpoint.artifacts.get(ref_of(entry)):
                        digest.update(chunk)
                except MeshError as error:
                    problem = f"{error.code} {error.message}"
                if not problem and digest.hexdigest() != entry["sha256"]:
                    problem = "E_DIGEST the bytes are not those that were made"
                results.append(
                    {"name": entry["name"], "sha256": entry["sha256"], "ok": not problem, "problem": problem}
                )
        return results

    results = run_async(verify(), timeout_s=session.timeout_s)
    bad = [entry for entry in results if not entry["ok"]]
    for entry in bad:
        session.out.line(f"{session.out.paint('✕', 'red')} {entry['name']}: {entry['problem']}")
    if not bad:
        session.out.done(f"{len(results)} files are what they were when they were made")
    session.out.document("artifacts.verify", {"ok": not bad, "files": results})
    return Exit.FAILED if bad else Exit.OK


runs = click.Group(
    "runs",
    commands={
        "ls": runs_ls,
        "show": runs_show,
        "cancel": runs_cancel,
        "pause": runs_pause,
        "resume": runs_resume,
    },
    help="Past and present runs.",
    context_settings=_SETTINGS,
)
artifacts = click.Group(
    "artifacts",
    commands={"ls": artifacts_ls, "get": artifacts_get, "verify": artifacts_verify},
    help="The files of a run, by digest.",
    context_settings=_SETTINGS,
)

COMMANDS = [run, runs, events, artifacts]
