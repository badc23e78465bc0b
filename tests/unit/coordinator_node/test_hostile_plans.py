"""Plans, files and results made to do harm: refused in words before anything is done, and never the end of a coordinator."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from coordinator_node.closing import close
from coordinator_node.errors import PlanInvalid
from coordinator_node.fold import apply
from coordinator_node.journal_store import JournalStore
from coordinator_node.offers import AWARD_BYTES_MAX, Brief, award, award_bytes, missing
from coordinator_node.planner import Request
from coordinator_node.planner_file import FilePlanner, load
from coordinator_node.recovery import plan_records
from mesh.endpoint import CallFailed
from protocol import subjects
from protocol.codec import _packer, pack
from protocol.ids import run_bytes
from protocol.messages import Award, Missing, NamedRef, Ping, SubmitRun, Type
from protocol.plan import NEEDS_MAX, PLAN_NEEDS_MAX, PLAN_SUBTASKS_MAX
from protocol.records import Accepted, Awarded, Record, RunClosed, RunOpened, SubtaskFailed
from protocol.registry import BODY_BYTES_MAX, BODY_NODES_MAX
from tests.support.builders import OWNER, a_plan, a_ref, a_subtask, bus_key, named, node_id, run_id
from tests.support.endpoint_memory import MemorySwarm
from tests.support.swarm_memory import Team

FILES = [named(f"f{number:04}.txt") for number in range(1_000)]
LONG = "😀" * 255
"""The longest name there can be, in bytes."""


def over_all(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "capability": "demo.noop", "map": "inputs", **more}


def planned(*steps: dict[str, Any], **more: Any) -> Any:
    return FilePlanner().plan(Request("x", FILES, [], {"steps": list(steps), **more}))


ONE = {"id": "one", "capability": "demo.noop"}
TOO_MUCH: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a million subtasks": ([over_all(f"s{n}") for n in range(1_000)], r"step 21 \(s20\): the plan has 21,000 subtasks"),
    "a hundred thousand subtasks": ([over_all(f"s{n}") for n in range(100)], "20,000 is the most"),
    "a hundred thousand over a step": (
        [over_all("s"), *({"id": f"t{n}", "capability": "demo.noop", "map": "s"} for n in range(99))],
        "20,000 is the most",
    ),
    "everybody waits for everybody": (
        [over_all("s0"), *(over_all(f"s{n}", after=f"s{n - 1}") for n in range(1, 19))],
        "wait 1,000,000 times for another, and 200,000 is the most",
    ),
    "one waits for more than an array holds": (
        [*(over_all(f"s{n}") for n in range(5)), {**ONE, "reduce": [f"s{n}" for n in range(5)]}],
        "waits for 5,000 others, and 4,096 is the most",
    ),
    "small parameters, a thousand times": (
        [over_all("s", params={"n": [list(range(4_000))] * 2})],
        "8,006,000 values",
    ),
    "a long parameter, a thousand times": ([over_all("s", params={"text": "x" * 200_000})], "190 MiB"),
    "a schema, a thousand times": (
        [over_all("s", output_schema={"anyOf": [{"enum": list(range(4_000))}]})],
        "500,000 is the most",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "words"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_small_plan_that_stands_for_a_huge_one_is_refused_before_it_is_made(
    steps: list[dict[str, Any]], words: str
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PlanInvalid, match=words) as refusal:
            planned(*steps)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal.value.code == "E_PLAN"
    assert refusal.value.hint
    assert peak < 48 << 20


def test_what_is_delivered_is_counted_before_it_is_listed() -> None:
    with pytest.raises(PlanInvalid, match="256,000 deliverables") as refusal:
        planned(over_all("s"), deliver=["s"] * 256)
    assert "reduce" in refusal.value.hint


def test_a_plan_as_large_as_may_be_is_made() -> None:
    made = planned(
        *(over_all(f"s{number}") for number in range(19)),
        *({**ONE, "id": f"r{n}", "reduce": [f"s{n + k}" for k in range(4)]} for n in range(16)),
    )
    assert len(made.subtasks) == 19_016


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: &a [*a]", "nested too deeply; 12 levels"),
        ("steps: &a {b: *a}", "nested too deeply; 12 levels"),
        ("steps: " + "[" * 200 + "]" * 200, "nested too deeply; 12 levels"),
        ("steps: " + "[" * 20_000, "YAML"),
        ("steps: 1" + ":59" * 3_000, r"steps: an integer of \d\d,\d\d\d bits"),
        ("steps: " + "9" * 5_000, "integer"),
        (f"steps: {1 << 70}", "an integer of 71 bits"),
        ("a: &a {x: 1}\nb: &b {<<: [" + "*a," * 9_000 + "*a]}\nsteps: 7", "steps"),
        ("steps: !!python/name:os.system", "line 1"),
        ("steps: [\x07]", "YAML"),
    ],
    ids=["itself", "itself as a value", "deep", "deeper", "sexagesimal", "digits", "2^70", "merges", "tag", "bell"],
)  # fmt: skip
def test_yaml_that_never_ends_or_says_what_nobody_can_is_refused(text: str, words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        FilePlanner().plan(Request("x", FILES, [], load(text)))


@pytest.mark.parametrize(
    "value",
    ["-1", "0", "0.05", "43201", "99999999999999999999", ".inf", "-.inf", ".nan", "'12'", "true", "[1]", "1e9999", "x"],
)  # fmt: skip
def test_a_deadline_that_cannot_be_is_refused(value: str) -> None:
    text = f"steps: [{{id: one, capability: a.b, deadline_s: {value}}}]"
    with pytest.raises(PlanInvalid, match="deadline_s"):
        FilePlanner().plan(Request("x", FILES, [], load(text)))


def test_the_graph_of_the_worst_plan_goes_into_messages_in_parts() -> None:
    ids = [f"{number:05}".rjust(64, "a") for number in range(2_000)]
    subtasks = [a_subtask(name, "a" * 64, needs=ids[max(0, at - 80) : at]) for at, name in enumerate(ids)]
    big = [a_subtask(f"big-{number}", needs=ids) for number in range(3)]
    plan = a_plan(*subtasks, *big)
    records = plan_records(plan, a_ref(), 0)
    assert [entry.id for part in records for entry in part.subtasks] == [entry.id for entry in plan.subtasks]
    for record in records:
        body = pack([record.model_dump(by_alias=True)], max_nodes=BODY_NODES_MAX[Type.JOURNAL])
        assert len(body) < BODY_BYTES_MAX[Type.JOURNAL] * 0.8


def results(count: int, name: str = "{}.txt", subtasks: int = 1) -> Any:
    """A run whose subtasks are all accepted, each with so many outputs."""
    plan = a_plan(
        *(a_subtask(f"s{number}") for number in range(subtasks)), deliver=[f"s{n}" for n in range(subtasks)]
    )
    state = apply(None, RunOpened(at_ms=0, run=run_id(), goal=a_ref(), by=OWNER, epoch=1, owner=OWNER))
    for record in plan_records(plan, a_ref(), 0):
        apply(state, record)
    for subtask in plan.subtasks:
        fence = {"subtask": subtask.id, "attempt": 1, "epoch": 1, "node": node_id("a")}
        apply(
            state,
            Awarded(
                at_ms=1,
                round=1,
                bus_key=bus_key("a"),
                agent="w",
                lease_ms=10_000,
                deadline_ms=60_000,
                **fence,
            ),
        )
        outputs = [named(name.format(f"{subtask.id}-{number}")[-255:]) for number in range(count)]
        apply(state, Accepted(at_ms=2, outputs=outputs, wall_ms=1, **fence))
    return state, plan


@pytest.mark.parametrize(
    ("count", "name", "subtasks", "most"),
    [(256, "{}.txt", 3, 768), (256, "{}.txt", 200, 1_000), (256, LONG + "{}", 4, 500)],
)
def test_more_results_than_a_record_can_name_are_delivered_in_part_and_said(
    count: int, name: str, subtasks: int, most: int
) -> None:
    state, plan = results(count, name, subtasks)
    record = close(state, [(item.subtask, item.output) for item in plan.deliver], 9)
    body = pack([record.model_dump(by_alias=True)], max_nodes=BODY_NODES_MAX[Type.JOURNAL])
    assert len(body) < BODY_BYTES_MAX[Type.JOURNAL]
    assert len(record.deliverables) <= most
    if count * subtasks <= most:
        assert record.outcome == "done"
    else:
        assert (record.outcome, record.code) == ("partial", "E_TOO_LARGE")
        assert f"of {count * subtasks:,} files" in record.message
        assert record.hint


def an_award(item: Award) -> int:
    return len(pack([item.model_dump()], max_nodes=BODY_NODES_MAX[Type.AWARD]))


@pytest.mark.parametrize("name", ["f{}.txt", LONG + "{}"])
def test_the_size_of_an_award_is_known_before_it_is_made(name: str) -> None:
    inputs = [NamedRef(name=name.format(n)[-255:], media_type="x" * 127, ref=a_ref()) for n in range(400)]
    plan = a_plan(
        a_subtask(inputs=[item.name for item in inputs], params={"text": "é" * 5_000}),
        inputs=[item.name for item in inputs],
    )
    state = apply(
        None,
        RunOpened(at_ms=0, run=run_id(), goal=a_ref(), inputs=inputs, by=OWNER, epoch=1, owner=OWNER),
    )
    for record in plan_records(plan, a_ref(), 0):
        apply(state, record)
    fence = {"subtask": "one", "attempt": 1, "epoch": 1, "node": node_id("a")}
    said = award_bytes(state, state.subtasks["one"], Brief(plan))
    apply(
        state,
        Awarded(
            at_ms=1, round=1, bus_key=bus_key("a"), agent="w", lease_ms=10_000, deadline_ms=60_000, **fence
        ),
    )
    subtask = state.subtasks["one"]
    real = an_award(award(state, Brief(plan), subtask, subtask.attempts[-1], confirm=False))
    assert real - 1_000 < said < 2 * real
    assert (said > AWARD_BYTES_MAX) == (name != "f{}.txt")


def test_long_reasons_of_many_failures_are_shortened_and_all_are_named() -> None:
    names = [f"s{number}" for number in range(400)]
    plan = a_plan(
        *(a_subtask(name, label=name) for name in names), a_subtask("all", needs=names, tolerant=True)
    )
    state = apply(None, RunOpened(at_ms=0, run=run_id(), goal=a_ref(), by=OWNER, epoch=1, owner=OWNER))
    for record in plan_records(plan, a_ref(), 0):
        apply(state, record)
    for name in names:
        apply(state, SubtaskFailed(at_ms=1, subtask=name, code="E_WORK", message="😀" * 2_000))
    gaps = missing(state, Brief(plan), state.subtasks["all"])
    assert [gap.name for gap in gaps] == names
    assert all(gap.message for gap in gaps)
    assert award_bytes(state, state.subtasks["all"], Brief(plan)) < AWARD_BYTES_MAX
    assert missing(state, Brief(plan), state.subtasks["s0"]) == []


# --- through the service ---


HOSTILE: dict[str, dict[str, Any]] = {
    **{name: {"plan": {"steps": steps}} for name, (steps, _) in TOO_MUCH.items() if "long" not in name},
    "names": {"inputs": [named(f"{LONG[:250]}{number:05}") for number in range(380)]},
    "a step that needs itself": {"plan": {"steps": [{**ONE, "after": "one"}]}},
    "two steps of one id": {"plan": {"steps": [ONE, ONE]}},
    "no steps": {"plan": {"steps": []}},
    "numbers for steps": {"plan": {"steps": [1, 2]}},
    "a deadline below zero": {"plan": {"steps": [{**ONE, "deadline_s": -1.0}]}},
}


async def test_hostile_plans_are_refused_one_after_the_other_and_the_coordinator_goes_on(
    tmp_path: Path,
) -> None:
    async with Team(tmp_path) as team:
        await team.coordinate()
        await team.work("ann", noop=True)
        [stored] = [await team.put("x.txt", b"x")]
        files = [stored.model_copy(update={"name": item.name}) for item in FILES]
        for name, request in HOSTILE.items():
            given = {"goal": "x", "planner": "file", "plan": {"steps": [ONE]}, "inputs": files, **request}
            with pytest.raises(CallFailed) as refusal:
                await team.ask(SubmitRun(**given), run=team.new_run())
            assert refusal.value.code == "E_PLAN", name
            assert refusal.value.hint, name
        assert await team.coordinator.endpoint.journal.runs() == []
        assert not team.stopped("desk")
        run = await team.submit(over_all("s"), {**ONE, "reduce": "s"}, inputs=files)
        await team.until(lambda: team.coordinator.engine.is_closed(run))
        closed = await team.event("run.closed")
        assert closed.data["outcome"] == "done"


BUDGETS: list[dict[str, Any]] = [
    {"money": -1},
    {"money": (1 << 52) + 1},
    {"money": (1 << 64) - 1},
    {"tokens": float("nan")},
    {"tokens": float("inf")},
    {"steps": 1.0},
    {"steps": "10"},
    {"children": True},
    {"bytes_out": [1]},
    {"wall_ms": -1},
    {"wall_ms": 11 * 24 * 3_600_000},
    {"credits": 1},
]


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
async def test_a_budget_that_cannot_be_is_no_message_whoever_signed_it(
    tmp_path: Path, budget: dict[str, Any]
) -> None:
    async with Team(tmp_path) as team:
        await team.coordinate()
        await team.work("ann", noop=True)
        client, desk = team.client, team.coordinator.endpoint
        item = {"goal": "x", "planner": "file", "plan": {"steps": [ONE]}, "budget": budget}
        raw = client._sealer.seal(
            Type.SUBMIT_RUN,
            subjects.audience_service("runs"),
            _packer.pack([item]),
            now_ms=int(client.clock.now() * 1000),
            context=run_bytes(team.new_run()),
        )
        await client.bus.publish(subjects.request("runs", client.me), raw, reply=f"_I.{client.me}.x")
        await team.until(lambda: sum(desk.verifier.counts.values()) == 1)
        [code] = desk.verifier.counts
        assert code in ("E_SCHEMA", "E_BODY")
        await team.ask(Ping())
        assert await desk.journal.runs() == []
        assert not team.stopped("desk")


async def test_reasons_as_long_as_may_be_go_into_smaller_messages_and_none_is_lost(tmp_path: Path) -> None:
    """A node that fails as verbosely as it can, many times at once: 512 KiB hold 65 of these, not 255."""
    async with MemorySwarm(tmp_path) as swarm, asyncio.TaskGroup() as group:
        desk = await swarm.join("desk", ["coordinator"])
        durable: list[Record] = []
        deposed: list[str] = []
        store = JournalStore(
            desk,
            group.create_task,
            lambda _run, records, _commands: durable.extend(record for _, record in records),
            deposed.append,
        )
        records: list[Record] = [
            RunOpened(at_ms=0, run=run_id(), goal=a_ref(), by=OWNER, epoch=1, owner=desk.node),
            *(
                SubtaskFailed(at_ms=n, subtask=f"s{n}", code="E_WORK", message="😀" * 2_000)
                for n in range(600)
            ),
        ]
        store.submit(run_id(), records, ())
        await store.drain()
        assert durable == records
        found: list[Record] = []
        async for stored in desk.journal.read(run_id()):
            found += desk.open_pack(run_id(), stored.data, stored.at_ms).records
        assert found == records
        assert 10 <= store.appends <= 20
        assert deposed == []


async def test_a_record_that_cannot_be_written_halts_its_run_and_no_other(tmp_path: Path) -> None:
    """The engine makes none such; if it ever did, everybody else's runs must not end with it."""
    async with MemorySwarm(tmp_path) as swarm, asyncio.TaskGroup() as group:
        desk = await swarm.join("desk", ["coordinator"])
        deposed: list[str] = []
        store = JournalStore(desk, group.create_task, lambda *_: None, deposed.append)
        huge = [named(f"{LONG[:200]}{number}") for number in range(1_000)]
        for number in (1, 2):
            run = run_id(number)
            opened = RunOpened(at_ms=0, run=run, goal=a_ref(), by=OWNER, epoch=1, owner=desk.node)
            store.submit(run, [opened], ())
        store.submit(run_id(1), [RunClosed(at_ms=1, outcome="done", deliverables=huge)], ())
        store.submit(run_id(2), [RunClosed(at_ms=1, outcome="done")], ())
        await store.drain()
        assert deposed == [run_id(1)]
        assert await store.closed(run_id(1)) is None
        assert await store.closed(run_id(2)) is not None


async def test_the_most_that_can_be_named_in_one_request_can_be_written_down(tmp_path: Path) -> None:
    async with Team(tmp_path) as team:
        await team.coordinate()
        await team.work("ann", noop=True)
        [stored] = [await team.put("x.txt", b"x")]
        files = [stored.model_copy(update={"name": f"{LONG[:200]}{number:05}"}) for number in range(300)]
        skipped = [Missing(name=f"gone-{n}", code="E_VANISHED", message="é" * 200) for n in range(150)]
        run = await team.submit(ONE, inputs=files, skipped=skipped)
        await team.until(lambda: team.coordinator.engine.is_closed(run))
        state = team.coordinator.engine.state(run)
        assert state is not None
        assert len(state.inputs) == 300


def test_the_bounds_of_plans_are_those_of_the_messages_that_carry_them() -> None:
    assert NEEDS_MAX == 4_096
    assert PLAN_NEEDS_MAX >= 10 * PLAN_SUBTASKS_MAX
