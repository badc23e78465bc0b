"""A member's connection over time: server restarts, expiry, renewal, revocation, a dead reader, a slow handler."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal

import pytest

from mesh.bus import BusState
from mesh.bus_nats import NatsBus
from mesh.errors import BusRefused, BusUnreachable, TokenRefused
from tests.support.nats import CLOCK, Inbox, secured_server
from tests.support.slow_link import SlowLink

pytestmark = pytest.mark.integration


class States:
    """Keeps a bus's states, and lets a test wait for one."""

    def __init__(self, bus):
        self.seen = []
        self._changed = asyncio.Event()
        bus.on_state(self._on_state)

    def _on_state(self, state, reason):
        self.seen.append((state, reason))
        self._changed.set()

    async def wait_for(self, state, timeout_s=15):
        async with asyncio.timeout(timeout_s):
            while not any(one is state for one, _ in self.seen):
                self._changed.clear()
                await self._changed.wait()
        self.seen.clear()


async def test_subscriptions_and_held_messages_survive_a_restart_of_the_server(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        watch = group.create_task(site.server.run())
        coordinator, agent = await site.connect("coordinator"), await site.connect("agent")
        tasks = [group.create_task(bus.run()) for bus in (coordinator, agent)]
        inbox, theirs, ours = Inbox(), States(agent), States(coordinator)
        await agent.subscribe("s.ann.>", inbox)
        await agent.flush()
        os.kill(site.server.pid, signal.SIGKILL)
        await theirs.wait_for(BusState.CONNECTED)
        await ours.wait_for(BusState.CONNECTED)
        await coordinator.publish("s.ann.x", b"after")
        while (await inbox.next(15)).data != b"after":
            pass
        assert agent.stats.connects == 2
        for bus in (coordinator, agent):
            await bus.close()
        for task in tasks:
            await task
        await site.server.stop()
        await watch


async def test_what_is_published_while_the_server_is_away_is_sent_when_it_is_back(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        coordinator = await site.connect("coordinator")
        keep = group.create_task(coordinator.run())
        states = States(coordinator)
        await site.server.stop()
        await states.wait_for(BusState.RECONNECTING)
        for number in range(5):
            await coordinator.publish("s.j." + "a" * 26, b"%d" % number)
        with pytest.raises(BusUnreachable):
            await coordinator.request("s.req.runs.x", b"", timeout_s=5)
        for _ in range(2):
            await coordinator.publish("s.ann.x", bytes(900_000))
        with pytest.raises(BusUnreachable):
            await coordinator.publish("s.ann.x", bytes(900_000))
        assert coordinator.stats.dropped == 1
        await site.server.start()
        await states.wait_for(BusState.CONNECTED)
        await coordinator.flush()
        assert coordinator.stats.sent == 5 + 2
        await coordinator.close()
        await keep


async def test_a_short_command_without_run_fails_at_once_when_the_server_goes(tmp_path):
    async with secured_server(tmp_path) as site:
        client = await site.connect("client")
        coordinator = await site.connect("coordinator")
        await coordinator.subscribe("s.req.runs.*", Inbox())
        await coordinator.flush()
        asked = asyncio.Event()

        async def stop_later():
            await asked.wait()
            await site.server.stop()

        async with asyncio.TaskGroup() as group:
            group.create_task(stop_later())
            asked.set()
            with pytest.raises(BusUnreachable) as caught:
                await client.request(f"s.req.runs.{client.inbox_prefix[3:]}", b"", timeout_s=60)
        assert caught.value.definite is False
        with pytest.raises(BusUnreachable):
            await client.publish("s.hb.x", b"")


async def test_a_credential_is_renewed_at_half_its_life_without_losing_a_message(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        key = site.key()
        renewals = []

        async def renew():
            renewals.append(CLOCK.now())
            return site.authority.mint_user("agent", key.public, "a", now=CLOCK.now(), exp=CLOCK.now() + 4)

        agent = await site.connect("agent", key, exp=CLOCK.now() + 3, renew=renew)
        keep = group.create_task(agent.run())
        coordinator = await site.connect("coordinator")
        seen: set[int] = set()
        enough = asyncio.Event()

        def handler(msg):
            seen.add(int(msg.data))
            if agent.stats.connects >= 4:
                enough.set()

        await agent.subscribe("s.ann.>", handler)
        await agent.flush()
        sent = 0
        async with asyncio.timeout(30):
            while not enough.is_set():
                await coordinator.publish("s.ann.x", b"%d" % sent)
                sent += 1
                if sent % 20 == 0:
                    await coordinator.flush()
        await coordinator.flush()
        await agent.flush()
        last = Inbox()
        await agent.subscribe("s.ann.end", last)
        await agent.flush()
        await coordinator.publish("s.ann.end", b"-1")
        await last.next()
        assert len(renewals) >= 3
        assert seen - {-1} == set(range(sent))
        await agent.close()
        await keep


async def test_a_request_in_flight_is_answered_across_a_renewal(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        key = site.key()
        renewed = asyncio.Event()

        async def renew():
            return site.authority.mint_user("client", key.public, "c", now=CLOCK.now(), exp=CLOCK.now() + 600)

        client = await site.connect("client", key, exp=CLOCK.now() + 2, renew=renew)
        keep = group.create_task(client.run())
        client.on_state(lambda state, _: renewed.set() if state is BusState.CONNECTED else None)
        coordinator = await site.connect("coordinator")

        async def serve(msg):
            await renewed.wait()
            await coordinator.publish(msg.reply, b"late but there")

        await coordinator.subscribe("s.req.runs.*", serve)
        await coordinator.flush()
        assert await client.request(f"s.req.runs.{key.public}", b"", timeout_s=20) == b"late but there"
        assert client.stats.connects == 2
        await client.close()
        await keep


async def test_an_expired_credential_that_nothing_renews_ends_in_refused_with_a_reason(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent", exp=CLOCK.now() + 1.5)
        keep = group.create_task(agent.run())
        states = States(agent)
        await states.wait_for(BusState.REFUSED)
        assert not agent.connected
        await agent.close()
        await keep


async def test_a_renewal_that_fails_is_tried_again_and_never_ends_the_connection_early(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        key = site.key()
        tries = Inbox()

        async def renew():
            tries(None)
            if tries.got.qsize() == 1:
                raise TokenRefused("not today")
            if tries.got.qsize() == 2:
                raise OSError("no way")
            return site.authority.mint_user("agent", key.public, "a", now=CLOCK.now(), exp=CLOCK.now() + 600)

        agent = await site.connect("agent", key, exp=CLOCK.now() + 6, renew=renew)
        keep = group.create_task(agent.run())
        states = States(agent)
        await states.wait_for(BusState.CONNECTED, 20)
        assert tries.got.qsize() == 3
        assert agent.stats.connects == 2
        await agent.close()
        await keep


async def test_a_revoked_member_is_cut_off_and_stays_out_until_it_has_a_new_credential(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        key = site.key()
        agent = await site.connect("agent", key)
        bystander = await site.connect("agent")
        keep = group.create_task(agent.run())
        states = States(agent)
        registrar = await site.connect("registrar")
        revoked = site.authority.revoke(key.public, CLOCK.now())
        answer = json.loads(
            await registrar.request("$SYS.REQ.CLAIMS.UPDATE", revoked.swarm_token.encode(), timeout_s=5)
        )
        assert answer["data"]["code"] == 200
        await states.wait_for(BusState.REFUSED)
        assert bystander.connected
        with pytest.raises(BusRefused):
            await NatsBus.connect(
                [site.url],
                site.context(),
                key,
                site.authority.mint_user("agent", key.public, "x", now=CLOCK.now() - 10, exp=None),
            )
        fresh = revoked.mint_user("agent", key.public, "x", now=CLOCK.now(), exp=None)
        again = await NatsBus.connect([site.url], site.context(), key, fresh)
        assert again.connected
        await again.close()
        await agent.close()
        await keep


async def test_a_revocation_survives_a_restart_of_the_server_with_its_old_settings(tmp_path):
    async with secured_server(tmp_path) as site:
        key = site.key()
        await site.connect("agent", key)
        registrar = await site.connect("registrar")
        revoked = site.authority.revoke(key.public, CLOCK.now())
        await registrar.request("$SYS.REQ.CLAIMS.UPDATE", revoked.swarm_token.encode(), timeout_s=5)
        await site.server.stop()
        await site.server.start()
        # Credentials from before the revocation: the restart may take the clock into another second, whose credentials it does not void.
        before = site.authority.mint_user("agent", key.public, "x", now=CLOCK.now() - 60, exp=None)
        with pytest.raises(BusRefused):
            await NatsBus.connect([site.url], site.context(), key, before)
        assert (await site.connect("agent")).connected


async def test_a_reader_that_died_is_noticed_and_replaced(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent")
        keep = group.create_task(agent.run())
        states, inbox = States(agent), Inbox()
        await agent.subscribe("s.ann.>", inbox)
        await agent.flush()
        agent._client._reading_task.cancel()
        await states.wait_for(BusState.CONNECTED)
        coordinator = await site.connect("coordinator")
        await coordinator.publish("s.ann.x", b"heard")
        assert (await inbox.next()).data == b"heard"
        await agent.close()
        await keep


async def test_a_server_that_freezes_is_given_up_for_another_connection(tmp_path, monkeypatch):
    monkeypatch.setattr("mesh.bus_nats_dial._PING_S", 0.2)
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent")
        keep = group.create_task(agent.run())
        states = States(agent)
        os.kill(site.server.pid, signal.SIGSTOP)
        await states.wait_for(BusState.RECONNECTING)
        os.kill(site.server.pid, signal.SIGCONT)
        await states.wait_for(BusState.CONNECTED)
        await agent.close()
        await keep


async def test_a_server_that_fell_silent_is_not_the_first_to_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("mesh.bus_nats_dial._PING_S", 0.1)
    async with (
        secured_server(tmp_path) as site,
        SlowLink("127.0.0.1", site.server.port, random.Random(1)) as one,
        SlowLink("127.0.0.1", site.server.port, random.Random(2)) as two,
        asyncio.TaskGroup() as group,
    ):
        key = site.key()
        jwt = site.authority.mint_user("agent", key.public, "a", now=CLOCK.now(), exp=None)
        urls = [f"tls://127.0.0.1:{link.port}" for link in (one, two)]
        bus = await NatsBus.connect(urls, site.context(), key, jwt, rng=random.Random(3))
        keep = group.create_task(bus.run())
        states = States(bus)
        used, other = (one, two) if one.accepted else (two, one)
        for _ in range(6):
            tried = used.accepted
            used.stall()
            await states.wait_for(BusState.CONNECTED, 30)
            assert used.accepted == tried
            used.go_on()
            used, other = other, used
        await bus.close()
        keep.cancel()


async def test_closing_while_there_is_no_server_ends_run_at_once(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent")
        keep = group.create_task(agent.run())
        states = States(agent)
        await site.server.stop()
        await states.wait_for(BusState.RECONNECTING)
        await agent.close()
        async with asyncio.timeout(5):
            await keep


async def test_a_listener_that_raises_does_not_disturb_the_connection(tmp_path, caplog):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent")

        def broken(state, reason):
            raise RuntimeError("listener")

        agent.on_state(broken)
        states = States(agent)
        keep = group.create_task(agent.run())
        await site.server.stop()
        await states.wait_for(BusState.RECONNECTING)
        await site.server.start()
        await states.wait_for(BusState.CONNECTED)
        assert "listener" in caplog.text
        await agent.close()
        await keep


async def test_nobody_at_the_address_is_reported_with_the_address(tmp_path):
    async with secured_server(tmp_path) as site:
        url = site.url
        context, key = site.context(), site.key()
        jwt = site.authority.mint_user("agent", key.public, "x", now=CLOCK.now(), exp=None)
        with pytest.raises(BusUnreachable) as caught:
            await NatsBus.connect([], context, key, jwt)
        assert "no address" in caught.value.message
        # One dead address among good ones does no harm.
        bus = await NatsBus.connect(["tls://127.0.0.1:1", url, "tls://127.0.0.1:2"], context, key, jwt)
        await bus.close()
    with pytest.raises(BusUnreachable) as caught:
        await NatsBus.connect([url], context, key, jwt)
    assert url.removeprefix("tls://") in caught.value.message
    assert "refused" in caught.value.message
    assert caught.value.hint


async def test_a_silent_address_is_given_up_within_the_time_allowed(tmp_path):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with secured_server(tmp_path) as site, server:
        with pytest.raises(BusUnreachable) as caught:
            await NatsBus.connect([f"tls://127.0.0.1:{port}"], site.context(), timeout_s=0.3)
        assert str(port) in caught.value.message


async def test_closing_delivers_what_was_published_before(tmp_path):
    async with secured_server(tmp_path) as site:
        agent, coordinator = await site.connect("agent"), await site.connect("coordinator")
        inbox = Inbox()
        await agent.subscribe("s.ann.>", inbox)
        await agent.flush()
        for number in range(200):
            await coordinator.publish("s.ann.x", b"%d" % number)
        await coordinator.close()
        assert [int((await inbox.next()).data) for _ in range(200)] == list(range(200))


async def test_unsubscribing_while_the_server_is_away_holds_after_it_is_back(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        agent = await site.connect("agent")
        keep = group.create_task(agent.run())
        states, gone, kept = States(agent), Inbox(), Inbox()
        old = await agent.subscribe("s.ann.>", gone)
        await site.server.stop()
        await states.wait_for(BusState.RECONNECTING)
        await old.unsubscribe()
        await agent.subscribe("s.ann.>", kept)
        await site.server.start()
        await states.wait_for(BusState.CONNECTED)
        coordinator = await site.connect("coordinator")
        await coordinator.publish("s.ann.x", b"1")
        assert (await kept.next()).data == b"1"
        assert gone.empty()
        await agent.close()
        await keep
