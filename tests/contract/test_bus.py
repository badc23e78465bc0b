"""What every bus does, in one process and on a real server alike."""

from __future__ import annotations

import asyncio

import pytest

from mesh.bus import MAX_PAYLOAD_BYTES, BusState, Msg, safe_reply
from mesh.errors import BusTimeout, BusUnreachable, NoResponders, PayloadTooLarge
from tests.support.nats import Inbox

RUN = "a" * 26


async def test_a_message_reaches_every_subscriber_and_no_other_subject(world):
    coordinator, one, two = [await world.connect(role) for role in ("coordinator", "agent", "agent")]
    first, second, narrow = Inbox(), Inbox(), Inbox()
    await one.subscribe("s.ann.>", first)
    await two.subscribe("s.ann.>", second)
    await two.subscribe("s.ann.image.scale", narrow)
    await one.flush()
    await two.flush()
    await coordinator.publish("s.ann.text.count", b"work")
    assert await first.next() == Msg("s.ann.text.count", b"work", "")
    assert (await second.next()).data == b"work"
    await coordinator.publish("s.ann.image.scale", b"other")
    assert (await narrow.next()).data == b"other"
    assert narrow.empty()


async def test_messages_of_one_sender_arrive_in_order(world):
    coordinator, agent = await world.connect("coordinator"), await world.connect("agent")
    inbox = Inbox()
    await agent.subscribe("s.ann.>", inbox)
    await agent.flush()
    for number in range(500):
        await coordinator.publish("s.ann.x", str(number).encode())
    assert [int((await inbox.next()).data) for _ in range(500)] == list(range(500))


async def test_a_queue_group_gets_each_message_once(world):
    key = world.key()
    client = await world.connect("client", key)
    inboxes = [Inbox(), Inbox()]
    merged = Inbox()
    for inbox in inboxes:
        coordinator = await world.connect("coordinator")

        def both(msg, inbox=inbox):
            inbox(msg)
            merged(msg)

        await coordinator.subscribe("s.req.runs.*", both, queue="coordinators")
        await coordinator.flush()
    for number in range(40):
        await client.publish(f"s.req.runs.{key.public}", str(number).encode())
    got = [int((await merged.next()).data) for _ in range(40)]
    assert sorted(got) == list(range(40))
    assert sum(inbox.got.qsize() for inbox in inboxes) == 40


async def test_a_request_is_answered_into_the_askers_own_inbox(world):
    key = world.key()
    client, coordinator = await world.connect("client", key), await world.connect("coordinator")

    async def serve(msg):
        reply = safe_reply(msg, msg.subject.rsplit(".", 1)[1])
        assert reply is not None
        await coordinator.publish(reply, msg.data + b"!")

    await coordinator.subscribe("s.req.runs.*", serve)
    await coordinator.flush()
    answers = [await client.request(f"s.req.runs.{key.public}", bytes([n]), timeout_s=5) for n in range(3)]
    assert answers == [b"\0!", b"\1!", b"\2!"]


async def test_many_requests_at_once_do_not_mix_their_answers(world):
    key = world.key()
    client, coordinator = await world.connect("client", key), await world.connect("coordinator")

    async def serve(msg):
        await coordinator.publish(msg.reply, msg.data)

    await coordinator.subscribe("s.req.runs.*", serve)
    await coordinator.flush()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(client.request(f"s.req.runs.{key.public}", str(n).encode(), timeout_s=5))
            for n in range(50)
        ]
    assert [int(task.result()) for task in tasks] == list(range(50))


async def test_a_request_that_nobody_serves_says_so_at_once(world):
    key = world.key()
    client = await world.connect("client", key)
    with pytest.raises(NoResponders) as caught:
        await client.request(f"s.req.runs.{key.public}", b"", timeout_s=30)
    assert caught.value.code == "E_NO_RESPONDERS"
    assert "s.req.runs" in caught.value.message


async def test_a_request_without_an_answer_ends_in_a_timeout_that_proves_nothing(world):
    key = world.key()
    client, coordinator = await world.connect("client", key), await world.connect("coordinator")
    await coordinator.subscribe("s.req.runs.*", Inbox())
    await coordinator.flush()
    with pytest.raises(BusTimeout) as caught:
        await client.request(f"s.req.runs.{key.public}", b"", timeout_s=0.05)
    assert caught.value.definite is False


async def test_a_handler_that_raises_is_counted_and_the_next_message_still_comes(world, caplog):
    coordinator, agent = await world.connect("coordinator"), await world.connect("agent")
    inbox = Inbox()

    def handler(msg):
        if msg.data == b"bad":
            raise ValueError("no")
        inbox(msg)

    async def slow_handler(msg):
        handler(msg)

    await agent.subscribe("s.ann.>", handler)
    await agent.subscribe("s.ann.x", slow_handler)
    await agent.flush()
    await coordinator.publish("s.ann.x", b"bad")
    await coordinator.publish("s.ann.x", b"good")
    assert [(await inbox.next()).data for _ in range(2)] == [b"good", b"good"]
    assert agent.stats.handler_errors == 2
    assert "s.ann.x" in caplog.text


