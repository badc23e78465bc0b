"""Any message that the specification's tables allow, and what becomes of it when it is changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.codec import pack, unpack
from protocol.errors import Rejected
from protocol.messages import Type
from protocol.registry import BODY_NODES_MAX, body_adapter, body_validator
from tests.support.spec_tables import all_items, item_strategy, items

KINDS = [kind for kind in Type if kind != Type.JOURNAL]
RECORDS = list(items("## Records", "record"))[3:]
WITHIN = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bodies(kind: Type, most: int = 4) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Bodies of a type, as the specification's tables say."""
    if kind == Type.JOURNAL:
        records = st.sampled_from(RECORDS).flatmap(
            lambda name: item_strategy(name).map(lambda record: {"k": name, "at_ms": 1, **record})
        )
        return st.lists(records, min_size=1, max_size=most)
    alone = 0x0300 < kind <= 0x0380
    return st.lists(item_strategy(kind.name.lower()), min_size=1, max_size=1 if alone else most)


def within(small: Any, large: Any) -> bool:
    """Whether everything that was given is there; what was left out may have come to it."""
    if isinstance(small, dict):
        return isinstance(large, dict) and all(
            key in large and within(small[key], large[key]) for key in small
        )
    if isinstance(small, list):
        return isinstance(large, list) and len(small) == len(large) and all(map(within, small, large))
    return bool(small == large)


def read(kind: Type, raw: bytes) -> list[Any] | str:
    """The items, or the code of the refusal; any other exception fails the test."""
    try:
        return body_validator(kind).validate_python(unpack(raw, max_nodes=BODY_NODES_MAX[kind]))  # type: ignore[no-any-return]
    except Rejected as error:
        return error.code
    except ValidationError:
        return "E_SCHEMA"


def write(kind: Type, items: list[Any], *, short: bool = True) -> bytes:
    dumped = body_adapter(kind).dump_python(items, by_alias=True, exclude_defaults=short)
    return pack(dumped, max_nodes=BODY_NODES_MAX[kind])


@pytest.mark.requirement("MSG-1")
@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize("kind", list(Type), ids=lambda kind: kind.name)
@WITHIN
@given(data=st.data())
def test_whatever_the_tables_allow_is_read_and_written_again_without_loss(
    kind: Type, data: st.DataObject
) -> None:
    body = data.draw(bodies(kind))
    made = read(kind, pack(body, max_nodes=BODY_NODES_MAX[kind]))
    assert isinstance(made, list), made
    for item, given_map in zip(made, body, strict=True):
        assert within(given_map, item.model_dump(by_alias=True))
    assert read(kind, write(kind, made, short=False)) == made
    if kind != Type.JOURNAL:
        assert read(kind, write(kind, made)) == made


@pytest.mark.requirement("MSG-4")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@WITHIN
@given(data=st.data())
def test_one_wrong_field_anywhere_refuses_the_body(kind: Type, data: st.DataObject) -> None:
    body = data.draw(bodies(kind))
    item = data.draw(st.sampled_from(body))
    wrongs: list[tuple[str, Any]] = [("more", 0)]
    for one in all_items()[kind.name.lower()]:
        wrongs += [(one.name, wrong) for wrong in one.value.wrong()]
    name, wrong = data.draw(st.sampled_from(wrongs))
    item[name] = wrong
    assert read(kind, pack(body, max_nodes=BODY_NODES_MAX[kind])) == "E_SCHEMA"


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@WITHIN
@given(data=st.data())
def test_a_required_field_that_is_missing_refuses_the_body(kind: Type, data: st.DataObject) -> None:
    required = [one.name for one in all_items()[kind.name.lower()] if one.required]
    body = data.draw(bodies(kind))
    if required:
        del data.draw(st.sampled_from(body))[data.draw(st.sampled_from(required))]
        assert read(kind, pack(body, max_nodes=BODY_NODES_MAX[kind])) == "E_SCHEMA"
    else:
        assert isinstance(read(kind, pack(body)), list)


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", list(Type), ids=lambda kind: kind.name)
@WITHIN
@given(data=st.data())
def test_a_damaged_body_is_refused_by_name_or_is_another_valid_one(kind: Type, data: st.DataObject) -> None:
    raw = bytearray(pack(data.draw(bodies(kind, 2)), max_nodes=BODY_NODES_MAX[kind]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(("set", "cut", "insert"))):
            case "set":
                raw[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 9))]
            case _:
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    made = read(kind, bytes(raw))
    if isinstance(made, str):
        assert made in ("E_BODY", "E_SCHEMA")
    else:
        assert read(kind, write(kind, made, short=False)) == made


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_250_are_as_good_as_one_and_0_or_251_are_none(kind: Type, data: st.DataObject) -> None:
    item = data.draw(item_strategy(kind.name.lower()))
    most = 1 if 0x0300 < kind <= 0x0380 else 250
    validator = body_validator(kind)
    made = validator.validate_python([copy.deepcopy(item) for _ in range(most)])
    assert made == validator.validate_python([item]) * most
    for count in (0, most + 1):
        with pytest.raises(ValidationError):
            validator.validate_python([item] * count)


@pytest.mark.requirement("MSG-4")
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-9, 9)
        | st.floats()
        | st.text(max_size=3)
        | st.binary(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(list(Type)),
)
def test_any_value_at_all_is_items_or_a_named_refusal(value: Any, kind: Type) -> None:
    try:
        raw = pack([value])
    except Rejected as refusal:
        made: list[Any] | str = refusal.code
    else:
        made = read(kind, raw)
    assert made in ("E_BODY", "E_SCHEMA") or isinstance(made, list)
