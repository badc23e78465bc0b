"""Goals and plan files become plans, or say clearly why not."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator_node.errors import GoalNotUnderstood, PlanInvalid
from coordinator_node.planner import Request, find_planner
from coordinator_node.planner_file import FilePlanner, load
from coordinator_node.planner_rules import SHAPES, RulePlanner
from coordinator_node.schemas import ROWS, TEXT
from protocol.plan import Plan
from tests.support.builders import named


def plan(goal: str, *files: str) -> Plan:
    return RulePlanner().plan(Request(goal, [named(name) for name in files or ("a.pdf", "b.txt")]))


def kinds(made: Plan) -> list[str]:
    return next(subtask.params["kinds"] for subtask in made.subtasks if subtask.capability == "text.extract")  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("goal", "wanted"),
    [
        ("Find all dates in these contracts", ["date"]),
        ("find every renewal date in these contracts and list them by month", ["date"]),
        ("EXTRACT AMOUNTS AND E-MAIL ADDRESSES FROM THE DOCUMENTS", ["amount", "email"]),
        ("Extract emails and links", ["email", "link"]),
        ("list all urls", ["link"]),
        ("dates and amounts", ["date", "amount"]),
        ("What deadlines are in here?", ["date"]),
        ("Which prices and due dates do these offers have?", ["date", "amount"]),
        ("Make a table of all payments", ["amount"]),
        ("Finde alle Termine und Beträge in diesen Verträgen", ["date", "amount"]),
        ("Zoek alle datums en bedragen", ["date", "amount"]),
        ("collect the contacts and websites", ["email", "link"]),
    ],
)
def test_goals_that_name_things_to_find_are_extractions(goal: str, wanted: list[str]) -> None:
    made = plan(goal)
    assert made.planner == "rule:extract"
    assert kinds(made) == wanted
    assert [(item.subtask, item.output) for item in made.deliver] == [
        ("table", "table.csv"),
        ("report", "report.md"),
    ]


@pytest.mark.parametrize(
    "goal",
    [
        "Summarise this folder",
        "summarize the documents",
        "Give me a summary of these files",
        "an overview, please",
        "What are these documents about?",
        "Fasse diese Dokumente zusammen",
        "Vat deze documenten samen",
        "key points of the meeting notes",
    ],
)
def test_goals_that_want_it_shorter_are_summaries(goal: str) -> None:
    made = plan(goal)
    assert made.planner == "rule:summarize"
    assert {subtask.capability for subtask in made.subtasks} == {
        "doc.read",
        "text.summarize",
        "text.keywords",
        "report.assemble",
    }
    assert [item.output for item in made.deliver] == ["report.md"]


@pytest.mark.parametrize(
    "goal",
    [
        "Convert these files to a table",
        "turn the invoices into CSV",
        "make a spreadsheet of this",
        "Wandle die Dateien in eine Tabelle um",
        "zet deze bestanden om naar een tabel",
        "as csv",
    ],
)
def test_goals_that_want_tables_convert(goal: str) -> None:
    made = plan(goal)
    assert made.planner == "rule:table"
    assert [subtask.capability for subtask in made.subtasks] == ["table.convert"] * 2
    assert len(made.deliver) == 2


@pytest.mark.parametrize(
    "goal",
    ["Report on this folder", "Analyse these documents", "Bericht über diese Akten", "make a full report"],
)
def test_goals_that_want_a_report_get_everything(goal: str) -> None:
    made = plan(goal)
    assert made.planner == "rule:report"
    assert kinds(made) == ["date", "amount", "email", "link"]
    assert [item.output for item in made.deliver] == ["table.csv", "report.md"]


def test_things_to_find_beside_a_summary_make_a_report_of_those() -> None:
    made = plan("Summarise these contracts and find all dates")
    assert made.planner == "rule:report"
    assert kinds(made) == ["date"]


@pytest.mark.parametrize(
    "goal",
    [
        "Book me a flight to Oslo",
        "Translate this into French",
        "",
        "???",
        "hello",
        "delete everything here now",
    ],
)
def test_a_goal_that_no_rule_understands_is_refused_with_what_is_understood(goal: str) -> None:
    with pytest.raises(GoalNotUnderstood) as refusal:
        plan(goal)
    assert refusal.value.code == "E_GOAL"
    for shape in SHAPES:
        assert shape.examples[0] in refusal.value.hint


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_example_that_is_shown_is_understood_as_what_it_is_shown_for(shape: Any) -> None:
    for example in shape.examples:
        assert plan(example).planner == f"rule:{shape.name}"


def test_the_same_goal_makes_the_same_plan() -> None:
    assert plan("report on this folder") == plan("report on this folder")


def test_each_file_is_read_and_what_is_read_is_worked_on() -> None:
    made = plan("Report on this folder", "x.pdf", "y.docx", "z.md")
    by_id = {subtask.id: subtask for subtask in made.subtasks}
    assert by_id["read-02"].inputs == ["y.docx"]
    assert by_id["find-02"].needs == ["read-02"]
    assert by_id["summary-03"].needs == ["read-03"]
    assert by_id["table"].needs == ["find-01", "find-02", "find-03"]
    assert set(by_id["report"].needs) == {
        f"{word}-0{number}" for word in ("find", "summary", "keywords") for number in (1, 2, 3)
    }
    assert by_id["report"].tolerant
    assert by_id["table"].tolerant
    assert not by_id["find-01"].tolerant
    assert by_id["read-01"].output_schema == TEXT
    assert by_id["find-01"].output_schema == ROWS
    assert by_id["report"].params == {"title": "Report on this folder", "goal": "Report on this folder"}


def test_by_month_groups_the_table() -> None:
    made = plan("List all dates by month")
    assert next(subtask for subtask in made.subtasks if subtask.id == "table").params == {"group_by": "month"}


def test_without_documents_the_goal_cannot_be_planned() -> None:
    with pytest.raises(PlanInvalid, match="there are none") as refusal:
        RulePlanner().plan(Request("Summarise this folder"))
    assert "-i PATH" in refusal.value.hint


def test_too_many_documents_for_one_report_are_refused_before_anything_is_done() -> None:
    with pytest.raises(PlanInvalid, match="more than one report"):
        plan("Report on this folder", *(f"{number}.txt" for number in range(400)))
    assert len(plan("Find all dates", *(f"{number}.txt" for number in range(400))).subtasks) == 802


# --- plan files ---

GOOD = """
goal: read them
steps:
  - id: read
    capability: doc.read
    map: inputs
    output_schema: {type: object}
  - id: find
    capability: text.extract
    map: read
    params: {kinds: [date]}
    tries: 2
    deadline_s: 12.5
  - id: report
    capability: report.assemble
    reduce: find
    tolerant: true
    label: the report
