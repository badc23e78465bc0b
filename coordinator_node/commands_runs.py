"""The verbs `runs ...`: past and present runs, looked at, paused, resumed, stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from mesh.output import Exit, Out, clean
from mesh.verbs import HELP_SETTINGS, Session, command, run_async

__all__ = ["runs", "viewed"]


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
                entry["outcome"]
                or (
                    "paused"
                    if entry.get("paused")
                    else "read-only"
                    if entry.get("read_only")
                    else entry["status"]
                ),
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

    view = run_async(viewed(session, run_id), timeout_s=session.timeout_s)
    out = session.out
    out.line(
        f"run {view['run']}   {view['outcome'] or ('paused' if view.get('paused') else view['status'])}"
        f"   planner {view['planner']}   by {view['by_name']}"
    )
    if view.get("paused"):
        why = f": {clean(view['pause_reason'])}" if view["pause_reason"] else ""
        out.line(f"paused by {view['paused_by_name']}{why}   zwerm runs resume {view['run'][-6:]}")
    if view.get("read_only"):
        out.warn(clean(view["read_only"]))
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


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


async def viewed(session: Session, run_id: str) -> dict[str, Any]:
    """A run in full, as `runs show` and `artifacts` need it."""
    from mesh.client import connect_home

    from .run_client import show_run

    async with connect_home(session.home, timeout_s=5.0) as swarm:
        return await show_run(swarm.endpoint, run_id)


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
    context_settings=HELP_SETTINGS,
)
