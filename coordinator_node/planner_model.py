"""Plans that a model drafts: what it is asked, which answers are possible at all, and what becomes of its answer. Pure.

    goal + what the swarm offers -> Draft (instructions, JSON Schema) -> an agent answers -> plan_of -> a plan file -> planner `file`

Rules. The model sees the goal, the capabilities and the names and types of the files, never what is in them: nothing that a document says can change
the plan. The schema has the steps' names fixed, and a step can name only steps before it: whatever fits the schema has no cycle, no unknown capability and no missing
need, however small the model. What a schema cannot say (which built-in capability takes what) is mended where there is one right way, and otherwise
said in words, for another try. Counterparts: `drafting` has the draft made by an agent of the swarm, through an auction like all other work;
`prompts/plan-N.md` are the instructions, by version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, cast

from jsonschema import Draft202012Validator

from protocol.messages import Missing
from protocol.messages.base import JsonObject

from .errors import PlanInvalid
from .planner import NamedFile, Request
from .planner_file import FilePlanner
from .schemas import OUTPUTS

__all__ = ["CAPABILITY", "PROMPT", "STEPS_MAX", "Draft", "Drafted", "Offer", "plan_of"]

CAPABILITY: Final = "plan.draft"
"""Agents that offer it make drafts."""
PROMPT: Final = "plan-1"
STEPS_MAX: Final = 5
_FILES_SHOWN: Final = 50
_NAME_CHARS: Final = 80
_TASK_CHARS: Final = 400
_EXPECT_CHARS: Final = 200
_OFFERS_MAX: Final = 64
_READS: Final = "doc.read"
_FILES: Final = "files"
_TAKES: Final[dict[str, frozenset[str]]] = {
    _READS: frozenset({_FILES}),
    "table.convert": frozenset({_FILES, _READS}),
    "text.extract": frozenset({_READS}),
    "text.keywords": frozenset({_READS}),
    "text.summarize": frozenset({_READS}),
    "table.assemble": frozenset({"text.extract"}),
    "report.assemble": frozenset({"text.extract", "text.keywords", "text.summarize"}),
}
"""Built-in capability -> what it takes: files of the run, or results of other built-in ones. These take no instructions in words."""
_DOES: Final = {
    _READS: "reads the text of each document",
    "table.convert": "turns the tables in a document into CSV",
    "text.extract": "finds dates, amounts of money, e-mail addresses and links",
    "text.keywords": "names the phrases that a text is about",
    "text.summarize": "chooses the sentences that say most of what a text says",
    "table.assemble": "puts all that text.extract found into one table",
    "report.assemble": "writes one report with citations from what was found, named and chosen",
}
"""The same in words; a device's card describes its agent as a whole."""
_BINARY: Final = re.compile(r"pdf|officedocument|html", re.IGNORECASE)
"""Types that an agent which takes plain text cannot read by itself."""
_FROM: Final = re.compile(r"(each|all) (files?|results? of (t\d))|everything so far|nothing")


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that the swarm can do, and in whose words."""

    capability: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Drafted:
    """A plan file made from a draft. `remark` is for the person: what they may want to know before they agree."""

    plan: JsonObject
    remark: str = ""


class Draft:
    """The question that is put to a model."""

    def __init__(
        self, goal: str, inputs: Sequence[NamedFile], offers: Sequence[Offer], skipped: Sequence[Missing] = ()
    ) -> None:
        """`offers`: what the swarm can do; the drafting of plans itself is left out.

        Raises:
            PlanInvalid: it can do nothing else.
        """
        self.goal = goal
        self.inputs = list(inputs)
        self.skipped = list(skipped)
        self.offers = {offer.capability: offer for offer in offers if offer.capability != CAPABILITY}
        if not self.offers:
            raise PlanInvalid(
                "nobody here offers anything that a plan could use",
                "`zwerm nodes` shows the devices and `zwerm agents` what they can do; add an agent first.",
            )

    def params(self, problem: str = "") -> JsonObject:
        """What the agent gets; `problem`: what was wrong with the last answer."""
        shown = [
            {"name": _clean(named.name, _NAME_CHARS), "type": named.media_type}
            for named in self.inputs[:_FILES_SHOWN]
        ]
        asked: dict[str, Any] = {
            "instructions": files(__package__).joinpath(f"prompts/{PROMPT}.md").read_text(encoding="utf-8"),
            "prompt": PROMPT,
            "goal": self.goal,
            "files": shown,
            "file_count": len(self.inputs),
            "capabilities": [
                {
                    "name": offer.capability,
                    "does": _DOES.get(offer.capability) or _clean(offer.description, 200),
                }
                for offer in list(self.offers.values())[:_OFFERS_MAX]
            ],
        }
        if problem:
            asked["problem"] = problem[:500]
        return cast("JsonObject", asked)

    def schema(self) -> JsonObject:
        """What every answer must satisfy. Each possible number of steps is spelled out, so that also a grammar made from it can end early."""
        return cast(
            "JsonObject",
            {
                "type": "object",
                "required": ["steps"],
                "additionalProperties": False,
                "properties": {"steps": {"anyOf": [self._steps(count) for count in range(1, STEPS_MAX + 1)]}},
            },
        )

    def _steps(self, count: int) -> dict[str, Any]:
        return {
            "type": "array",
            "prefixItems": [self._step(number) for number in range(1, count + 1)],
            "items": False,
            "minItems": count,
            "maxItems": count,
        }

    def _step(self, number: int) -> dict[str, Any]:
        sources = ["each file", "all files"] if self.inputs else []
        for before in range(1, number):
            sources += [f"each result of t{before}", f"all results of t{before}"]
        if number > 1:
            sources.append("everything so far")
        return {
            "type": "object",
            "required": ["id", "capability", "task", "from", "expect"],
            "additionalProperties": False,
            "properties": {
                "id": {"const": f"t{number}"},
                "capability": {"enum": list(self.offers)[:_OFFERS_MAX]},
                "task": {"type": "string", "minLength": 1, "maxLength": _TASK_CHARS},
                "from": {"enum": [*sources, "nothing"]},
                "expect": {"type": "string", "maxLength": _EXPECT_CHARS},
            },
        }


def plan_of(draft: Draft, answer: Any) -> Drafted:
    """The plan file that an answer means; it was tried out on the planner that will take it.

    Raises:
        PlanInvalid: it means none; the message says why, for whoever answers again.
    """
    problem = next(Draft202012Validator(draft.schema()).iter_errors(answer), None)
    if problem is not None:
        place = ".".join(map(str, problem.absolute_path))
        raise PlanInvalid(f"{place or 'the answer'} does not fit the schema"[:300])
    given: list[dict[str, str]] = answer["steps"]
    steps = _steps_of(draft, given)
    plan = cast("JsonObject", {"goal": draft.goal, "steps": steps, "deliver": [steps[-1]["id"]]})
    FilePlanner().plan(Request(draft.goal, draft.inputs, draft.skipped, plan))
    return Drafted(plan, _remark(given))


def _steps_of(draft: Draft, given: list[dict[str, str]]) -> list[dict[str, Any]]:
    made: dict[str, dict[str, Any]] = {}
    unread = any(_BINARY.search(named.media_type) for named in draft.inputs)
    for number, one in enumerate(given):
        name, capability, source = one["id"], one["capability"], one["from"]
        step: dict[str, Any] = {"id": name, "capability": capability, "label": _clean(one["task"], 120)}
        takes = _TAKES.get(capability)
        if takes is None:
            step["params"] = {"task": one["task"], "expect": one["expect"]}
        if capability in OUTPUTS:
            step["output_schema"] = OUTPUTS[capability]
        of_files = source in ("each file", "all files")
        if takes is not None and _FILES in takes and of_files:
            step["map"] = "inputs"  # one at a time is all that they take
        elif of_files and _READS in draft.offers and (_READS in takes if takes is not None else unread):
            # There is one right way: the text is read from the files first.
            made.setdefault("read", _reading())
            step["map" if takes is not None or source == "each file" else "reduce"] = "read"
        else:
            _from(step, source, [entry["id"] for entry in given[:number]], draft)
        # What could not be done for one file is no reason to do nothing for the others.
        step["tolerant"] = "reduce" in step
        _check(step, takes, made)
        made[name] = step
    return list(made.values())


def _reading() -> dict[str, Any]:
    return {"id": "read", "capability": _READS, "map": "inputs", "output_schema": OUTPUTS[_READS]}


def _from(step: dict[str, Any], source: str, before: list[str], draft: Draft) -> None:
    found = _FROM.fullmatch(source)
    assert found is not None  # the schema has nothing else
    if source == "everything so far":
        step["reduce"] = before
    elif source == "each file":
        step["map"] = "inputs"
    elif source == "all files":
        step["inputs"] = [named.name for named in draft.inputs]
    elif source != "nothing":
        step["map" if found[1] == "each" else "reduce"] = found[3]


def _check(step: dict[str, Any], takes: frozenset[str] | None, made: dict[str, dict[str, Any]]) -> None:
    """What a built-in capability is given must be what it takes.

    Raises:
        PlanInvalid: it is not.
    """
    if takes is None:
        return
    named = step.get("map", step.get("reduce", [_FILES] if step.get("inputs") else []))
    sources = [named] if isinstance(named, str) else named
    given = {made[one]["capability"] if one in made else _FILES for one in sources}
    if not given or not given <= takes:
        raise PlanInvalid(
            f"step {step['id']}: {step['capability']} takes {_words(takes)}, and is given {_words(given) or 'nothing'}"
        )


def _words(sources: Iterable[str]) -> str:
    return " or ".join("files" if one == _FILES else f"results of {one}" for one in sorted(sources))


def _remark(given: list[dict[str, str]]) -> str:
    """Whether several agents help at all."""
    if len(given) == 1 and not given[0]["from"].startswith("each"):
        return "One agent is enough for this: it is a single piece of work."
    wide = any(one["from"].startswith("each") for one in given)
    if not wide and len({one["capability"] for one in given}) == 1:
        return "One agent is enough for this: the steps follow each other and need the same capability."
    return ""


def _clean(text: str, most: int) -> str:
    """One line of what somebody else wrote."""
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat[:most]
