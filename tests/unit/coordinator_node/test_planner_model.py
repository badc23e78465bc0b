"""Plans that a model drafts: whatever fits the schema has no cycle, no unknown capability and no missing need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_node.errors import PlanInvalid
from coordinator_node.inputs import FoundFile
from coordinator_node.planner import Request
from coordinator_node.planner_file import FilePlanner
from coordinator_node.planner_model import STEPS_MAX, Draft, Offer, plan_of
from protocol.plan import Plan

DOCUMENTS = (
    "doc.read",
    "text.extract",
    "text.keywords",
    "text.summarize",
    "table.assemble",
    "table.convert",
    "report.assemble",
)


def found(*names: str) -> list[FoundFile]:
    kinds = {"txt": "text/plain", "pdf": "application/pdf"}
    return [FoundFile(name, None, kinds[name.rpartition(".")[2]], 1) for name in names]  # type: ignore[arg-type]


def draft(
    *capabilities: str, files: tuple[str, ...] = ("a.txt", "b.txt"), goal: str = "Which offer is best?"
) -> Draft:
    return Draft(goal, found(*files), [Offer(name, f"does {name}") for name in capabilities])


def step(number: int, capability: str, source: str, task: str = "do it") -> dict[str, str]:
    return {
        "id": f"t{number}",
        "capability": capability,
        "task": task,
        "from": source,
        "expect": "it is done",
    }


def planned(asked: Draft, *steps: dict[str, str]) -> Plan:
    """The plan that an answer comes to, made by the planner that carries it out."""
    plan = plan_of(asked, {"steps": list(steps)}).plan
    return FilePlanner().plan(Request(asked.goal, asked.inputs, (), plan))


@st.composite
def answers(draw: st.DrawFn, asked: Draft) -> dict[str, Any]:
    """Any answer that the schema allows."""
    variants: Any = asked.schema()
    array = draw(st.sampled_from(variants["properties"]["steps"]["anyOf"]))
    steps = []
    for form in array["prefixItems"]:
        fields = form["properties"]
        steps.append(
            {
                "id": fields["id"]["const"],
                "capability": draw(st.sampled_from(fields["capability"]["enum"])),
                "task": draw(st.text(min_size=1, max_size=40)),
                "from": draw(st.sampled_from(fields["from"]["enum"])),
                "expect": draw(st.text(max_size=20)),
            }
        )
    return {"steps": steps}


OWN = draft("model.answer", "model.compare", files=("a.txt", "b.pdf", "c.txt"))
ALL = draft("model.answer", *DOCUMENTS, files=("a.txt", "b.pdf", "c.txt"))


@given(answers(OWN))
def test_every_answer_that_fits_the_schema_is_a_plan(answer: dict[str, Any]):
    plan = FilePlanner().plan(Request(OWN.goal, OWN.inputs, (), plan_of(OWN, answer).plan))
    assert {subtask.capability for subtask in plan.subtasks} <= {"model.answer", "model.compare"}
    assert plan.deliver[0].subtask.startswith(answer["steps"][-1]["id"])


def refusal(asked: Draft, answer: dict[str, Any]) -> str:
    """Why an answer makes no plan; "" if it does."""
    try:
        plan_of(asked, answer)
    except PlanInvalid as error:
        return error.message
    return ""


@given(answers(ALL))
def test_with_built_in_capabilities_it_is_a_plan_or_said_why_not(answer: dict[str, Any]):
    said = refusal(ALL, answer)
    assert said == "" or " takes " in said


def test_texts_are_read_before_they_are_worked_on():
    plan = planned(
        draft("doc.read", "text.summarize", "report.assemble"),
        step(1, "text.summarize", "each file"),
        step(2, "report.assemble", "all results of t1"),
    )
    by_id = {subtask.id: subtask for subtask in plan.subtasks}
    assert by_id["t1-01"].needs == ["read-01"]
    assert by_id["read-01"].inputs == ["a.txt"]
    assert by_id["t2"].needs == ["t1-01", "t1-02"]
    assert by_id["t2"].tolerant
    assert by_id["t1-01"].params == {}


def test_an_agent_that_takes_words_gets_its_task_and_what_is_expected():
    plan = planned(draft("model.answer"), step(1, "model.answer", "all files", "Name the cheapest offer"))
    [only] = plan.subtasks
    assert only.params == {"task": "Name the cheapest offer", "expect": "it is done"}
    assert only.inputs == ["a.txt", "b.txt"]


def test_an_agent_that_takes_words_gets_the_text_of_a_pdf_and_not_its_bytes():
    plan = planned(draft("model.answer", "doc.read", files=("a.pdf",)), step(1, "model.answer", "each file"))
    assert [subtask.capability for subtask in plan.subtasks] == ["doc.read", "model.answer"]


def test_what_cannot_fit_together_is_said_in_words_for_another_try():
    asked = draft("text.extract", "report.assemble", "table.assemble", "doc.read")
    with pytest.raises(
        PlanInvalid, match=r"step t1: table\.assemble takes results of text\.extract, and is given files"
    ):
        plan_of(asked, {"steps": [step(1, "table.assemble", "all files")]})


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"steps": []},
        {"steps": [step(1, "shell.anything", "nothing")]},
        {"steps": [step(1, "model.answer", "all results of t2")]},
        {"steps": [step(2, "model.answer", "nothing")]},
        {"steps": [step(1, "model.answer", "nothing") | {"argv": "rm"}]},
        {"steps": [step(number, "model.answer", "nothing") for number in range(1, STEPS_MAX + 2)]},
    ],
)
def test_an_answer_outside_the_schema_is_refused(answer: Any):
    with pytest.raises(PlanInvalid, match="does not fit the schema"):
        plan_of(draft("model.answer"), answer)


def test_one_agent_is_said_to_be_enough_where_it_is():
    asked = draft("model.answer")
    single = plan_of(asked, {"steps": [step(1, "model.answer", "all files")]})
    chain = plan_of(
        asked, {"steps": [step(1, "model.answer", "all files"), step(2, "model.answer", "all results of t1")]}
    )
    wide = plan_of(
        asked, {"steps": [step(1, "model.answer", "each file"), step(2, "model.answer", "all results of t1")]}
    )
    assert single.remark.startswith("One agent is enough")
    assert chain.remark.startswith("One agent is enough")
    assert wide.remark == ""


def test_the_model_sees_names_on_one_line_and_never_more_than_fifty():
    names = [f"file\n{number:03}\x1b[31m.txt" for number in range(200)]
    params = draft("model.answer", files=tuple(names)).params("  it was wrong")
    shown: Any = params["files"]
    assert len(shown) == 50
    assert params["file_count"] == 200
    assert shown[0]["name"] == "file 000 [31m.txt"
    assert params["problem"] == "  it was wrong"
    assert "JSON" in str(params["instructions"])
    json.dumps(params)


def test_drafting_itself_is_nothing_that_a_plan_can_use():
    with pytest.raises(PlanInvalid, match="nobody here offers"):
        draft("plan.draft")
    assert "plan.draft" not in json.dumps(draft("plan.draft", "model.answer").schema())
