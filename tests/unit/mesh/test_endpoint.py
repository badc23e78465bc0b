"""A member's mouth and ears: what it signs, refuses, holds, splits, asks and answers. Real keys and signatures on the bus in memory."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.bus import Msg
from mesh.clock import SystemClock
from mesh.endpoint import AnswerRefused, CallFailed, Endpoint, NoAnswer, Received
from mesh.errors import MeshError, NoResponders
from protocol import subjects
from protocol.codec import pack
from protocol.directory import Member
from protocol.envelope import Sealer, node_id
from protocol.ids import NO_RUN
from protocol.messages import BATCH_MAX, Goodbye, Heartbeat, Item, Ping, Reply, Type, Who
from protocol.registry import BODY_BYTES_MAX
from protocol.signing import SigningKey
from tests.support.endpoint_memory import _FAR_MS, _SWARM8, MemorySwarm
from tests.support.nats import Inbox

BEAT = Heartbeat(load=0.5, slots_used=1, slots=2)


async def until(check: Callable[[], Any], turns: int = 2000) -> None:
    """Let the loop turn until `check` holds; fails when it never does."""
    for _ in range(turns):
        if check():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


class MovedClock(SystemClock):
    """The device's clock, a given number of seconds off."""

    def __init__(self, off_s: float = 0.0) -> None:
        self.off_s = off_s

    def now(self) -> float:
        return super().now() + self.off_s


async def pair(swarm: MemorySwarm) -> tuple[Endpoint, Endpoint]:
    """A coordinator and an agent."""
    return await swarm.join("hub", ["coordinator", "client"]), await swarm.join("nas", ["agent", "client"])


async def heard(swarm: MemorySwarm, listener: Endpoint, raw: bytes, sender: Endpoint) -> None:
    """Put raw bytes on the sender's heartbeat subject, as a server would hand them over, and wait until they were looked at."""
    before = listener.bus.stats.received
    swarm.hub.route(Msg(subjects.heartbeat(sender.me), raw))
    await until(lambda: listener.bus.stats.received > before)
    await asyncio.sleep(0)


def envelope(sender: Endpoint, item: Item, code: Type, **options: Any) -> bytes:
    """What `sender` would put on its heartbeat subject."""
    return sender._sealer.seal(
        code,
        options.pop("audience", "swarm/presence"),
        options.pop("body", pack([item.model_dump(exclude_defaults=True)])),
        now_ms=int((sender.clock.now() + options.pop("late_s", 0)) * 1000),
        ttl_s=30,
        context=NO_RUN,
    )


# --- in and out ---------------------------------------------------------------------------------------------------------------


