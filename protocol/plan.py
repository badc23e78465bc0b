"""A plan: the graph of subtasks that a goal was broken into, already expanded over its inputs.

What the rules are (SPEC PLAN-1 to PLAN-7): ids are unique; every need is a subtask of the plan; there is no cycle; every input is a file of
the run; every deliverable names a subtask; sizes are bounded. `Plan` cannot be constructed otherwise, so whoever holds one need not check
again. The journal holds only `Subtask.skeleton()`: the graph without its content.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from .ids import CapabilityName, SubtaskId
from .limits import MSGPACK_ARRAY
from .messages.base import Budget, Item, JsonObject, Note

__all__ = ["NEEDS_MAX", "PLAN_NEEDS_MAX", "PLAN_SUBTASKS_MAX", "Deliverable", "Plan", "Skeleton", "Subtask"]

PLAN_SUBTASKS_MAX = 20_000
"""Five times the largest swarm run that is planned for (4,000); a bound so that a plan cannot fill a coordinator's memory."""

NEEDS_MAX = MSGPACK_ARRAY
"""Needs of one subtask: the journal has them in one array."""
PLAN_NEEDS_MAX = 200_000
"""Needs of all subtasks together: fifty each for the largest run that is planned for. Each costs memory for as long as the run is open."""

FileName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Skeleton(Item):
    """A subtask without content: what the journal and the scheduler need."""

    id: SubtaskId
    capability: CapabilityName
    needs: Annotated[list[SubtaskId], Field(max_length=NEEDS_MAX)] = []
    tolerant: bool = False
    """Go on without needs that failed (they are named to the worker), instead of failing with them."""
    tries: Annotated[int, Field(ge=1, le=20)] = 3
    deadline_ms: Annotated[int, Field(ge=100, le=12 * 3600 * 1000)] = 300_000
    data_class: Annotated[int, Field(ge=0, le=1)] = 1
    """0 public, 1 internal. Higher classes need zones and are refused until those exist (`E_CLASS`)."""
    budget: Budget | None = None
    """The most that all its attempts together may spend; time is bounded by `deadline_ms`, so `wall_ms` is not used."""


class Subtask(Skeleton):
    """One piece of work: a capability, applied to run inputs and to the outputs of the subtasks it needs."""

    label: Note = ""
    inputs: Annotated[list[FileName], Field(max_length=4096)] = []
    params: JsonObject = {}
    output_schema: JsonObject | None = None
    """JSON Schema (2020-12) that the first output must satisfy before the result counts."""
    instead: Annotated[list[CapabilityName], Field(max_length=8)] = []
    """Capabilities that give the same kind of result: tried in turn when it would be given up, since nobody does it or its tries are used up."""

    def skeleton(self) -> Skeleton:
        """The part that is journaled."""
        return Skeleton(
            id=self.id,
            capability=self.capability,
            needs=self.needs,
            tolerant=self.tolerant,
            tries=self.tries,
            deadline_ms=self.deadline_ms,
            data_class=self.data_class,
            budget=self.budget,
        )


class Deliverable(Item):
    """A file that the person gets: every output of `subtask`, or only the one called `output`."""

    subtask: SubtaskId
    output: Annotated[str, StringConstraints(max_length=255)] = ""


class Plan(Item):
    """A checked plan; construction fails (pydantic's ValidationError) if any rule is broken."""

    schema_: Annotated[Literal["zwerm.plan/1"], Field(alias="schema")] = "zwerm.plan/1"
    goal: Annotated[str, StringConstraints(max_length=8000)]
    planner: Annotated[str, StringConstraints(max_length=64)]
    inputs: Annotated[list[FileName], Field(max_length=4096)] = []
    subtasks: Annotated[list[Subtask], Field(min_length=1, max_length=PLAN_SUBTASKS_MAX)]
    deliver: Annotated[list[Deliverable], Field(min_length=1, max_length=256)]
    budget: Budget | None = None
    """The most that a run of it may spend, where whoever submits it does not say."""

    @model_validator(mode="after")
    def _checked(self) -> Self:
        by_id = {subtask.id: subtask for subtask in self.subtasks}
        if len(by_id) != len(self.subtasks):
            raise ValueError("two subtasks have the same id")
        inputs = set(self.inputs)
        if len(inputs) != len(self.inputs):
            raise ValueError("two inputs have the same name")
        needs = sum(len(subtask.needs) for subtask in self.subtasks)
        if needs > PLAN_NEEDS_MAX:
            raise ValueError(
                f"the subtasks have {needs:,} needs together, and {PLAN_NEEDS_MAX:,} is the most"
            )
        for subtask in self.subtasks:
            for need in subtask.needs:
                if need not in by_id:
                    raise ValueError(f"subtask {subtask.id!r} needs {need!r}, which is not in the plan")
            for name in subtask.inputs:
                if name not in inputs:
                    raise ValueError(
                        f"subtask {subtask.id!r} reads {name!r}, which is not an input of the run"
                    )
        try:
            TopologicalSorter({subtask.id: subtask.needs for subtask in self.subtasks}).prepare()
        except CycleError as error:
            raise ValueError(f"the plan has a cycle: {' -> '.join(error.args[1])}") from None
        for deliverable in self.deliver:
            if deliverable.subtask not in by_id:
                raise ValueError(f"deliverable {deliverable.subtask!r} is not a subtask of the plan")
        return self
