"""`zwerm inbox`: what agents of this device ask their owner, and the answers."""

from __future__ import annotations

from typing import Any

import click

from mesh.clock import SystemClock
from mesh.output import Exit
from mesh.verbs import HELP_SETTINGS, Session, command

__all__ = ["inbox"]


@command("ls")
def list_questions(session: Session) -> int:
    """What waits for an answer on this device."""
    waiting = list(_inbox(session).waiting())
    now = SystemClock().now()
    rows = [
        (one.id[:8], one.question.agent, one.question.title, f"{max(0, int(one.until - now)) // 60} min left")
        for one in waiting
    ]
    out = session.out
    if rows:
        out.table(("ID", "AGENT", "ASKS", "TIME"), rows)
    else:
        out.line("Nothing waits for an answer on this device.")
    out.document("inbox", {"questions": [_told(one) for one in waiting]})
    return Exit.OK


@command("show")
@click.argument("which")
def show_question(session: Session, which: str) -> int:
    """One question whole: which tool, with exactly which arguments, for which run."""
    one = _inbox(session).find(which)
    out = session.out
    out.line(f"{one.id}   {one.question.title}")
    out.line(f"  agent      {one.question.agent} ({one.question.capability})")
    out.line(f"  run        {one.question.run or '(none)'}")
    out.line(f"  tool       {one.question.tool}")
    out.line(f"  arguments  {one.question.arguments}")
    out.line(f"Next: zwerm inbox approve {one.id[:8]}, or zwerm inbox deny {one.id[:8]}")
    out.document("inbox-question", _told(one))
    return Exit.OK


@command("approve")
@click.argument("which")
def approve(session: Session, which: str) -> int:
    """Give leave, for this once and exactly these arguments."""
    return _answer(session, which, granted=True)


@command("deny")
@click.argument("which")
def deny(session: Session, which: str) -> int:
    """Give no leave; the agent goes on without."""
    return _answer(session, which, granted=False)


def _answer(session: Session, which: str, *, granted: bool) -> int:
    box = _inbox(session)
    one = box.find(which)
    box.answer(one, granted=granted)
    said = "approved" if granted else "denied"
    session.out.done(f"{said}: {one.question.title} ({one.question.agent})")
    session.out.document("inbox-answer", {"id": one.id, "granted": granted})
    return Exit.OK


def _inbox(session: Session) -> Any:
    from .inbox_file import Inbox

    session.home.load()
    return Inbox(session.home.path)


def _told(one: Any) -> dict[str, Any]:
    question = {name: getattr(one.question, name) for name in one.question.__slots__}
    return {"id": one.id, "since": one.since, "until": one.until, **question}


inbox = click.Group(
    "inbox",
    commands={"ls": list_questions, "show": show_question, "approve": approve, "deny": deny},
    help="What agents of this device ask their owner.",
    context_settings=HELP_SETTINGS,
)
