"""Every field of every message, against the specification's tables: what they allow is accepted, the first thing beyond is refused."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from protocol.artifact import ArtifactRef
from protocol.codec import pack, unpack
from protocol.errors import Rejected
from protocol.messages import MESSAGES, AgentCard, Bid, Budget, Heartbeat, Missing, NamedRef, Type, Usage
from protocol.registry import BODY_NODES_MAX, body_adapter
from tests.support.spec_tables import Field, all_items, example, items

MODELS: dict[str, type[BaseModel]] = {
    "Artifact": ArtifactRef,
    "File": NamedRef,
    "Missing": Missing,
    "Usage": Usage,
    "Budget": Budget,
    "Card": AgentCard,
    **{kind.name.lower(): model for kind, model in MESSAGES.items()},
}
FIELDS = [(name, one) for name in MODELS for one in all_items()[name]]
TYPES = [kind for kind in Type if kind != Type.JOURNAL]


def complaint(kind: Type, body: Any) -> str:
    """Where and why a body is refused."""
    with pytest.raises(ValidationError) as caught:
        body_adapter(kind).validate_python(body)
    return str(caught.value)


def named(kind: Type) -> str:
    return kind.name.lower()


@pytest.mark.requirement("MSG-4")
def test_the_specification_names_every_message_and_every_field_in_order() -> None:
    assert list(items("### Fields")) == list(MODELS)
    for name, model in MODELS.items():
        assert [one.name for one in all_items()[name]] == list(model.model_fields), name


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize("name", MODELS)
def test_an_item_of_the_specification_is_accepted_as_it_is(name: str) -> None:
    assert MODELS[name].model_validate(example(name)).model_dump() == example(name)


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize(
    ("name", "one"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.name
)
def test_a_field_may_be_left_out_when_and_only_when_it_has_a_default(name: str, one: Field) -> None:
    given = {key: value for key, value in example(name).items() if key != one.name}
    if one.required:
        with pytest.raises(ValidationError, match=f"{one.name}\n"):
            MODELS[name].model_validate(given)
    else:
        made = getattr(MODELS[name].model_validate(given), one.name)
        made = made.model_dump(exclude_defaults=True) if isinstance(made, BaseModel) else made
        assert (made, type(made)) == (one.default, type(one.default)) or made == one.default == 0


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize(
    ("name", "one"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.name
)
def test_what_a_field_cannot_hold_is_refused(name: str, one: Field) -> None:
    wrong = one.value.wrong()
    assert len(wrong) >= 3
    for value in wrong:
        with pytest.raises(ValidationError, match=one.name):
            MODELS[name].model_validate({**example(name), one.name: value})


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize(
    ("name", "one"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.name
)
def test_the_ends_of_a_range_are_inside(name: str, one: Field) -> None:
    made: list[Any] = []
    match one.value.kind:
        case "int" if one.value.high is not None:
            made = [one.value.low, one.value.high]
        case "float":
            made = [0, 1, 0.0, 1.0]
        case "str":
            # Code points count, not bytes: each of these takes four of them.
            made = ["\U0001f41d" * one.value.low, "\U0001f41d" * (one.value.high or 0)]
        case "bin":
            made = [bytes(one.value.low), bytes(one.value.high or 0)]
        case "map":
            made = [{str(at): b"" for at in range(one.value.high or 0)}]
        case "choice":
            made = list(one.value.choices)
        case "pattern" if one.value.high is not None:
            made = ["a" * one.value.high]
        case "list":
            assert one.value.of is not None
            entry = MODELS_EXAMPLE.get(one.value.of.item) if one.value.of.kind == "item" else None
            made = [[entry] * (one.value.high or 0)] if entry else []
    for value in made:
        assert getattr(MODELS[name].model_validate({**example(name), one.name: value}), one.name) is not None


MODELS_EXAMPLE = {name: example(name) for name in ("File", "Missing", "Card")}


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize(
    ("name", "one"),
    [(name, one) for name, one in FIELDS if one.value.kind == "list"],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_a_list_that_is_too_long_is_refused(name: str, one: Field) -> None:
    inner = one.value.of
    assert inner is not None
    filler: Any = (
        example(inner.item) if inner.kind == "item" else {"int": 0, "bin": bytes(8)}.get(inner.kind, "a")
    )
    most = one.value.high or 0
    assert MODELS[name].model_validate({**example(name), one.name: [filler] * most})
    with pytest.raises(ValidationError, match=one.name):
        MODELS[name].model_validate({**example(name), one.name: [filler] * (most + 1)})


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", TYPES, ids=named)
def test_a_body_is_a_list_of_items_of_its_own_kind_and_nothing_else(kind: Type) -> None:
    item = example(kind.name.lower())
    most = 1 if 0x0300 < kind <= 0x0380 else 250
    adapter = body_adapter(kind)
    assert len(adapter.validate_python([item] * most)) == most
    assert "too_short" in complaint(kind, [])
    assert "too_long" in complaint(kind, [item] * (most + 1))
    for body in (item, None, "x", 1, {"0": item}, [None], [[item]], [1], ["x"]):
        complaint(kind, body)
    assert "extra_forbidden" in complaint(kind, [{**item, "more": 1}])
    assert "extra_forbidden" in complaint(kind, [{**item, "model_config": {}}])


@pytest.mark.requirement("MSG-1")
def test_an_item_of_another_kind_in_a_body_refuses_all_of_it() -> None:
    good = example("bid")
    assert "1.round" in complaint(Type.BID, [good, example("confirm"), good])


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", TYPES, ids=named)
def test_what_is_left_out_on_the_way_is_there_again_at_the_other_end(kind: Type) -> None:
    adapter = body_adapter(kind)
    full = adapter.validate_python([example(kind.name.lower())])
    short = pack(adapter.dump_python(full, by_alias=True, exclude_defaults=True))
    long = pack(adapter.dump_python(full, by_alias=True))
    assert len(short) <= len(long)
    assert adapter.validate_python(unpack(short)) == adapter.validate_python(unpack(long)) == full


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_is_infinite_or_none(number: float) -> None:
    beat = {"load": number, "slots_used": 0, "slots": 1}
    with pytest.raises(ValidationError, match="load"):
        Heartbeat.model_validate(beat)
    raw = pack([{**beat, "load": 0.5}]).replace(struct.pack(">d", 0.5), struct.pack(">d", number))
    with pytest.raises(Rejected) as caught:
        unpack(raw)
    assert caught.value.code == "E_BODY"


@pytest.mark.requirement("MSG-4")
def test_a_number_is_no_text_a_text_no_number_and_true_no_one() -> None:
    good = example("bid")
    for wrong in (
        {"round": "1"},
        {"round": True},
        {"round": 1.0},
        {"subtask": b"s1"},
        {"load": "0.5"},
        {"load": True},
    ):
        assert next(iter(wrong)) in complaint(Type.BID, [{**good, **wrong}])
    assert body_adapter(Type.BID).validate_python([{**good, "load": 1}])[0].load == 1.0


@pytest.mark.requirement("MSG-4")
def test_free_fields_take_what_json_can_say_at_any_depth_and_no_bytes() -> None:
    data: Any = {"a": [None, True, 1, -1, 0.5, "x", {"b": {"c": []}}]}
    [reply] = body_adapter(Type.REPLY).validate_python(unpack(pack([{"ok": True, "data": data}])))
    assert reply.data == json.loads(json.dumps(data))
    for wrong in ({"a": b"x"}, {"a": [[b"x"]]}, {"a": {"b": b""}}, [], None, "x"):
        assert "data" in complaint(Type.REPLY, [{"ok": True, "data": wrong}])


@pytest.mark.requirement("MSG-3")
def test_a_large_award_is_read_and_a_small_message_with_as_many_values_is_not() -> None:
    award = {**example("award"), "inputs": [example("File")] * 4096}
    body = pack([award], max_nodes=BODY_NODES_MAX[Type.AWARD])
    decoded = unpack(body, max_nodes=BODY_NODES_MAX[Type.AWARD])
    assert len(body_adapter(Type.AWARD).validate_python(decoded)[0].inputs) == 4096
    with pytest.raises(Rejected) as caught:
        unpack(body, max_nodes=BODY_NODES_MAX[Type.BID])
    assert caught.value.code == "E_BODY"


def test_an_item_cannot_be_changed_after_it_was_checked() -> None:
    bid = Bid.model_validate(example("bid"))
    with pytest.raises(ValidationError, match="frozen"):
        bid.price = 0  # type: ignore[misc]
