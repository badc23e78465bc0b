"""The verb `run`: hand a goal in, show what happens, bring the files home."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh.output import Exit, Out, clean
from mesh.verbs import Session, command, run_async

if TYPE_CHECKING:
    from protocol.messages import Budget

    from .run_client import RunClient

__all__ = ["run"]

_GOAL_CHARS_MAX = 8000


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
        if view["outcome"] == "failed" and view["code"] in ("E_BUDGET", "E_DEADLINE"):
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
