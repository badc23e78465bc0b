"""The tables of types, against the specification's."""

from __future__ import annotations

import pytest

from protocol.messages import BATCH_MAX, MESSAGES, Type, type_of
from protocol.messages.presence import Goodbye
from protocol.registry import (
    BODY_BYTES_MAX,
    BODY_NODES_MAX,
    RULES,
    TYPES_ON,
    body_adapter,
    body_validator,
    types_on,
)
from tests.support.spec_tables import types

ANY = frozenset({"agent", "coordinator", "client", "bus", "enroller", "admin", "observer"})


@pytest.mark.requirement("MSG-2")
def test_the_specification_has_the_same_types_senders_and_subjects() -> None:
    assert [row["code"] for row in types()] == [int(kind) for kind in Type]
    for row in types():
        rule = RULES[row["code"]]
        assert (rule.code, rule.name) == (row["code"], row["name"])
        assert rule.roles == (ANY if row["roles"] == {"any"} else row["roles"]), row["name"]
        assert {kind for kind, codes in TYPES_ON.items() if row["code"] in codes} == row["kinds"], row["name"]
    assert RULES.keys() == {row["code"] for row in types()}


@pytest.mark.requirement("MSG-3")
def test_the_specification_has_the_same_limits() -> None:
    for row in types():
        assert RULES[row["code"]].max_body_bytes == BODY_BYTES_MAX[row["code"]] == row["bytes"], row["name"]
        assert BODY_NODES_MAX[row["code"]] == row["values"], row["name"]


@pytest.mark.requirement("MSG-2")
def test_no_role_says_what_only_its_counterpart_may_say() -> None:
    said_by = {
        role: {rule.name for rule in RULES.values() if role in rule.roles}
        for role in ("agent", "coordinator")
    }
    both = {"hello", "heartbeat", "goodbye", "list_nodes", "leave", "renew", "ping"}
    assert said_by["agent"] & said_by["coordinator"] == both
    watching = {rule.name for rule in RULES.values() if "observer" in rule.roles}
    assert watching == both | {"list_runs", "show_run", "run_events"}
    for name in ("create_invite", "list_invites", "revoke_invite", "revoke_node", "halt"):
        assert RULES[Type[name.upper()]].roles == {"admin"}


@pytest.mark.requirement("MSG-2")
def test_every_subject_but_those_of_stored_things_allows_some_types_and_an_unknown_one_none() -> None:
    assert all(TYPES_ON.values())
    assert types_on("bid") == {Type.BID, Type.DECLINE}
    assert types_on("") == types_on("cert") == frozenset()


def test_every_type_has_one_model_and_every_model_one_type() -> None:
    assert set(MESSAGES) == set(Type) - {Type.JOURNAL}
    assert len(set(MESSAGES.values())) == len(MESSAGES)
    assert type_of(Goodbye()) is Type.GOODBYE


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize("kind", [kind for kind in Type if kind != Type.JOURNAL], ids=lambda kind: kind.name)
def test_a_request_and_a_reply_are_alone_and_250_of_any_other_type_fit(kind: Type) -> None:
    schema = body_adapter(kind).json_schema()
    most = 1 if 0x0300 < kind <= 0x0380 else 250
    assert (schema["minItems"], schema["maxItems"]) == (1, most)
    assert BATCH_MAX == 250


def test_a_validator_is_made_once_and_none_for_a_type_that_does_not_exist() -> None:
    assert body_adapter(Type.BID) is body_adapter(Type.BID)
    assert body_validator(Type.BID) is body_validator(Type.BID)
    for lookup in (body_adapter, body_validator):
        with pytest.raises(KeyError):
            lookup(0x0999)
