"""A result counts when it is what was asked for: the judge, and the one who fetches the evidence."""

from __future__ import annotations

import json
import random

import pytest

from coordinator_node.acceptance import CHECKED_BYTES_MAX, Acceptance, check_schema
from coordinator_node.checking_store import Checker
from coordinator_node.orders import CheckResult
from coordinator_node.schemas import KEYWORDS, OUTPUTS, ROWS, SUMMARY, TABLE, TEXT
from mesh.errors import StoreUnavailable
from mesh.workspace_memory import MemoryStore
from protocol.artifact import ArtifactRef
from protocol.messages import NamedRef
from tests.support.builders import a_ref, bus_key, run_id

SCHEMA = {
    "type": "object",
    "required": ["rows"],
    "properties": {"rows": {"type": "array", "items": {"type": "integer"}}},
}


def test_good_output_passes() -> None:
    assert Acceptance().check(b'{"rows": [1, 2]}', SCHEMA) == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{}", "'rows' is a required property"),
        (b'{"rows": [1, "x"]}', "at rows/1: 'x' is not of type 'integer'"),
        (b"not json", "the output is not JSON"),
        (b"\xff\xfe", "the output is not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_bad_output_is_refused_with_its_place(data: bytes, message: str) -> None:
    assert message in Acceptance().check(data, SCHEMA)


def test_a_reference_to_elsewhere_is_refused_and_not_fetched() -> None:
    reason = Acceptance().check(b"{}", {"$ref": "http://127.0.0.1:1/schema.json"})
    assert "which is not in it" in reason


def test_a_schema_that_is_none_is_refused_when_the_plan_is_made() -> None:
    assert check_schema(SCHEMA) == ""
    assert check_schema({"type": "nonsense"})
    assert "larger" in check_schema({"enum": ["x" * 70_000]})


@pytest.mark.parametrize("schema", [TEXT, ROWS, SUMMARY, KEYWORDS, TABLE])
def test_the_built_in_schemas_are_schemas_and_refuse_an_empty_object(schema: dict[str, object]) -> None:
    assert check_schema(schema) == ""  # type: ignore[arg-type]
    assert Acceptance().check(b"{}", schema)  # type: ignore[arg-type]


def test_the_built_in_schemas_accept_what_the_document_agents_declare() -> None:
    from agent_node.documents import CAPABILITIES

    for capability, schema in OUTPUTS.items():
        declared = CAPABILITIES[capability].outputs[0].schema
        assert declared is not None
        assert set(schema["required"]) <= set(declared["required"])  # type: ignore[arg-type, operator]
        assert schema["properties"]["schema"] == declared["properties"]["schema"]  # type: ignore[index, call-overload]


# --- with a workspace ---


def command(outputs: list[NamedRef], schema: object = None) -> CheckResult:
    return CheckResult(run_id(), "one", 1, 1, outputs, schema)  # type: ignore[arg-type]


async def stored(store: MemoryStore, value: object, name: str = "out.json") -> NamedRef:
    ref = await store.workspace().artifacts.put(json.dumps(value).encode(), bus_key("w"))
    return NamedRef(name=name, ref=ref)


async def test_every_output_must_be_in_the_workspace() -> None:
    store = MemoryStore()
    checker = Checker(store.workspace().artifacts)
    good = await stored(store, {"rows": []})
    missing = NamedRef(name="gone.csv", ref=a_ref("never stored"))
    assert (await checker.check(command([good], SCHEMA))).reason == ""
    reason = (await checker.check(command([good, missing]))).reason
    assert reason.startswith("gone.csv: it is not in the workspace")


async def test_a_reference_with_the_wrong_digest_is_refused() -> None:
    store = MemoryStore()
    good = await stored(store, {"rows": []})
    forged = NamedRef(name="x", ref=good.ref.model_copy(update={"size": good.ref.size + 1}))
    assert (await Checker(store.workspace().artifacts).check(command([forged]))).reason


async def test_the_first_output_must_satisfy_the_schema_and_the_others_need_not() -> None:
    store = MemoryStore()
    good, other = await stored(store, {"rows": [1]}), await stored(store, ["anything"], "x.json")
    checker = Checker(store.workspace().artifacts)
    assert (await checker.check(command([good, other], SCHEMA))).reason == ""
    assert "x.json" in (await checker.check(command([other, good], SCHEMA))).reason


async def test_a_long_output_is_checked_as_well() -> None:
    store = MemoryStore()
    checker = Checker(store.workspace().artifacts)
    assert (
        await checker.check(command([await stored(store, {"rows": list(range(50_000))})], SCHEMA))
    ).reason == ""
    rows: list[object] = [*range(50_000), "x"]
    assert (
        "rows/50000" in (await checker.check(command([await stored(store, {"rows": rows})], SCHEMA))).reason
    )


async def test_no_output_where_a_form_was_prescribed_is_refused() -> None:
    checker = Checker(MemoryStore().workspace().artifacts)
    assert "no output" in (await checker.check(command([], SCHEMA))).reason
    assert (await checker.check(command([]))).reason == ""


async def test_an_output_too_large_to_be_checked_is_refused_unread() -> None:
    ref = a_ref("x").model_copy(update={"size": CHECKED_BYTES_MAX + 1})
    checker = Checker(MemoryStore().workspace().artifacts)
    assert (
        "more than can be checked"
        in (await checker.check(command([NamedRef(name="x", ref=ref)], SCHEMA))).reason
    )


async def test_a_workspace_that_does_not_answer_says_nothing_about_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator_node.checking_store._PAUSES_S", (0.0, 0.0))
    store = MemoryStore(rng=random.Random(1))
    good = await stored(store, {"rows": []})
    real = store.workspace().artifacts
    failures = [2]

    class Flaky:
        def get(self, ref: ArtifactRef) -> object:
            if failures[0]:
                failures[0] -= 1
                raise StoreUnavailable("electing a leader")
            return real.get(ref)

    checker = Checker(Flaky())  # type: ignore[arg-type]
    assert (await checker.check(command([good], SCHEMA))).reason == ""
    failures[0] = 99
    assert "electing" in (await checker.check(command([good], SCHEMA))).reason
