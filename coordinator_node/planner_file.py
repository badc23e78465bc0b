r"""The planner that does what a file says: steps with their capability, over all inputs or the results of other steps.

    steps:
      - id: read                     one subtask for each input of the run
        capability: doc.read
        map: inputs                  (or a list of patterns: ["*.pdf", "*.docx"])
      - id: find                     one subtask for each subtask of `read`
        capability: text.extract
        map: read
        params: {kinds: [date]}
      - id: report                   one subtask over all subtasks of `find`
        capability: report.assemble
        reduce: find                 (or a list of steps)
        tolerant: true               (go on without those that failed)
    deliver: [report]                (or {step: report, output: report.md}; by default the last step)

A step without `map` and `reduce` is one subtask, over the inputs that it names, if any (`inputs: [...]`). Optional for each: `label`, `params`,
`tries`, `deadline_s`, `output_schema`, `budget` (for all tries of each subtask, e.g. `tokens=50k`), `after` (steps to wait for),
`instead` (capabilities that give the same kind of result, tried in turn when nobody does this one or its tries are used up). The whole plan
may have a `budget`, too (`money=5,time=2h`). The command reads YAML or JSON and sends plain data; what is wrong is said with its
place in the file. A small file can stand for a huge plan (a step for each input, times steps), so the size is known and refused
before anything is made. Counterpart: `load` gives the data of a YAML text, with places of what YAML itself refuses.
"""

from __future__ import annotations

import datetime
import json
import math
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.ids import CapabilityName
from protocol.messages import Budget
from protocol.messages.base import JsonObject
from protocol.plan import NEEDS_MAX, PLAN_NEEDS_MAX, PLAN_SUBTASKS_MAX, Plan

from .acceptance import check_schema
from .budget_text import BudgetInvalid, parse_mapping, parts_of
from .errors import PlanInvalid
from .offers import values
from .planner import Request, checked_plan

__all__ = ["FilePlanner", "PlanFile", "Step", "load"]

_HINT = "Correct the plan file: a list `steps`, each with `id` and `capability`, and `map: inputs`, `map: STEP` or `reduce: STEP`."
_VALUES_MAX = 10_000
_DEPTH_MAX = 12
"""Containers inside one another: a message may have 16, and the plan is not its outermost."""
_CONTENT_MAX = 500_000
_CONTENT_BYTES_MAX = 32 << 20
_DELIVER_MAX = 256
_FEWER = "Work on fewer inputs at a time, or make several runs of it."
StepId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,40}$")]
_FORM = ConfigDict(strict=True, extra="forbid", frozen=True)


class Step(BaseModel):
    """One step of a plan file, as it is written."""

    model_config = _FORM

    id: StepId
    capability: CapabilityName
    map: str | list[str] | None = None
    reduce: str | list[str] | None = None
    after: str | list[str] = []
    inputs: list[str] = []
    label: Annotated[str, Field(max_length=120)] = ""
    params: JsonObject = {}
    tolerant: bool = False
    tries: Annotated[int, Field(ge=1, le=20)] = 3
    deadline_s: Annotated[float, Field(ge=0.1, le=12 * 3600)] = 300.0
    output_schema: JsonObject | None = None
    instead: str | list[str] = []
    budget: str | JsonObject | None = None


class Deliver(BaseModel):
    """A result that the person gets."""

    model_config = _FORM

    step: StepId
    output: Annotated[str, Field(max_length=255)] = ""


class PlanFile(BaseModel):
    """A whole plan file."""

    model_config = _FORM

    schema_: Annotated[Literal["zwerm.planfile/1"], Field(alias="schema")] = "zwerm.planfile/1"
    goal: Annotated[str, Field(max_length=8000)] = ""
    steps: Annotated[list[Step], Field(min_length=1, max_length=1000)]
    deliver: Annotated[list[str | Deliver], Field(max_length=256)] = []
    budget: str | JsonObject | None = None


