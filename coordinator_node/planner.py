"""From a goal to a plan: the port that every planner implements, and how one is chosen.

Rules. A planner is deterministic: the same request makes the same plan, subtask ids included, so that names of results do not depend on who made them. It
either returns a checked plan or raises an error that says what it does understand. Other packages add planners by the entry point group
`zwerm.planners` (a class without arguments), as the two built-in ones are: `rule` (`planner_rules`) and `file` (`planner_file`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from pydantic import ValidationError

from protocol.messages import Missing
from protocol.messages.base import JsonObject
from protocol.plan import Plan, Subtask

from .errors import PlanInvalid

__all__ = ["NamedFile", "Planner", "Replan", "Request", "checked_plan", "find_planner", "replan_of"]


class NamedFile(Protocol):
    """All that a planner may know of a file: never what is in it, which could then change the plan."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def media_type(self) -> str:
        """What kind of file it is."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. `plan` is the content of a plan file, for planners that take one."""

    goal: str
    inputs: Sequence[NamedFile] = ()
    skipped: Sequence[Missing] = ()
    plan: JsonObject | None = None


Replan = Callable[[Plan, Subtask, str], list[Subtask] | None]
"""(plan, subtask, why it was given up) -> its new form, under its id, with what it newly needs; None: there is no other way."""


class Planner(Protocol):
    """Makes plans."""

    def plan(self, request: Request) -> Plan:
        """Break a goal into subtasks.

        Raises:
            GoalNotUnderstood: the words mean nothing to this planner.
            PlanInvalid: what it was given breaks a rule.
        """
        ...


def replan_of(planner: str) -> Replan | None:
    """What knows other ways for plans of a planner (`Plan.planner`: its name, and whatever follows a colon): its method `replan`, if it has one.

    A planner offers it to have a part of its plan done otherwise, when that cannot be done as planned.
    """
    try:
        found = find_planner(planner.partition(":")[0])
    except PlanInvalid:
        return None
    replan: Replan | None = getattr(found, "replan", None)
    return replan


def find_planner(name: str) -> Planner:
    """The planner of that name.

    Raises:
        PlanInvalid: there is none.
    """
    points = _points()
    if name not in points:
        raise PlanInvalid(
            f"there is no planner called {name!r}", f"Choose one of: {', '.join(sorted(points))}."
        )
    planner: Planner = points[name].load()()
    return planner


@cache
def _points() -> dict[str, EntryPoint]:
    """What is installed; looked up once, since that reads the metadata of every package, and every run asks."""
    return {point.name: point for point in entry_points(group="zwerm.planners")}


def checked_plan(fields: dict[str, object]) -> Plan:
    """A plan from its fields.

    Raises:
        PlanInvalid: it breaks a rule of SPEC PLAN; the first one is said.
    """
    try:
        return Plan.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = str(first["msg"]).removeprefix("Value error, ")
        raise PlanInvalid(f"{place}: {message}" if place else message) from None