async def test_nothing_is_handled_after_unsubscribing(world):
    coordinator, agent = await world.connect("coordinator"), await world.connect("agent")
    gone, kept = Inbox(), Inbox()
    subscription = await agent.subscribe("s.ann.>", gone)
    await agent.subscribe("s.ann.>", kept)
    await agent.flush()
    await coordinator.publish("s.ann.x", b"1")
    await gone.next()
    await kept.next()
    await subscription.unsubscribe()
    await agent.flush()
    await coordinator.publish("s.ann.x", b"2")
    assert (await kept.next()).data == b"2"
    assert gone.empty()
    await subscription.unsubscribe()


async def test_a_message_over_the_limit_is_refused_here_and_the_connection_lives(world):
    coordinator, agent = await world.connect("coordinator"), await world.connect("agent")
    inbox = Inbox()
    await agent.subscribe("s.ann.>", inbox)
    await agent.flush()
    with pytest.raises(PayloadTooLarge) as caught:
        await coordinator.publish("s.ann.x", b"x" * (MAX_PAYLOAD_BYTES + 1))
    assert caught.value.code == "E_TOO_LARGE"
    await coordinator.publish("s.ann.x", b"y" * MAX_PAYLOAD_BYTES)
    assert len((await inbox.next()).data) == MAX_PAYLOAD_BYTES
    assert coordinator.connected


async def test_a_subject_outside_the_role_is_refused_and_noted(world):
    agent, spy = await world.connect("agent"), await world.connect("agent")
    inbox = Inbox()
    await spy.subscribe("s.bid.>", inbox)
    await spy.flush()
    await agent.publish("s.ann.x", b"forged")
    await agent.flush()
    assert any('publish to "s.ann.x"' in text for text in agent.recent_refusals)
    assert any("s.bid.>" in text for text in spy.recent_refusals)
    assert agent.stats.refusals == 1
    assert agent.connected


async def test_a_joiner_can_ask_the_enroller_and_hear_its_answer(world):
    enroller, joiner = await world.connect("enroller"), await world.joiner()

    async def serve(msg):
        await enroller.publish(msg.reply, b"charter for " + msg.data)

    await enroller.subscribe("enroll.charter", serve, queue="enrollers")
    await enroller.subscribe("enroll.req.*", serve, queue="enrollers")
    await enroller.flush()
    assert await joiner.request("enroll.charter", b"1", timeout_s=5) == b"charter for 1"
    assert await joiner.request("enroll.req.0011223344556677", b"2", timeout_s=5) == b"charter for 2"


async def test_a_service_may_answer_a_request_once_and_nothing_else(world):
    key = world.key()
    client, coordinator = await world.connect("client", key), await world.connect("coordinator")
    seen = Inbox()

    async def serve(msg):
        await coordinator.publish(msg.reply, b"once")
        await coordinator.publish(msg.reply, b"twice")
        await coordinator.publish(f"{client.inbox_prefix}.zzz", b"unasked")
        await coordinator.flush()
        seen(msg)

    await coordinator.subscribe("s.req.runs.*", serve)
    await coordinator.flush()
    assert await client.request(f"s.req.runs.{key.public}", b"", timeout_s=5) == b"once"
    await seen.next()
    assert coordinator.stats.refusals == 2


async def test_closing_ends_everything_and_says_so(world):
    coordinator, agent = await world.connect("coordinator"), await world.connect("agent")
    states = []
    agent.on_state(lambda state, _reason: states.append(state))
    await agent.subscribe("s.ann.>", Inbox())
    await agent.close()
    await agent.close()
    assert states == [BusState.CLOSED]
    assert not agent.connected
    with pytest.raises(BusUnreachable):
        await agent.publish("s.hb.x", b"")
    with pytest.raises(BusUnreachable):
        await agent.request("s.req.runs.x", b"", timeout_s=1)
    with pytest.raises(BusUnreachable):
        await agent.flush()
    assert coordinator.connected


def test_an_answer_is_only_sent_into_the_inbox_of_the_member_named_in_the_subject():
    assert safe_reply(Msg("s.req.runs.UME", b"", "_I.UME.abc.1"), "UME") == "_I.UME.abc.1"
    assert safe_reply(Msg("s.req.runs.UME", b"", "_I.UVICTIM.abc"), "UME") is None
    assert safe_reply(Msg("s.req.runs.UME", b"", "_I.UMEX.abc"), "UME") is None
    assert safe_reply(Msg("s.req.runs.UME", b"", "s.to.UVICTIM"), "UME") is None
    assert safe_reply(Msg("s.req.runs.UME", b"", ""), "UME") is None
