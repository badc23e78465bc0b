"""The verb `run`: hand a goal in, show what happens, bring the files home."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mesh.output import Exit, Out, clean
from mesh.verbs import Session, command, run_async

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from protocol.messages import Budget, Event, Missing

    from .inputs import FoundFile
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
    "--planner",
    type=click.Choice(["rule", "llm"]),
    help="Who plans: a rule, or an agent with a model (by default a rule, and a model where none fits).",
)
@click.option(
    "--plan-only", is_flag=True, help="Have a model draft the plan, print it as YAML, and begin nothing."
)
@click.option("--approve", type=click.Choice(["plan"]), help="Ask before a drafted plan is carried out.")
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
    planner: str | None,
    plan_only: bool,
    approve: str | None,
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
      zwerm run "Which of these offers is the best, and why?" -i offers/ --planner llm --approve plan
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
    if plan is not None and (planner or plan_only or approve):
        raise click.UsageError("--plan is a plan already: leave out --planner, --plan-only and --approve.")
    if planner == "rule" and (plan_only or approve):
        raise click.UsageError(
            "--plan-only and --approve are for plans that a model drafts: leave out --planner rule."
        )
    if plan_only or approve:
        planner = "llm"
    budget = _read_budget(budget_text)
    if parent is not None and not re.fullmatch(r"[a-z2-7]{26}", parent):
        raise click.UsageError(
            "--parent takes the whole id of a run, 26 characters: `zwerm runs show` prints it."
        )
    session.home.load()  # a device that is in no swarm hears it before any file is looked at
    return run_async(
        _run(
            session,
            goal,
            inputs,
            output,
            plan,
            budget,
            how=_How(planner, plan_only, approve is not None, detach, parent),
        ),
        timeout_s=session.timeout_s,
        parent=with_parent,
    )


class _How(NamedTuple):
    """How it is to be done, beside what."""

    planner: str | None = None
    plan_only: bool = False
    approve: bool = False
    detach: bool = False
    parent: str | None = None


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
    how: _How,
) -> int:
    from mesh.client import connect_home

    from .run_client import OUTCOME_EXIT

    out = session.out
    files, skipped = _gather(inputs, out)
    async with connect_home(session.home) as swarm:
        if how.planner == "llm":
            from .commands_plan import approved, drafted, print_plan

            made = await drafted(swarm.endpoint, out, goal, files, skipped, budget)
            if how.plan_only:
                print_plan(out, made)
                return Exit.OK
            if how.approve:
                await asyncio.to_thread(approved, out)
            plan = made.drafted.plan
        live = _Live(out, swarm.endpoint)
        client = live.client
        out.say(f"run {client.run[-6:]}   {len(files)} file{'s' * (len(files) != 1)}   {clean(goal)[:100]}")
        try:
            await _submit(client, out, goal, files, skipped, plan, budget, how)
            if how.detach:
                out.done(f"run {client.run[-6:]} handed in   zwerm runs show {client.run[-6:]}")
                out.document("run", {"run": client.run, "outcome": ""})
                return Exit.OK
            view = await live.watch()
        except asyncio.CancelledError:
            if client.asked:
                await _cancel(client, out)
            raise
        folder = output or Path("zwerm-out") / client.run[-6:]
        code = OUTCOME_EXIT.get(str(view["outcome"]), Exit.FAILED)
        if view["outcome"] == "failed" and view["code"] in ("E_BUDGET", "E_DEADLINE"):
            code = Exit.LIMIT
        paths = await client.deliver(view, folder) if view["deliverables"] else []
    _report(out, view, paths, live.seconds)
    return code


def _gather(inputs: tuple[Path, ...], out: Out) -> tuple[list[FoundFile], list[Missing]]:
    from .inputs import gather

    files, skipped = gather(inputs) if inputs else ([], [])
    for item in skipped[:10]:
        out.warn(f"{clean(item.name)} is left out: {clean(item.message)}")
    if len(skipped) > 10:
        out.warn(f"… and {len(skipped) - 10} more files")
    return files, skipped


async def _submit(
    client: RunClient,
    out: Out,
    goal: str,
    files: list[FoundFile],
    skipped: list[Missing],
    plan: dict[str, Any] | None,
    budget: Budget | None,
    how: _How,
) -> None:
    """Hand the goal in; where no rule fits it, with the plan of a model, if the swarm has one."""
    from mesh.endpoint import CallFailed

    async def hand_in(plan: dict[str, Any] | None) -> None:
        await client.submit(
            goal,
            files,
            skipped,
            planner="file" if plan is not None else "rule",
            plan=plan,
            budget=budget,
            parent=how.parent,
            say=out.say,
        )

    try:
        await hand_in(plan)
    except CallFailed as error:
        if error.code != "E_GOAL" or how.planner is not None:
            raise
        from .commands_plan import drafted_instead

        made = await drafted_instead(client.endpoint, out, goal, files, skipped, budget)
        if made is None:
            raise
        await hand_in(made.drafted.plan)


class _Live:
    """A run as it is shown while it happens: a live view in a terminal, otherwise lines, with --json one document for each event."""

    def __init__(self, out: Out, endpoint: Endpoint) -> None:
        from .progress_view import RunProgress
        from .run_client import RunClient

        self._out = out
        self._clock = endpoint.clock
        self._draw: Any = None
        self.client = RunClient(endpoint, on_event=self._on_event)
        now = self._clock.monotonic()
        self._progress = RunProgress(run=self.client.run, started=now, heard=now)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock.monotonic() - self._progress.started

    async def watch(self) -> dict[str, Any]:
        """Show it until it ends; the run in full."""
        with _screen(self._out) as self._draw:
            view = await self.client.watch(self._tick)
            self._tick()
        return view

    def _on_event(self, event: Event) -> None:
        line = self._progress.take(event, self._clock.monotonic())
        if self._out.as_json:
            self._out.document("event", event.document(self.client.run))
        elif line and self._draw is None:
            self._out.say(f"{self.seconds:6.1f}s  {line}")

    def _tick(self) -> None:
        if self._draw is not None:
            self._draw(self._progress.lines(self._out, self._clock.monotonic(), _width()))


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