deliver:
  - step: report
    output: report.md
"""


def from_file(text: str, *files: str, goal: str = "") -> Plan:
    return FilePlanner().plan(Request(goal, [named(name) for name in files], plan=load(text)))


@pytest.mark.parametrize("written", ["text.other", "[text.other, text.work]"])
def test_a_step_may_name_other_capabilities(written: str) -> None:
    made = from_file(f"steps: [{{id: one, capability: text.model, instead: {written}}}]")
    assert made.subtasks[0].instead == written.strip("[]").split(", ")
    with pytest.raises(PlanInvalid, match="instead"):
        from_file("steps: [{id: one, capability: text.model, instead: ['no name!']}]")


def test_a_plan_file_is_expanded_over_the_inputs() -> None:
    made = from_file(GOOD, "a.txt", "b.txt")
    assert [subtask.id for subtask in made.subtasks] == ["read-01", "read-02", "find-01", "find-02", "report"]
    assert made.subtasks[3].needs == ["read-02"]
    assert made.subtasks[3].label == "find b.txt"
    assert (made.subtasks[2].tries, made.subtasks[2].deadline_ms) == (2, 12_500)
    assert made.subtasks[4].needs == ["find-01", "find-02"]
    assert made.subtasks[4].tolerant
    assert made.goal == "read them"
    assert [(item.subtask, item.output) for item in made.deliver] == [("report", "report.md")]


def test_the_goal_that_was_asked_for_comes_before_the_one_in_the_file() -> None:
    assert from_file(GOOD, "a.txt", goal="mine").goal == "mine"


def test_patterns_choose_among_the_inputs() -> None:
    text = "steps: [{id: pdf, capability: doc.read, map: ['*.pdf', 'x/*']}]"
    made = from_file(text, "a.pdf", "b.txt", "x/c.txt")
    assert [subtask.inputs for subtask in made.subtasks] == [["a.pdf"], ["x/c.txt"]]


def test_a_single_step_reads_the_inputs_that_it_names_and_the_last_step_is_delivered() -> None:
    made = from_file(
        "steps: [{id: one, capability: doc.read, inputs: [a.txt]}, {id: two, capability: x.y, after: one}]",
        "a.txt",
    )
    assert made.subtasks[0].inputs == ["a.txt"]
    assert made.subtasks[1].needs == ["one"]
    assert [item.subtask for item in made.deliver] == ["two"]


def test_json_is_a_plan_file_too() -> None:
    made = from_file('{"steps": [{"id": "one", "capability": "demo.noop"}]}')
    assert made.subtasks[0].capability == "demo.noop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", r"line 1, column \d+"),
        ("a: b: c", r"line 1, column 5"),
        ("- just\n- a list", "a plan file is a mapping"),
        ("{}", "steps: Field required"),
        ("steps: []", "steps: List should have at least 1"),
        ("steps: [{id: one}]", r"step 1 \(one\), capability: Field required"),
        ("steps: [{id: one, capability: a.b, colour: red}]", r"step 1 \(one\), colour: Extra"),
        ("steps: [{id: One, capability: a.b}]", r"step 1 \(One\), id"),
        ("steps: [{id: one, capability: A B}]", r"step 1 \(one\), capability"),
        (
            "steps: [{id: one, capability: a.b}, {id: one, capability: a.b}]",
            r"step 2 \(one\): another step has the same id",
        ),
        ("steps: [{id: one, capability: a.b, map: ghost}]", "neither `inputs` nor a step before"),
        (
            "steps: [{id: one, capability: a.b, map: two}, {id: two, capability: a.b}]",
            "neither `inputs` nor a step before",
        ),
        (
            "steps: [{id: one, capability: a.b, map: '*.pdf'}]",
            r"no input of the run fits \*\.pdf \(inputs: a\.txt\)",
        ),
        ("steps: [{id: one, capability: a.b, reduce: ghost}]", "'ghost' is not a step before this one"),
        ("steps: [{id: one, capability: a.b, map: inputs, reduce: [x]}]", "`map` or `reduce`, not both"),
        ("steps: [{id: one, capability: a.b, inputs: [b.txt]}]", r"'b\.txt' is not an input of the run"),
        (
            "steps: [{id: one, capability: a.b}]\ndeliver: [two]",
            r"deliver 1: 'two' is not a step \(known so far: one\)",
        ),
        ("steps: [{id: one, capability: a.b, output_schema: {type: nonsense}}]", "output_schema"),
        ("steps: [{id: one, capability: a.b, tries: 99}]", r"step 1 \(one\), tries"),
        ("schema: zwerm.planfile/9\nsteps: [{id: one, capability: a.b}]", "schema"),
        ("!!python/object:os.system {}", "line 1"),
    ],
)
def test_what_is_wrong_in_a_plan_file_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(PlanInvalid, match=message) as refusal:
        from_file(text, "a.txt")
    assert refusal.value.code == "E_PLAN"
    assert refusal.value.hint


def test_the_file_planner_without_a_file_says_how_to_give_one() -> None:
    with pytest.raises(PlanInvalid) as refusal:
        FilePlanner().plan(Request("x"))
    assert "--plan FILE" in refusal.value.hint


def test_a_planner_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert isinstance(find_planner("rule"), RulePlanner)
    assert isinstance(find_planner("file"), FilePlanner)
    with pytest.raises(PlanInvalid) as refusal:
        find_planner("oracle")
    assert "file, rule" in refusal.value.hint