def load(text: str) -> JsonObject:
    """The data of a plan file (YAML, of which JSON is a part).

    Raises:
        PlanInvalid: it is not YAML, or not a mapping; the line is said.
    """
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PlanInvalid(f"{place}{error.problem or 'this is not YAML'}", _HINT) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = (
            "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        )
        raise PlanInvalid(f"this is not YAML: {words}"[:500], _HINT) from None
    if not isinstance(data, dict):
        raise PlanInvalid("a plan file is a mapping with `steps`", _HINT)
    return {str(key): value for key, value in _plain(data, "", [0]).items()}


def _plain(value: Any, place: str, count: list[int], depth: int = 0) -> Any:
    """YAML's data as JSON's: dates become text; what JSON cannot say is refused, and so is a small file that stands for a huge one."""
    count[0] += 1
    if depth > _DEPTH_MAX:
        raise PlanInvalid(
            f"{place[:80]}: it is nested too deeply; {_DEPTH_MAX} levels is the most", "Write it flatter."
        )
    if count[0] > _VALUES_MAX:
        raise PlanInvalid(
            f"the plan has more than {_VALUES_MAX:,} values", "Map over `inputs` instead of listing them."
        )
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise PlanInvalid(
                    f"{place or 'the plan'}: the key {key!r} is no text; put it in quotes", _HINT
                )
        return {
            key: _plain(part, f"{place}.{key}".lstrip("."), count, depth + 1) for key, part in value.items()
        }
    if isinstance(value, list):
        return [_plain(part, f"{place}[{number}]", count, depth + 1) for number, part in enumerate(value, 1)]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return value
    # An integer may have more digits than Python is willing to write.
    what = f"an integer of {value.bit_length():,} bits" if isinstance(value, int) else str(value)[:40]
    raise PlanInvalid(
        f"{place}: {what} is neither text, a finite number (integers have 64 bits), a list nor a mapping",
        _HINT,
    )


class FilePlanner:
    """Plans by a file's content."""

    def plan(self, request: Request) -> Plan:
        """See `planner.Planner`."""
        if request.plan is None:
            raise PlanInvalid("the planner `file` needs a plan", "Give one: `zwerm run GOAL --plan FILE`.")
        written = _parse(request.plan)
        expansion = _Expansion(request)
        for number, step in enumerate(written.steps, 1):
            expansion.add(step, f"step {number} ({step.id})")
        return checked_plan(
            {
                "schema": "zwerm.plan/1",
                "goal": request.goal or written.goal,
                "planner": "file",
                "inputs": [named.name for named in request.inputs],
                "subtasks": expansion.subtasks,
                "deliver": expansion.deliver(written),
                "budget": _budget(written.budget, "the plan"),
            }
        )


def _budget(written: str | JsonObject | None, place: str) -> Budget | None:
    if written is None:
        return None
    try:
        parts = parts_of(written) if isinstance(written, str) else written
        return parse_mapping(parts, place)
    except BudgetInvalid as error:
        raise PlanInvalid(error.message, error.hint) from None


def _step_budget(step: Step, place: str) -> Budget | None:
    budget = _budget(step.budget, place)
    if budget is not None and (budget.wall_ms is not None or budget.children is not None):
        raise PlanInvalid(
            f"{place}, budget: a step bounds money, tokens, steps and bytes", "For time use `deadline_s`."
        )
    return budget


def _parse(data: JsonObject) -> PlanFile:
    try:
        return PlanFile.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise PlanInvalid(f"{_place(data, first['loc'])}: {first['msg']}", _HINT) from None


def _place(data: JsonObject, loc: tuple[int | str, ...]) -> str:
    """Where in the file, as its writer would say it."""
    if len(loc) >= 2 and loc[0] == "steps" and isinstance(loc[1], int):
        steps: Any = data.get("steps")
        step = steps[loc[1]] if isinstance(steps, list) and loc[1] < len(steps) else None
        name = f" ({step['id']})" if isinstance(step, dict) and isinstance(step.get("id"), str) else ""
        rest = ".".join(str(part) for part in loc[2:] if part not in ("str", "list[str]"))
        return f"step {loc[1] + 1}{name}" + (f", {rest}" if rest else "")
    return ".".join(map(str, loc)) or "the plan"


class _Expansion:
    """Steps become subtasks; a step's later readers know its subtasks by its name."""

    def __init__(self, request: Request) -> None:
        self._inputs = [named.name for named in request.inputs]
        self._steps: dict[str, list[str]] = {}
        self._sources: dict[str, str] = {}
        self._budgets: dict[str, Budget | None] = {}
        self._needs = 0
        self._content = 0
        self._bytes = 0
        self.subtasks: list[dict[str, Any]] = []

    def add(self, step: Step, place: str) -> None:
        if step.id in self._steps:
            raise PlanInvalid(f"{place}: another step has the same id", _HINT)
        if step.map is not None and step.reduce is not None:
            raise PlanInvalid(f"{place}: a step has `map` or `reduce`, not both", _HINT)
        if step.map is not None and step.inputs:
            raise PlanInvalid(f"{place}: a step has `map` or `inputs`, not both", _HINT)
        if step.output_schema is not None and (wrong := check_schema(step.output_schema)):
            raise PlanInvalid(f"{place}, output_schema: {wrong}", _HINT)
        self._budgets[step.id] = _step_budget(step, place)
        after = self._named(step.after, place, "after")
        if step.map is not None:
            made = self._map(step, place, after)
        else:
            needs = self._named(step.reduce or [], place, "reduce")
            self._weigh(step, place, 1, len(needs) + len(after))
            for name in step.inputs:
                if name not in self._inputs:
                    raise PlanInvalid(
                        f"{place}, inputs: {name!r} is not an input of the run{self._have()}", _HINT
                    )
            made = [self._subtask(step, step.id, needs + after, step.inputs, "")]
        self._steps[step.id] = made

    def _map(self, step: Step, place: str, after: list[str]) -> list[str]:
        if isinstance(step.map, str) and step.map != "inputs" and step.map in self._steps:
            self._weigh(step, place, len(self._steps[step.map]), 1 + len(after))
            return [
                self._subtask(
                    step, self._numbered(step.id, number, need), [need, *after], [], self._sources[need]
                )
                for number, need in enumerate(self._steps[step.map], 1)
            ]
        patterns = (
            ["*"] if step.map == "inputs" else [step.map] if isinstance(step.map, str) else step.map or []
        )
        if isinstance(step.map, str) and step.map != "inputs" and not set(step.map) & set("*?[."):
            raise PlanInvalid(
                f"{place}, map: {step.map!r} is neither `inputs` nor a step before this one{self._known()}",
                _HINT,
            )
        names = [name for name in self._inputs if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if not names:
            raise PlanInvalid(
                f"{place}, map: no input of the run fits {', '.join(patterns)}{self._have()}", _HINT
            )
        self._weigh(step, place, len(names), len(after))
        width = max(2, len(str(len(names))))
        return [
            self._subtask(step, f"{step.id}-{number:0{width}d}", after, [name], name)
            for number, name in enumerate(names, 1)
        ]

    def _weigh(self, step: Step, place: str, count: int, needs: int) -> None:
        """Refuse what would be too much of a plan, before it is made: `count` subtasks of this step, each with so many needs."""
        content = [step.params, step.output_schema]
        self._needs += count * needs
        self._content += count * values(content)
        self._bytes += count * len(json.dumps(content))
        subtasks = len(self.subtasks) + count
        if needs > NEEDS_MAX:
            what = f"a subtask of it waits for {needs:,} others, and {NEEDS_MAX:,} is the most"
        elif subtasks > PLAN_SUBTASKS_MAX:
            what = f"the plan has {subtasks:,} subtasks so far, and {PLAN_SUBTASKS_MAX:,} is the most"
        elif self._needs > PLAN_NEEDS_MAX:
            what = f"the subtasks so far wait {self._needs:,} times for another, and {PLAN_NEEDS_MAX:,} is the most"
        elif self._content > _CONTENT_MAX:
            what = f"the subtasks so far have {self._content:,} values as params and schemas, and {_CONTENT_MAX:,} is the most"
        elif self._bytes > _CONTENT_BYTES_MAX:
            what = f"params and schemas of the subtasks so far take {self._bytes >> 20:,} MiB, and {_CONTENT_BYTES_MAX >> 20} is the most"
        else:
            return
        raise PlanInvalid(f"{place}: {what}", _FEWER)

    @staticmethod
    def _numbered(step: str, number: int, need: str) -> str:
        """Keep the number of the subtask that it goes on from."""
        _, dash, tail = need.rpartition("-")
        return f"{step}-{tail}" if dash and tail.isdigit() else f"{step}-{number:02d}"

    def _named(self, names: str | list[str], place: str, word: str) -> list[str]:
        found: list[str] = []
        for name in [names] if isinstance(names, str) else names:
            if name not in self._steps:
                raise PlanInvalid(
                    f"{place}, {word}: {name!r} is not a step before this one{self._known()}", _HINT
                )
            found += self._steps[name]
        return list(dict.fromkeys(found))

    def _known(self) -> str:
        return f" (known so far: {', '.join(self._steps)})" if self._steps else ""

    def _have(self) -> str:
        if not self._inputs:
            return " (the run has no inputs)"
        return f" (inputs: {', '.join(self._inputs[:8])}{' ...' if len(self._inputs) > 8 else ''})"

    def _subtask(self, step: Step, name: str, needs: list[str], inputs: list[str], source: str) -> str:
        label = step.label or step.id
        subtask: dict[str, Any] = {
            "id": name,
            "capability": step.capability,
            "label": f"{label} {source}"[:200] if source else label,
            "needs": needs,
            "inputs": inputs,
            "params": step.params,
            "tolerant": step.tolerant,
            "tries": step.tries,
            "deadline_ms": int(step.deadline_s * 1000),
        }
        if step.instead:
            subtask["instead"] = [step.instead] if isinstance(step.instead, str) else list(step.instead)
        if step.budget is not None:
            subtask["budget"] = self._budgets[step.id]
        if step.output_schema is not None:
            subtask["output_schema"] = step.output_schema
        self.subtasks.append(subtask)
        self._sources[name] = source
        return name

    def deliver(self, written: PlanFile) -> list[dict[str, str]]:
        """What the person gets, by subtask."""
        wanted = written.deliver or [written.steps[-1].id]
        files: list[dict[str, str]] = []
        count = 0
        for number, item in enumerate(wanted, 1):
            step, output = (item, "") if isinstance(item, str) else (item.step, item.output)
            if step not in self._steps:
                raise PlanInvalid(f"deliver {number}: {step!r} is not a step{self._known()}", _HINT)
            count += len(self._steps[step])
            if count <= _DELIVER_MAX:
                files += [{"subtask": name, "output": output} for name in self._steps[step]]
        if count > _DELIVER_MAX:
            raise PlanInvalid(
                f"{count:,} deliverables are more than one run delivers ({_DELIVER_MAX})",
                "Deliver a step that puts them together (`deliver: [STEP]`), with `reduce`.",
            )
        return files
