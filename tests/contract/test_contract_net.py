"""What SPEC says about the conversation of buyers and sellers, held against the cores and endpoints that the daemon runs."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent_node.agent import Agent
from agent_node.events import (
    Acked,
    Announced,
    AttemptKey,
    Awarded,
    BidsRejected,
    CancelAsked,
    Connected,
    Ended,
    Event,
    Fenced,
    LocalRecord,
    Say,
    Start,
    Step,
    Stop,
    Tick,
    Took,
    Withdrawn,
    WorkDone,
    WorkProgress,
    WorkStopped,
)
from agent_node.history import History
from agent_node.policy import AgentSpec, Limits
from coordinator_node import orders
from mesh.bus import Msg
from mesh.bus_accounts import PERMISSIONS
from mesh.endpoint import AnswerRefused, CallFailed, Endpoint, Received
from mesh.presence import Facts, announce_presence
from mesh.roster import HEARTBEAT_S
from mesh.upkeep import Upkeep
from protocol import subjects
from protocol.codec import pack
from protocol.directory import Directory
from protocol.envelope import parse_header
from protocol.ids import NO_RUN, run_bytes
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Cancelled,
    CharterNotice,
    Confirm,
    Decline,
    Failed,
    Goodbye,
    Halt,
    Heartbeat,
    Hello,
    Item,
    Ping,
    Progress,
    Refuse,
    Reject,
    Renew,
    Reply,
    Result,
    ResultAck,
    Revocation,
    Started,
    SubmitRun,
    Type,
    Who,
    Withdraw,
)
from protocol.revocations import Revocations, Revoked, sign_revocations
from protocol.signing import SigningKey
from tests.support.builders import a_failed, a_node, a_plan, a_refusal, a_result, a_subtask, bus_key, run_id
from tests.support.endpoint_memory import MemorySwarm
from tests.support.playbook import Playbook
from tests.support.swarm_memory import Team
from tests.support.wire_world import NOW_S, Node, World, seed

RUN = run_id()
FENCE = {"subtask": "one", "attempt": 1, "epoch": 1}
DOCS = AgentSpec("docs", frozenset({"doc.read"}), 1, queue=3)


class Seller:
    """An agent, and a time that goes where the test says."""

    def __init__(self, restored: list[LocalRecord] | None = None) -> None:
        self.now = 100.0
        self.agent = Agent([DOCS], Limits(slots=1), History(), restored=restored or [], now=self.now)
        self.kept: list[LocalRecord] = list(restored or [])
        self.step = Step()

    def feed(self, event: Event) -> list[Any]:
        """One event; what is said."""
        self.step = self.agent.handle(event, self.now)
        self.kept += self.step.records
        return [command.item for command in self.step.commands if isinstance(command, Say)]

    def after(self, seconds: float) -> list[Any]:
        """Let time pass; what is said."""
        said: list[Any] = []
        end = self.now + seconds
        while (due := self.agent.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            said += self.feed(Tick())
        self.now = end
        return said

    def announce(self, **changes: Any) -> list[Any]:
        """An announcement; the answers."""
        fields = {
            "subtask": "one",
            "round": 1,
            "capability": "doc.read",
            "window_ms": 500,
            "deadline_ms": 60_000,
        }
        return self.feed(Announced(RUN, [Announce.model_validate({**fields, **changes})]))

    def award(self, **changes: Any) -> list[Any]:
        """An award; what is said to it."""
        return self.feed(Awarded(RUN, [an_award(**changes)]))

    def begun(self) -> list[AttemptKey]:
        """The attempts that the last step started."""
        return [command.key for command in self.step.commands if isinstance(command, Start)]


def an_award(**changes: Any) -> Award:
    fields = {
        **FENCE,
        "round": 1,
        "capability": "doc.read",
        "agent": "docs",
        "lease_ms": 10_000,
        "deadline_ms": 60_000,
    }
    return Award.model_validate({**fields, **changes})


def key(**changes: Any) -> AttemptKey:
    return AttemptKey(**{"run": RUN, **FENCE, **changes})


@pytest.fixture
def desk() -> Playbook:
    """`one` is awarded to a; b has bid, too."""
    book = Playbook()
    book.nodes("a", "b")
    book.submit()
    book.bid("a", eta_ms=10, load=0.0, success=0.95)
    book.bid("b", eta_ms=9_000, load=1.0, success=0.2, price=10**9)
    assert book.awards() == {"one": "a"}
    return book


@pytest.fixture
async def team(tmp_path: Path) -> Any:
    async with Team(tmp_path) as made:
        yield made


# --- bodies, runs, requests ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-1")
def test_items_of_one_body_are_done_as_if_each_had_come_alone() -> None:
    together, alone = Seller(), Seller()
    items = [
        Announce(subtask=f"s{at}", round=1, capability="doc.read", window_ms=500, deadline_ms=60_000)
        for at in range(40)
    ]
    said = together.feed(Announced(RUN, items))
    assert said == [answer for item in items for answer in alone.feed(Announced(RUN, [item]))]
    assert {type(answer) for answer in said} == {Bid, Decline}


@pytest.mark.requirement("MSG-5")
async def test_the_run_of_a_message_is_that_of_its_subject_whatever_its_context_says(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, seller = await swarm.join("desk", ["coordinator"]), await swarm.join("seller")
        heard: asyncio.Queue[Received] = asyncio.Queue()
        await desk.listen(subjects.bids(), heard.put_nowait)
        decline = Decline(subtask="one", round=1, code="E_SLOTS")
        await seller.send(subjects.bid(RUN, seller.me), [decline], run=RUN)
        await seller.send(subjects.bid(RUN, seller.me), [decline], run=run_id(2))
        async with asyncio.timeout(5):
            first, second = await heard.get(), await heard.get()
        assert (first.header.context, second.header.context) == (run_bytes(RUN), run_bytes(run_id(2)))
        assert first.run == second.run == RUN


async def answers(swarm: MemorySwarm, asker: Endpoint, reply_to: str) -> tuple[bytes, asyncio.Queue[Msg]]:
    """A request with a reply address of the test's choice; its bytes, and what comes to the asker's inbox."""
    came: asyncio.Queue[Msg] = asyncio.Queue()
    await asker.bus.subscribe(f"_I.{asker.me}.>", came.put_nowait)
    [raw] = asker._seal_all(subjects.request("runs", asker.me), [Ping()], NO_RUN, 10)
    swarm.hub.route(Msg(subjects.request("runs", asker.me), raw, reply_to))
    return raw, came


@pytest.mark.requirement("MSG-6")
async def test_a_reply_names_its_request_and_goes_to_nobody_but_the_asker(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, asker = await swarm.join("desk", ["coordinator"]), await swarm.join("asker", ["client"])

        async def answer(received: Received) -> Reply:
            return Reply(ok=True)

        await desk.serve("runs", answer)
        raw, came = await answers(swarm, asker, f"_I.{asker.me}.x")
        async with asyncio.timeout(5):
            msg = await came.get()
            header = parse_header(msg.data)
            assert (msg.subject, header.type) == (f"_I.{asker.me}.x", Type.REPLY)
            assert header.context == hashlib.sha256(raw).digest()[:16]
            for wrong in (f"_I.{desk.me}.x", "s.ctl", ""):
                before = desk.verifier.counts["E_REPLY"]
                await answers(swarm, asker, wrong)
                while desk.verifier.counts["E_REPLY"] == before:
                    await asyncio.sleep(0)
        assert came.empty()


@pytest.mark.requirement("MSG-6")
async def test_a_reply_to_another_request_is_refused_by_the_asker(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, asker = await swarm.join("desk", ["coordinator"]), await swarm.join("asker", ["client"])

        async def answer(msg: Msg) -> None:
            now_ms = int(desk.clock.now() * 1000)
            audience = subjects.audience_node(asker.node)
            raw = desk._sealer.seal(
                Type.REPLY, audience, pack([{"ok": True}]), now_ms=now_ms, context=bytes(16)
            )
            await desk.bus.publish(msg.reply, raw)

        await desk.bus.subscribe(subjects.requests_of("runs"), answer)
        with pytest.raises(AnswerRefused):
            await asker.call("runs", Ping(), timeout_s=5)


@pytest.mark.requirement("MSG-7")
async def test_one_of_several_answers_and_what_is_not_served_is_told_so(team: Team) -> None:
    await team.coordinate()
    with pytest.raises(CallFailed) as caught:
        await team.ask(Renew())
    assert (caught.value.code, bool(caught.value.hint)) == ("E_TYPE", True)
    served: list[str] = []

    async def answer(received: Received) -> Reply:
        served.append(received.subject)
        return Reply(ok=True)

    for name in ("one", "two", "three"):
        await (await team.swarm.join(name, ["enroller"])).serve("enroll", answer)
    assert (await team.client.call("enroll", Ping(), timeout_s=5)).ok
    assert len(served) == 1


@pytest.mark.requirement("MSG-8")
async def test_a_run_is_in_the_journal_when_its_submission_is_answered_and_a_second_one_is_the_same(
    team: Team,
) -> None:
    role = await team.coordinate()
    step = {"id": "one", "capability": "demo.noop"}
    request = SubmitRun(goal="do it", planner="file", plan={"steps": [step]})
    run = team.new_run()
    first = await team.ask(request, run=run)
    journal = [message async for message in role.endpoint.journal.read(run)]
    assert role.endpoint.open_record(run, journal[0].data, journal[0].at_ms)[1][0].k == "run.opened"
    second = await team.ask(request, run=run)
    assert first.data == {"run": run, "planner": first.data["planner"], "subtasks": 1}
    assert second.data == {**first.data, "again": True}
    assert await role.endpoint.journal.runs() == [run]


# --- bids ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-9")
def test_an_announcement_gets_one_answer_and_an_older_round_none() -> None:
    seller = Seller()
    assert [type(answer) for answer in seller.announce(round=2)] == [Bid]
    assert [type(answer) for answer in seller.announce(round=2)] == [Bid]
    assert seller.announce(round=1) == []
    assert seller.agent.open_bids == 1
    assert [type(answer) for answer in seller.announce(subtask="two", capability="doc.write")] == [Decline]


@pytest.mark.requirement("MSG-9")
def test_a_later_answer_of_a_node_replaces_its_earlier_one() -> None:
    book = Playbook()
    book.nodes("a", "b", "c")
    book.submit()
    book.bid("a", eta_ms=10)
    book.decline("a")
    book.bid("b", eta_ms=9_000, price=5)
    book.bid("b", eta_ms=9_000, price=7)
    book.decline("c")
    assert book.awards() == {"one": "b"}
    assert [
        (note.price, len(book.last("subtask.awarded").bids)) for note in book.last("subtask.awarded").bids
    ] == [(7, 1)]


@pytest.mark.requirement("MSG-9")
def test_an_announcement_carries_nothing_of_the_content() -> None:
    book = Playbook()
    book.nodes("a")
    book.submit(
        a_plan(
            a_subtask("one", params={"x": "secret"}, label="secret", inputs=["secret.txt"]),
            inputs=["secret.txt"],
        )
    )
    [said] = book.said(Announce)
    assert "secret" not in repr(said.model_dump())
    assert (said.input_count, len(said.inputs[0])) == (1, 8)


@pytest.mark.requirement("MSG-10")
def test_nobody_but_a_coordinator_may_hear_bids() -> None:
    def reaches(pattern: str) -> bool:
        first, second, *_ = [*pattern.split("."), ""]
        return first in (">", "*") or (first == "s" and second in ("bid", "*", ">"))

    hearing = {role for role, may in PERMISSIONS.items() if any(map(reaches, may.subscribe))}
    assert hearing == {"coordinator"}


@pytest.mark.requirement("MSG-17")
def test_a_bid_after_the_decision_is_told_that_it_is_late(desk: Playbook) -> None:
    desk.bid("b")
    assert desk.rejects("b")[-1] == "late"
    assert desk.awards() == {"one": "a"}


@pytest.mark.requirement("MSG-17")
@pytest.mark.parametrize("last_round", [1, 2, 3])
def test_reject_and_withdraw_free_a_bid_of_their_round_or_an_earlier_one(last_round: int) -> None:
    for event in (
        BidsRejected(RUN, [Reject(subtask="one", round=last_round, reason="outbid")]),
        Withdrawn(RUN, [Withdraw(subtask="one", round=last_round)]),
    ):
        seller = Seller()
        seller.announce(round=2)
        seller.feed(event)
        assert seller.agent.open_bids == (1 if last_round < 2 else 0)


# --- awards --------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-11")
def test_a_repeated_award_is_answered_by_how_things_stand_and_not_begun_again() -> None:
    seller = Seller()
    assert [type(item) for item in seller.award()] == [Started]
    assert seller.begun() == [key()]
    assert [type(item) for item in seller.award()] == [Started]
    assert seller.begun() == []
    assert seller.award(subtask="two") == []
    assert [type(item) for item in seller.award(subtask="two")] == [Confirm]
    [ending] = [item for item in seller.feed(WorkDone(key())) if isinstance(item, Result)]
    assert seller.award() == [ending]
    seller.feed(Acked(RUN, [ResultAck(**FENCE, applied=True)]))
    [refuse] = seller.award()
    assert (refuse.code, seller.begun()) == ("E_STALE", [])


@pytest.mark.requirement("MSG-11")
def test_an_award_of_a_passed_epoch_is_refused_after_a_restart_too() -> None:
    seller = Seller()
    seller.award(epoch=3)
    seller.feed(WorkDone(key(epoch=3)))
    for who in (seller, Seller(seller.kept)):
        [refuse] = [item for item in who.award(subtask="two", epoch=2) if isinstance(item, Refuse)]
        assert refuse.code == "E_EPOCH"
        assert who.begun() == []


@pytest.mark.requirement("MSG-11")
def test_a_newer_attempt_stops_the_one_that_is_under_way_and_an_older_is_refused() -> None:
    seller = Seller()
    seller.award(attempt=2)
    seller.award(attempt=3)
    assert [command.key for command in seller.step.commands if isinstance(command, Stop)] == [key(attempt=2)]
    [refuse] = seller.award(attempt=1)
    assert (refuse.attempt, refuse.code) == (1, "E_STALE")
    said = seller.feed(WorkStopped(key(attempt=2)))
    assert Cancelled(**{**FENCE, "attempt": 2}) in said


@pytest.mark.requirement("MSG-12")
@pytest.mark.parametrize(
    "word",
    [Confirm(**FENCE), Started(**FENCE), Progress(**FENCE, step=1)],
    ids=lambda word: type(word).__name__,
)
def test_an_award_is_said_again_until_something_shows_that_it_was_taken(desk: Playbook, word: Any) -> None:
    desk.forget_said()
    desk.wait(3.5)
    assert len(desk.said(Award, "a")) == 2
    desk.work("a", word)
    desk.forget_said()
    desk.wait(9.0)
    assert desk.said(Award, "a") == []


@pytest.mark.requirement("MSG-12")
def test_a_refused_award_goes_to_the_next_bid_without_another_announcement(desk: Playbook) -> None:
    desk.forget_said()
    desk.work("a", a_refusal("one"))
    assert desk.awards() == {"one": "b"}
    assert desk.said(Announce) == []
    assert desk.last("subtask.awarded").attempt == 2


@pytest.mark.requirement("MSG-12")
def test_a_confirmation_that_is_asked_for_comes_before_the_work() -> None:
    seller = Seller()
    assert [type(item) for item in seller.award(confirm=True)] == [Confirm, Started]
    confirm, *_, last = seller.step.commands
    assert isinstance(confirm, Say)
    assert isinstance(last, Start)


@pytest.mark.requirement("MSG-13")
@pytest.mark.parametrize(("quiet_ms", "lease_ms"), [(0, 10_000), (10_000, 10_000), (25_000, 25_000)])
def test_a_lease_is_as_long_as_the_work_may_be_silent_and_at_least_10_s(quiet_ms: int, lease_ms: int) -> None:
    book = Playbook()
    book.nodes("a")
    book.submit()
    book.bid("a", quiet_ms=quiet_ms)
    [award] = book.said(Award, "a")
    assert award.lease_ms == lease_ms
    book.work("a", Started(**FENCE))
    book.wait(lease_ms / 1000 - 0.1)
    assert "attempt.failed" not in book.kinds()
    book.wait(0.2)
    assert book.last("attempt.failed").code == "E_LEASE"


@pytest.mark.requirement("MSG-13")
@pytest.mark.requirement("MSG-18")
def test_progress_renews_a_lease_and_being_there_does_not(desk: Playbook) -> None:
    desk.work("a", Started(**FENCE))
    desk.work("a", Progress(**FENCE, step=1), after=9.0)
    desk.wait(9.0)
    assert "attempt.failed" not in desk.kinds()
    desk.handle(orders.NodeSeen(a_node("a")))
    desk.work("a", Confirm(**FENCE))
    desk.wait(1.5)
    assert desk.last("attempt.failed").code == "E_LEASE"


@pytest.mark.requirement("MSG-13")
def test_progress_is_said_only_when_a_step_was_made() -> None:
    seller = Seller()
    seller.award()
    said: list[Any] = []
    for step in (1, 1, 3, 2, 3, 4):
        said += seller.feed(WorkProgress(key(), step))
        said += seller.after(1.0)
    assert [item.step for item in said if isinstance(item, Progress)] == [1, 3, 4]


@pytest.mark.requirement("MSG-14")
def test_an_ending_is_stored_before_it_is_said_and_said_until_it_is_acknowledged() -> None:
    seller = Seller()
    seller.award()
    [ending] = seller.feed(WorkDone(key()))
    assert seller.step.records == [Ended(key(), ending, seller.now)]
    assert seller.step.durable
    assert seller.after(2.1) == [ending]
    assert seller.feed(Connected()) == [ending]
    assert Seller(seller.kept).feed(Connected())[0] == ending
    seller.feed(Acked(RUN, [ResultAck(**FENCE, applied=False)]))
    assert seller.feed(Connected()) == seller.after(90_000) == []
    assert Seller(seller.kept).feed(Connected()) == []


@pytest.mark.requirement("MSG-14")
def test_a_node_that_restarts_owns_up_to_what_it_was_doing() -> None:
    seller = Seller([Fenced(RUN, 1), Took(key())])
    [failed] = {item.model_dump_json(): item for item in seller.feed(Connected())}.values()
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable, failed.subtask) == ("E_RESTARTED", True, "one")
    assert seller.begun() == []


@pytest.mark.requirement("MSG-14")
def test_an_award_that_waits_too_long_for_a_slot_is_given_back_and_has_no_other_end() -> None:
    seller = Seller()
    seller.award()
    seller.award(subtask="two")
    said = [item for item in seller.after(9.9) if item.subtask == "two"]
    assert [(type(item), item.code) for item in said] == [(Refuse, "E_SLOTS")]
    seller.feed(WorkDone(key()))
    assert seller.begun() == []
    assert not [item for item in seller.feed(Connected()) if item.subtask == "two"]


@pytest.mark.requirement("MSG-15")
@pytest.mark.parametrize(
    "change", [{"attempt": 2}, {"epoch": 2}, {"subtask": "other"}], ids=lambda change: next(iter(change))
)
def test_a_word_about_anything_but_the_attempt_that_holds_changes_nothing(
    desk: Playbook, change: dict[str, Any]
) -> None:
    records = desk.kinds()
    desk.work("a", a_result("one").model_copy(update=change))
    desk.work("b", a_result("one"))
    assert desk.kinds() == records
    assert desk.subtask().status == "awarded"
    assert not any(desk.acks("a") + desk.acks("b"))


@pytest.mark.requirement("MSG-15")
@pytest.mark.parametrize(
    "ending", [a_result("one"), a_failed("one"), Cancelled(**FENCE)], ids=lambda item: type(item).__name__
)
def test_a_repeated_ending_is_acknowledged_as_the_first_time_and_counts_once(
    desk: Playbook, ending: Any
) -> None:
    desk.work("a", ending)
    records = [kind for kind in desk.kinds() if not kind.startswith("subtask.unbid")]
    desk.work("a", ending)
    assert desk.acks("a") == [True, True]
    assert desk.kinds() == records


@pytest.mark.requirement("MSG-15")
def test_what_comes_of_a_lost_attempt_is_noted_once_not_applied_and_told_to_stop(desk: Playbook) -> None:
    desk.wait(10.1)
    assert desk.last("attempt.failed").code == "E_NOT_TAKEN"
    desk.forget_said()
    desk.work("a", Progress(**FENCE, step=9))
    assert desk.cancels("a") == [1]
    desk.work("a", a_result("one"))
    desk.work("a", a_result("one"))
    assert desk.acks("a") == [False, False]
    assert desk.kinds().count("result.late") == 1
    assert "subtask.accepted" not in desk.kinds()


@pytest.mark.requirement("MSG-16")
def test_a_cancel_is_answered_by_the_ending_when_nothing_runs_any_more() -> None:
    seller = Seller()
    seller.award()
    assert seller.feed(CancelAsked(RUN, [Cancel(**FENCE)])) == []
    assert seller.feed(WorkStopped(key())) == [Cancelled(**FENCE)]
    assert seller.feed(CancelAsked(RUN, [Cancel(**FENCE)])) == [Cancelled(**FENCE)]


@pytest.mark.requirement("MSG-16")
def test_a_cancel_that_overtakes_its_award_closes_the_door_behind_it() -> None:
    seller = Seller()
    assert seller.feed(CancelAsked(RUN, [Cancel(**FENCE)])) == [Cancelled(**FENCE)]
    [refuse] = seller.award()
    assert (refuse.code, seller.begun()) == ("E_STALE", [])


# --- presence, events, control -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-18")
async def test_a_node_says_hello_at_its_start_when_asked_and_goodbye_at_its_end(tmp_path: Path) -> None:
    assert HEARTBEAT_S == 5.0
    async with MemorySwarm(tmp_path) as swarm:
        desk, node = await swarm.join("desk", ["coordinator"]), await swarm.join("node")
        heard: asyncio.Queue[Item] = asyncio.Queue()

        def hear(received: Received) -> None:
            for item in received.items:
                heard.put_nowait(item)

        await desk.listen(subjects.heartbeats(), hear)
        facts = Facts(name="node", version="1", roles=["agent"], certificate=lambda: b"", started_ms=1)
        stop = asyncio.Event()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(announce_presence(node, facts, stop, on_demand=True))
            assert [type(await heard.get()) for _ in range(2)] == [Hello, Heartbeat]
            await desk.send(subjects.to_node(node.me), [Who()])
            assert [type(await heard.get()) for _ in range(2)] == [Hello, Heartbeat]
            stop.set()
            assert type(await heard.get()) is Goodbye


@pytest.mark.requirement("MSG-18")
def test_a_node_that_has_not_said_hello_is_not_listed(tmp_path: Path) -> None:
    from mesh.roster import Roster

    roster = Roster()
    roster.heartbeat("a" * 32, Heartbeat(load=0.0, slots_used=0, slots=1), 1.0)
    assert roster.all() == []
    assert not roster.knows("a" * 32)


@pytest.mark.requirement("MSG-19")
async def test_every_record_is_told_with_its_number_and_progress_with_that_of_the_last(team: Team) -> None:
    role = await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit({"id": "one", "capability": "demo.noop"})
    await team.event("run.closed")
    records: list[Any] = []
    async for stored in role.endpoint.journal.read(run):
        records += role.endpoint.open_record(run, stored.data, stored.at_ms)[1]
    told = [
        event for event in team.events if not event.kind.startswith(("attempt.started", "attempt.progress"))
    ]
    assert [(event.seq, event.kind) for event in told] == [
        (at, record.k) for at, record in enumerate(records, 1)
    ]
    assert all(0 < event.seq <= len(records) for event in team.events)


@pytest.mark.requirement("MSG-20")
@pytest.mark.requirement("REV-3")
async def test_a_list_of_revocations_counts_by_its_own_signature_and_an_older_one_not_at_all(
    tmp_path: Path,
) -> None:
    world, directory = World(), Directory()
    nodes = [Node(name) for name in ("one", "two")]
    from protocol.certificate import read_certificate

    members = [
        directory.put(
            read_certificate(world.certificate(node, serial=node.id[:8])), bus_key(node.label), NOW_S * 1000
        )
        for node in nodes
    ]

    def signed(number: int, node: Node, key: SigningKey) -> Revocation:
        entry = Revoked(kind="node", id=node.id, at=NOW_S)
        made = Revocations(n=number, issued=NOW_S, next=NOW_S + 1, revoked=[entry])
        return Revocation(revocations=sign_revocations(made, key))

    async with MemorySwarm(tmp_path) as swarm:
        endpoint, enroller = (
            await swarm.join("me", ["client"]),
            await swarm.join("hub", ["enroller", "admin"]),
        )
        membership: Any = SimpleNamespace(
            charter=world.charter,
            store=SimpleNamespace(directory=directory),
            identity=SimpleNamespace(node=bytes(16)),
        )
        upkeep = Upkeep(membership, [endpoint], lambda _ended: None)
        heard: asyncio.Queue[Received] = asyncio.Queue()
        await endpoint.listen(subjects.control(), upkeep._on_control)
        await endpoint.listen(subjects.control(), heard.put_nowait)

        async def say(item: Item) -> list[bool]:
            await enroller.send(subjects.control(), [item])
            async with asyncio.timeout(5):
                await heard.get()
            return [member.revoked for member in members]

        stranger = SigningKey.from_seed(seed("stranger"))
        assert await say(signed(9, nodes[0], stranger)) == [False, False]
        assert await say(Revocation(revocations=b"\x00")) == [False, False]
        assert await say(signed(2, nodes[0], world.issuer)) == [True, False]
        assert await say(signed(1, nodes[1], world.issuer)) == [True, False]
        assert await say(CharterNotice(charter=world.genesis)) == [True, False]
        assert await say(Halt(halt=b"")) == [True, False]
        assert await say(signed(3, nodes[1], world.issuer)) == [True, True]
        assert endpoint.handler_errors == {}
