"""What `zwerm run` does where a model drafts the plan: have it drafted, show it, ask for leave, write it down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mesh.output import Out, clean

from .drafting import PlanMade, can_draft, draft_plan, offers_of
from .planner_model import Draft

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from protocol.messages import Budget, Missing

    from .inputs import FoundFile

__all__ = ["Declined", "approved", "drafted", "drafted_instead", "print_plan"]


class Declined(click.ClickException):
    """The person does not want this plan."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__("the plan was declined; nothing was begun")


async def drafted(
    endpoint: Endpoint,
    out: Out,
    goal: str,
    files: Sequence[FoundFile],
    skipped: Sequence[Missing],
    budget: Budget | None,
) -> PlanMade:
    """A plan by a model of the swarm, shown to the person.

    Raises:
        DraftFailed, PlanInvalid: there is none.
    """
    offers = await offers_of(endpoint)
    made = await draft_plan(
        endpoint,
        Draft(goal, files, offers, skipped),
        offers,
        budget=budget,
        say=lambda line: out.say(clean(line)),
    )
    _show(out, made)
    return made


async def drafted_instead(
    endpoint: Endpoint,
    out: Out,
    goal: str,
    files: Sequence[FoundFile],
    skipped: Sequence[Missing],
    budget: Budget | None,
) -> PlanMade | None:
    """The same where no rule fits the goal; None when nobody here drafts plans."""
    if not can_draft(await offers_of(endpoint)):
        return None
    out.say("No rule fits this goal; a model of the swarm drafts a plan for it.")
    return await drafted(endpoint, out, goal, files, skipped, budget)


def _show(out: Out, made: PlanMade) -> None:
    out.say(f"Plan, drafted by {clean(made.by)} (run {made.runs[-1][-6:]}):")
    steps: Any = made.drafted.plan["steps"]
    width = max(len(str(step["capability"])) for step in steps)
    for step in steps:
        out.say(
            f"  {step['id']:4}  {step['capability']:{width}}  {_source(step):24}  {clean(step.get('label', ''))}"
        )
    if made.drafted.remark:
        out.say(made.drafted.remark)


def _source(step: dict[str, Any]) -> str:
    if "map" in step:
        return "each file" if step["map"] == "inputs" else f"each of {step['map']}"
    if "reduce" in step:
        named = step["reduce"]
        return "all of " + (named if isinstance(named, str) else ", ".join(named))
    return "all files" if step.get("inputs") else ""


def print_plan(out: Out, made: PlanMade) -> None:
    """The plan as a file that `--plan` takes (with --json: one document)."""
    import yaml

    out.document(
        "plan",
        {"plan": made.drafted.plan, "by": made.by, "run": made.runs[-1], "remark": made.drafted.remark},
    )
    out.line(yaml.safe_dump(made.drafted.plan, sort_keys=False, allow_unicode=True, width=120).rstrip())


def approved(out: Out) -> None:
    """Ask for leave.

    Raises:
        Declined: the answer is no.
        click.UsageError: there is nobody to ask.
    """
    if out.as_json or not sys.stdin.isatty():
        raise click.UsageError(
            "There is nobody to ask. Write the plan down with --plan-only, look at it, and run it with --plan FILE."
        )
    if not click.confirm("Carry it out?", default=False, err=True):
        raise Declined
