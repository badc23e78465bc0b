from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from protocol.plan import NEEDS_MAX, PLAN_NEEDS_MAX, PLAN_SUBTASKS_MAX, Deliverable, Plan, Skeleton, Subtask
from tests.support.spec_tables import Field, all_items, example, items

MODELS: dict[str, type[BaseModel]] = {"Plan": Plan, "Subtask": Subtask, "Deliverable": Deliverable}


def sub(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "capability": "text.work", "needs": list(needs), **more}


def a_plan(*subtasks: dict[str, Any], **changes: Any) -> Plan:
    fields = {
        "goal": "do it",
        "planner": "test",
        "subtasks": list(subtasks),
        "deliver": [{"subtask": subtasks[-1]["id"]}] if subtasks else [],
        **changes,
    }
    return Plan.model_validate(fields)


def why(*subtasks: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        a_plan(*subtasks, **changes)
    return str(caught.value)


GOOD: dict[str, dict[str, Any]] = {
    "Plan": {"schema": "zwerm.plan/1", **a_plan(sub("one")).model_dump(exclude={"schema_"})},
    "Subtask": example("Subtask"),
    "Deliverable": example("Deliverable"),
}


def test_a_graph_of_subtasks_over_the_files_of_a_run_is_a_plan() -> None:
    made = a_plan(
        sub("a", inputs=["x.txt"]),
        sub("b", inputs=["x.txt", "y.txt"]),
        sub("c", "a", "b"),
        inputs=["x.txt", "y.txt"],
    )
    assert [subtask.id for subtask in made.subtasks] == ["a", "b", "c"]
    assert made.deliver == [Deliverable(subtask="c")]


@pytest.mark.requirement("PLAN-1")
def test_two_subtasks_of_one_id_are_no_plan() -> None:
    assert "the same id" in why(sub("a"), sub("b"), sub("a"))


@pytest.mark.requirement("PLAN-2")
def test_a_need_that_is_nowhere_is_named_with_who_needs_it() -> None:
    assert "subtask 'b' needs 'x', which is not in the plan" in why(sub("a"), sub("b", "x"))


@pytest.mark.requirement("PLAN-3")
@pytest.mark.parametrize(
    "subtasks",
    [
        [sub("a", "a")],
        [sub("a", "b"), sub("b", "a")],
        [sub("x"), sub("a", "c", "x"), sub("b", "a"), sub("c", "b"), sub("y", "c")],
    ],
    ids=["itself", "two", "three of five"],
)
def test_a_cycle_is_no_plan_and_is_shown(subtasks: list[dict[str, Any]]) -> None:
    message = why(*subtasks)
    assert "the plan has a cycle" in message
    assert " -> " in message
    assert "y" not in message.split("cycle: ")[1].split(" [type=")[0]


@pytest.mark.requirement("PLAN-3")
def test_a_chain_as_long_as_a_plan_may_be_is_no_cycle_and_no_recursion() -> None:
    names = [f"s{at}" for at in range(PLAN_SUBTASKS_MAX)]
    chain = [sub(name, *names[max(0, at - 1) : at]) for at, name in enumerate(names)]
    assert len(a_plan(*reversed(chain)).subtasks) == PLAN_SUBTASKS_MAX
    assert "too_long" in why(*chain, sub("more"))


@pytest.mark.requirement("PLAN-4")
def test_inputs_are_files_of_the_run_each_by_a_name_of_its_own() -> None:
    assert "subtask 'a' reads 'y', which is not an input" in why(sub("a", inputs=["y"]), inputs=["x"])
    assert "two inputs have the same name" in why(sub("a"), inputs=["x", "x"])


@pytest.mark.requirement("PLAN-5")
def test_what_is_delivered_comes_from_a_subtask_of_the_plan() -> None:
    assert "deliverable 'b' is not a subtask" in why(sub("a"), deliver=[{"subtask": "b"}])
    assert a_plan(sub("a"), deliver=[{"subtask": "a", "output": "x"}, {"subtask": "a"}])
    assert "too_short" in why(sub("a"), deliver=[])


@pytest.mark.requirement("PLAN-7")
def test_needs_of_all_subtasks_together_are_bounded() -> None:
    names = [f"s{at}" for at in range(NEEDS_MAX)]
    first = [sub(name) for name in names]
    full, rest = divmod(PLAN_NEEDS_MAX, NEEDS_MAX)
    more = [sub(f"t{at}", *names) for at in range(full)]
    made = a_plan(*first, *more, sub("last", *names[:rest]))
    assert sum(len(subtask.needs) for subtask in made.subtasks) == PLAN_NEEDS_MAX
    assert "200,001 needs together" in why(*first, *more, sub("last", *names[: rest + 1]))
    assert "too_long" in why(*first, sub("more"), sub("last", *names, "more"))


@pytest.mark.requirement("PLAN-6")
def test_the_specification_has_the_same_fields_in_the_same_order() -> None:
    assert list(items("## Plan")) == list(MODELS)
    for name, model in MODELS.items():
        keys = [info.alias or key for key, info in model.model_fields.items()]
        assert sorted(one.name for one in all_items()[name]) == sorted(keys), name


@pytest.mark.requirement("PLAN-6")
@pytest.mark.parametrize(
    ("name", "one"),
    [(name, one) for name in MODELS for one in all_items()[name]],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_each_field_holds_what_the_specification_says(name: str, one: Field) -> None:
    model, good = MODELS[name], GOOD[name]
    rest = {key: value for key, value in good.items() if key != one.name}
    if one.required:
        with pytest.raises(ValidationError, match=one.name):
            model.model_validate(rest)
    else:
        made = model.model_validate(rest)
        assert getattr(made, "schema_" if one.name == "schema" else one.name) == one.default
    for wrong in one.value.wrong():
        with pytest.raises(ValidationError, match=one.name):
            model.model_validate({**good, one.name: wrong})
    with pytest.raises(ValidationError, match="more"):
        model.model_validate({**good, "more": 1})


@pytest.mark.requirement("PLAN-6")
def test_a_plan_is_stored_as_json_and_comes_back() -> None:
    made = a_plan(
        sub("a", params={"n": [1, 0.5, None]}, output_schema={"type": "object"}), inputs=["Zoë.txt"]
    )
    text = made.model_dump_json(by_alias=True)
    assert '"schema":"zwerm.plan/1"' in text
    assert Plan.model_validate_json(text) == made
    with pytest.raises(ValidationError, match="cycle"):
        Plan.model_validate_json(text.replace('"needs":[]', '"needs":["a"]'))


@pytest.mark.requirement("PLAN-6")
def test_the_journal_gets_the_graph_and_nothing_of_the_content() -> None:
    full = sub("b", "a", tolerant=True, tries=7, deadline_ms=1234, data_class=0, budget={"money": 5})
    content = {
        "label": "secret",
        "inputs": ["secret"],
        "params": {"x": "secret"},
        "output_schema": {"title": "secret"},
    }
    skeleton = Subtask.model_validate({**full, **content}).skeleton()
    assert type(skeleton) is Skeleton
    assert skeleton.model_dump(exclude_none=True) == full