async def test_what_one_member_sends_another_gets_verified_and_typed(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        got: Received = await inbox.next()
        assert got.items == [BEAT]
        assert (got.node, got.member.name, got.route.me) == (nas.node, "nas", nas.me)
        assert hub.refused() == 0


async def test_what_is_refused_reaches_no_handler_and_is_counted_by_its_reason(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        other = await swarm.join("other", ["client"])
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        good = envelope(nas, BEAT, Type.HEARTBEAT)
        bad = {
            "E_SHORT": b"hello",
            "E_MAGIC": b"\x00" + good[1:],
            "E_LEN": good[:-1],
            "E_SIG": good[:-1] + bytes([good[-1] ^ 1]),
            "E_TYPE": envelope(nas, Ping(), Type.PING),
            "E_AUD": envelope(nas, BEAT, Type.HEARTBEAT, audience="cap/text.summarize"),
            "E_TIME": envelope(nas, BEAT, Type.HEARTBEAT, late_s=-120),
            "E_BODY": envelope(nas, BEAT, Type.HEARTBEAT, body=b"\x91\xc1"),
            "E_SCHEMA": envelope(
                nas, BEAT, Type.HEARTBEAT, body=pack([{"load": 2.0, "slots_used": 0, "slots": 1}])
            ),
        }
        for code, raw in bad.items():
            await heard(swarm, hub, raw, nas)
            assert hub.verifier.counts == {**hub.verifier.counts, code: 1}, code
        await heard(
            swarm, hub, envelope(other, BEAT, Type.HEARTBEAT), nas
        )  # its own signature, another's subject
        assert inbox.empty()
        assert hub.refused() == len(bad) + 1
        await heard(swarm, hub, good, nas)
        assert (await inbox.next()).items == [BEAT]
        await heard(swarm, hub, good, nas)
        assert hub.verifier.counts["E_REPLAY"] == 1
        assert inbox.empty()


async def test_a_member_without_the_role_is_refused(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        inbox = Inbox()
        await nas.listen(subjects.to_node(nas.me), inbox)
        forged = nas._sealer.seal(
            Type.WHO,
            subjects.audience_node(nas.node),
            pack([{}]),
            now_ms=int(nas.clock.now() * 1000),
            ttl_s=10,
        )
        swarm.hub.route(Msg(subjects.to_node(nas.me), forged))
        await until(lambda: nas.verifier.counts["E_ROLE"] == 1)
        await hub.send(subjects.to_node(nas.me), [Who()])
        assert (await inbox.next()).items == [Who()]


async def test_several_handlers_of_one_pattern_each_get_the_message_once(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        first, second = Inbox(), Inbox()
        async with asyncio.TaskGroup() as group:  # at the same moment, as the daemon's parts do
            group.create_task(hub.listen(subjects.heartbeats(), first))
            group.create_task(hub.listen(subjects.heartbeats(), second))
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        assert (await first.next()).items == (await second.next()).items == [BEAT]
        assert (first.empty(), second.empty(), hub.refused()) == (True, True, 0)


async def test_a_handler_that_leaves_takes_nobody_with_it_and_may_come_back(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        first, second = Inbox(), Inbox()
        leaving = await hub.listen(subjects.heartbeats(), first)
        staying = await hub.listen(subjects.heartbeats(), second)
        await leaving.unsubscribe()
        await leaving.unsubscribe()
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        await second.next()
        await staying.unsubscribe()
        await hub.listen(subjects.heartbeats(), first)
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        await first.next()
        assert (first.empty(), second.empty()) == (True, True)


async def test_a_subscription_that_fails_can_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        inbox = Inbox()
        with monkeypatch.context() as patch:

            async def down(*_arguments: object, **_options: object) -> None:
                raise MeshError("E_BUS_UNREACHABLE", "gone")

            patch.setattr(hub.bus, "subscribe", down)
            with pytest.raises(MeshError):
                await hub.listen(subjects.heartbeats(), inbox)
        await hub.listen(subjects.heartbeats(), inbox)
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        assert (await inbox.next()).items == [BEAT]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_handler_that_raises_is_counted_and_the_next_message_is_handled(tmp_path: Path, kind: str):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        inbox = Inbox()

        def plain(_received: Received) -> None:
            raise RuntimeError("a defect")

        async def coroutine(_received: Received) -> None:
            raise RuntimeError("a defect")

        await hub.listen(subjects.heartbeats(), plain if kind == "plain" else coroutine)
        await hub.listen(subjects.heartbeats(), inbox)
        for _ in range(3):
            await nas.send(subjects.heartbeat(nas.me), [BEAT])
            await inbox.next()
        await until(lambda: hub.handler_errors["heartbeat"] == 3)
        assert hub.bus.stats.handler_errors == 0


# --- unknown senders ----------------------------------------------------------------------------------------------------------


class Library:
    """Certificates that can be fetched, when it is told to answer."""

    def __init__(self, swarm: MemorySwarm, *members: Member) -> None:
        self.swarm = swarm
        self.members = {member.serial: member for member in members}
        self.asked: list[bytes] = []
        self.open = asyncio.Event()
        self.failing = False

    async def fetch(self, serial: bytes) -> Member | None:
        self.asked.append(serial)
        await self.open.wait()
        if self.failing:
            raise MeshError("E_STORE", "no answer")
        member = self.members.get(serial)
        if member is not None:
            self.swarm.directory.add(member)
        return member

    def node_of(self, bus_key: str) -> str | None:
        return None


class Stranger:
    """A member whom nobody has met yet."""

    def __init__(self, number: int, me: str) -> None:
        key = SigningKey.from_seed(hashlib.sha256(b"stranger %d" % number).digest())
        self.serial = b"strange%d" % number if number < 10 else b"%08d" % number
        self.sealer = Sealer(key, _SWARM8, self.serial, b"session8")
        self.member = Member(
            node_id(key.public),
            key.public,
            self.serial,
            expires_ms=_FAR_MS,
            roles=frozenset({"client"}),
            bus_key=me,
            name="stranger",
        )

    def beat(self, now: float) -> bytes:
        body = pack([BEAT.model_dump(exclude_defaults=True)])
        return self.sealer.seal(Type.HEARTBEAT, "swarm/presence", body, now_ms=int(now * 1000), ttl_s=30)


async def test_messages_of_an_unknown_sender_wait_while_its_certificate_is_fetched_once(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        stranger = Stranger(1, nas.me)
        library = hub._certificates = Library(swarm, stranger.member)
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        for _ in range(5):
            await heard(swarm, hub, stranger.beat(hub.clock.now()), nas)
        assert inbox.empty()
        library.open.set()
        sequence = [(await inbox.next()).header.seq for _ in range(5)]
        assert sequence == [1, 2, 3, 4, 5]
        assert library.asked == [stranger.serial]
        assert hub.refused() == 0


async def test_at_most_64_messages_wait_whoever_sends_them(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        strangers = [Stranger(number, nas.me) for number in range(40)]
        library = hub._certificates = Library(swarm)
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        for number in range(100):
            await heard(swarm, hub, strangers[number % 40].beat(hub.clock.now()), nas)
        assert sum(map(len, hub._held.values())) == 64
        assert hub.verifier.counts["E_SENDER"] == 36
        library.open.set()
        await until(lambda: not hub._held)
        assert hub.verifier.counts["E_SENDER"] == 100
        assert inbox.empty()
        assert len(library.asked) == 40


async def test_a_store_that_does_not_answer_costs_the_message_and_nothing_else(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        stranger = Stranger(1, nas.me)
        library = hub._certificates = Library(swarm, stranger.member)
        library.failing = True
        library.open.set()
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        await heard(swarm, hub, stranger.beat(hub.clock.now()), nas)
        await until(lambda: hub.verifier.counts["E_SENDER"] == 1)
        library.failing = False
        await heard(swarm, hub, stranger.beat(hub.clock.now()), nas)
        assert (await inbox.next()).member.name == "stranger"


async def test_closing_while_a_certificate_is_fetched_leaves_no_task(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        hub._certificates = Library(swarm)
        await hub.listen(subjects.heartbeats(), Inbox())
        await heard(swarm, hub, Stranger(1, nas.me).beat(hub.clock.now()), nas)
        assert len(hub._running) == 1
    assert not hub._running


async def test_a_renewed_certificate_is_used_at_once_and_the_one_before_stays_good_for_a_minute(
    tmp_path: Path,
):
    clock = MovedClock()
    async with MemorySwarm(tmp_path, clock=clock) as swarm:
        hub, nas = await pair(swarm)
        inbox = Inbox()
        await hub.listen(subjects.heartbeats(), inbox)
        member = swarm.directory.get(bytes.fromhex(nas.node))
        assert member is not None
        old = Sealer(
            SigningKey.from_seed(hashlib.sha256(b"nas").digest()), _SWARM8, member.serial, b"session9"
        )
        from protocol.directory import Grant

        now_ms = int(clock.now() * 1000)
        renewed = Grant(b"renewed!", not_before_ms=now_ms - 1, expires_ms=_FAR_MS + 1, roles=member.roles)
        member.enter(renewed, now_ms)
        nas.use_certificate(b"renewed!")
        await nas.send(subjects.heartbeat(nas.me), [BEAT])
        assert (await inbox.next()).header.serial == b"renewed!"

        def by_the_old_one() -> bytes:
            body = pack([BEAT.model_dump(exclude_defaults=True)])
            return old.seal(Type.HEARTBEAT, "swarm/presence", body, now_ms=int(clock.now() * 1000), ttl_s=30)

        clock.off_s = 55.0
        await heard(swarm, hub, by_the_old_one(), nas)
        assert (await inbox.next()).items == [BEAT]
        clock.off_s = 65.0
        await heard(swarm, hub, by_the_old_one(), nas)
        assert hub.verifier.counts["E_REVOKED"] == 1


# --- batches ------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 200), max_size=700))
async def test_splitting_loses_no_item_and_keeps_their_order(tmp_path: Path, lengths: list[int]):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        items = [Goodbye(reason=f"{number}:".ljust(length, "x")) for number, length in enumerate(lengths)]
        got: list[Item] = []
        sizes: list[tuple[int, int]] = []

        def keep(received: Received) -> None:
            got.extend(received.items)
            sizes.append((len(received.items), len(received.raw)))

        await hub.listen(subjects.heartbeats(), keep)
        await nas.send(subjects.heartbeat(nas.me), items)
        await until(lambda: len(got) >= len(items))
        assert got == items
        assert all(count <= BATCH_MAX for count, _ in sizes)
        assert all(size <= BODY_BYTES_MAX[Type.GOODBYE] + 400 for _, size in sizes)
        assert len(sizes) <= 1 + sum(lengths) // 20_000 + len(items) // BATCH_MAX


async def test_250_items_travel_under_one_signature_and_251_under_two(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        for count, envelopes in ((0, 0), (1, 1), (250, 1), (251, 2), (501, 3)):
            before = hub.verifier.accepted
            listening = await hub.listen(subjects.heartbeats(), lambda _received: None)
            await nas.send(subjects.heartbeat(nas.me), [BEAT] * count)
            await until(
                lambda before=before, envelopes=envelopes: hub.verifier.accepted == before + envelopes
            )
            await listening.unsubscribe()


async def test_a_batch_that_is_too_large_in_bytes_is_halved_until_it_fits(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        _, nas = await pair(swarm)
        from protocol.messages import AgentCard, Hello

        cards = [AgentCard(name=f"a{number}", description="x" * 200, capabilities=[]) for number in range(60)]
        hello = Hello(name="nas", version="1", roles=["agent"], agents=cards, certificate=b"")
        raws = nas._seal_all(subjects.heartbeat(nas.me), [hello] * 10, NO_RUN, 30)
        assert 2 <= len(raws) <= 10
        assert all(len(raw) <= BODY_BYTES_MAX[Type.HELLO] + 400 for raw in raws)


async def test_a_single_item_that_is_too_large_is_refused_in_words_before_anything_is_sent(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        _, nas = await pair(swarm)
        from protocol.messages import AgentCard, Hello

        cards = [
            AgentCard(name=f"a{number}", description="x" * 200, capabilities=[f"text.{'a' * 50}"] * 8)
            for number in range(256)
        ]
        hello = Hello(name="nas", version="1", roles=["agent"], agents=cards, certificate=b"")
        with pytest.raises(MeshError) as caught:
            await nas.send(subjects.heartbeat(nas.me), [hello])
        assert caught.value.code == "E_TOO_LARGE"
        assert caught.value.hint
        assert nas.bus.stats.sent == 0


# --- questions and answers ----------------------------------------------------------------------------------------------------


async def test_a_question_gets_its_own_answer(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)

        async def answer(received: Received) -> Reply:
            return Reply(ok=True, data={"asked_by": received.member.name}, blobs={"x": b"\x00\xff"})

        await hub.serve("runs", answer)
        reply = await nas.call("runs", Ping(), timeout_s=5)
        assert reply.data == {"asked_by": "nas"}
        assert reply.blobs == {"x": b"\x00\xff"}


async def test_a_named_error_becomes_the_answer_and_a_defect_becomes_internal(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        errors: list[Exception] = [MeshError("E_NOT_FOUND", "no such run", "look again"), KeyError("secret")]

        async def answer(_received: Received) -> Reply:
            raise errors.pop(0)

        await hub.serve("runs", answer)
        with pytest.raises(CallFailed) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.args == ("E_NOT_FOUND", "no such run", "look again")
        with pytest.raises(CallFailed) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.code == "E_INTERNAL"
        assert "secret" not in str(caught.value.args)
        assert hub.handler_errors["service"] == 1


async def test_an_answer_that_is_too_large_becomes_an_error_that_says_so(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)

        async def answer(_received: Received) -> Reply:
            return Reply(ok=True, blobs={"x": bytes(BODY_BYTES_MAX[Type.REPLY])})

        await hub.serve("runs", answer)
        with pytest.raises(CallFailed) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.code == "E_TOO_LARGE"


async def test_nobody_there_and_nobody_in_time_are_both_no_answer_and_undecided(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        with pytest.raises(NoAnswer) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert (caught.value.code, caught.value.definite) == ("E_NO_ANSWER", False)
        assert caught.value.message == "no coordinator is up"
        never = asyncio.Event()

        async def answer(_received: Received) -> Reply:
            await never.wait()
            return Reply(ok=True)

        await hub.serve("runs", answer)
        with pytest.raises(NoAnswer):
            await nas.call("runs", Ping(), timeout_s=0.05)


async def test_a_service_that_is_just_coming_up_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        refused = asyncio.Event()
        request = nas.bus.request

        async def noted(*args: Any, **options: Any) -> bytes:
            try:
                return await request(*args, **options)
            except NoResponders:
                refused.set()
                raise

        monkeypatch.setattr(nas.bus, "request", noted)
        asking = asyncio.create_task(nas.call("runs", Ping(), timeout_s=5))
        await refused.wait()

        async def answer(_received: Received) -> Reply:
            return Reply(ok=True)

        await hub.serve("runs", answer)
        assert (await asking).ok


async def test_a_request_whose_answer_would_go_into_anothers_inbox_is_refused_and_counted(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        asked = Inbox()

        async def answer(received: Received) -> Reply:
            asked(received)
            return Reply(ok=True)

        await hub.serve("runs", answer)
        subject = subjects.request("runs", nas.me)
        for reply in (f"_I.{hub.me}.stolen", "", f"_I.{nas.me[:-1]}.x"):
            [raw] = nas._seal_all(subject, [Ping()], NO_RUN, 10)
            swarm.hub.route(Msg(subject, raw, reply))
        await until(lambda: hub.verifier.counts["E_REPLY"] == 3)
        assert asked.empty()


async def forged_answers(swarm: MemorySwarm, hub: Endpoint, make: Callable[[Msg], bytes]) -> None:
    """Let raw bytes answer each request to `runs`."""

    async def answer(msg: Msg) -> None:
        await hub.bus.publish(msg.reply, make(msg))

    await hub.bus.subscribe(subjects.requests_of("runs"), answer)


async def test_an_answer_to_another_question_is_refused(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        body = pack([{"ok": True}])
        now_ms = int(hub.clock.now() * 1000)
        audience = subjects.audience_node(nas.node)
        await forged_answers(
            swarm,
            hub,
            lambda _msg: hub._sealer.seal(
                Type.REPLY, audience, body, now_ms=now_ms, ttl_s=30, context=b"another question"
            ),
        )
        with pytest.raises(AnswerRefused) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.code == "E_REFUSED"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (pack([]), "E_SCHEMA"),
        (pack([{"ok": True}] * 2), "E_SCHEMA"),
        (pack([{"ok": 1}]), "E_SCHEMA"),
        (b"\xc1", "E_BODY"),
    ],
)
async def test_an_answer_that_is_not_one_valid_reply_is_a_named_error(tmp_path: Path, body: bytes, code: str):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        audience = subjects.audience_node(nas.node)
        await forged_answers(
            swarm,
            hub,
            lambda msg: hub._sealer.seal(
                Type.REPLY,
                audience,
                body,
                now_ms=int(hub.clock.now() * 1000),
                ttl_s=30,
                context=hashlib.sha256(msg.data).digest()[:16],
            ),
        )
        with pytest.raises(AnswerRefused) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.code == code
        assert caught.value.hint


async def test_an_answer_from_somebody_who_may_not_answer_is_a_named_error(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        audience = subjects.audience_node(nas.node)
        await forged_answers(
            swarm,
            hub,
            lambda msg: nas._sealer.seal(
                Type.REPLY,
                audience,
                pack([{"ok": True}]),
                now_ms=int(hub.clock.now() * 1000),
                ttl_s=30,
                context=hashlib.sha256(msg.data).digest()[:16],
            ),
        )
        with pytest.raises(AnswerRefused) as caught:
            await nas.call("runs", Ping(), timeout_s=5)
        assert caught.value.code == "E_ROLE"


async def test_a_flood_of_requests_is_bounded(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await pair(swarm)
        go = asyncio.Event()
        answered = 0

        async def answer(_received: Received) -> Reply:
            nonlocal answered
            await go.wait()
            answered += 1
            return Reply(ok=True)

        await hub.serve("runs", answer)
        subject = subjects.request("runs", nas.me)
        for number in range(400):
            [raw] = nas._seal_all(subject, [Ping()], NO_RUN, 30)
            swarm.hub.route(Msg(subject, raw, f"_I.{nas.me}.{number}"))
        await until(lambda: hub.bus.stats.received == 400)
        go.set()
        await until(lambda: not hub._running)
        assert answered + hub.verifier.counts["E_RATE"] == 400
        assert 0 < answered <= 256
