"""Members that lie, with real keys on the real bus: nothing that they say about others' work takes effect, and everything is counted."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import subjects
from protocol.codec import pack, unpack
from protocol.envelope import HEADER_BYTES, SIGNATURE_BYTES, parse_header
from protocol.messages import (
    Award,
    Bid,
    Cancelled,
    Failed,
    NamedRef,
    Progress,
    Refuse,
    Result,
    ResultAck,
    Started,
    Type,
)
from tests.support.devices import Device, office, wait_for
from tests.support.gated import offered
from tests.support.insider import Insider, insider, stranger, wiretap

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

AGENT = offered(1)
REPLAYS = 10_000
OPEN = ["awarded"]
"""One attempt, which has not ended."""


class World:
    """A hub and two agent nodes, and a run that waits at a gate on one of them."""

    def __init__(self, folder: Path, hub: Device, devices: dict[str, Device]) -> None:
        self.folder = folder
        self.hub = hub
        self.devices = devices
        self.run = ""
        (folder / "one.txt").write_text("one")
        params = {"gate": str(folder / "gate"), "begun": str(folder / "begun")}
        step = {"id": "shout", "capability": "test.shout", "map": "inputs", "params": params}
        (folder / "plan.yaml").write_text(json.dumps({"steps": [step]}))

    def start(self) -> tuple[str, str]:
        """Hand the run in; the names of the node that does it and of the other one."""
        arguments = ["run", "--plan", self.folder / "plan.yaml", "-i", self.folder / "one.txt", "--detach"]
        self.run = self.hub.json(*arguments)["run"]
        wait_for("the work begins", lambda: (self.folder / "begun").exists())
        winner = self.attempts()[0]["node_name"]
        return winner, ({*self.devices} - {winner}).pop()

    def view(self) -> dict[str, Any]:
        return self.hub.json("runs", "show", self.run)

    def attempts(self) -> list[dict[str, Any]]:
        [subtask] = self.view()["subtask_list"]
        attempts: list[dict[str, Any]] = subtask["attempts"]
        return attempts

    def finish(self) -> dict[str, Any]:
        """Open the gate; the run in full once it has ended."""
        (self.folder / "gate").touch()
        wait_for("the end of the run", lambda: self.view()["outcome"])
        return self.view()

    def output(self) -> str:
        self.hub.json("artifacts", "get", self.run, "-o", self.folder / "got")
        [path] = (self.folder / "got").glob("*.txt")
        return path.read_text()

    def refused(self, name: str) -> int:
        """How many messages a node has refused, as its heartbeat says."""
        return int(self.hub.json("nodes", "show", name)["node"]["refused"])

    def refuses(self, name: str, least: int) -> None:
        wait_for(f"{name} has counted {least}", lambda: self.refused(name) >= least)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with office(tmp_path, agents={"ada": AGENT, "bob": AGENT}) as (hub, devices):
        yield World(tmp_path, hub, devices)


async def evil(by: Insider) -> list[NamedRef]:
    """A file that nobody asked for, really stored by the one who lies."""
    ref = await by.endpoint.artifacts.put(b"EVIL", by.me)
    return [NamedRef(name="shout.txt", media_type="text/plain", ref=ref)]


async def test_what_a_member_says_about_anothers_work_changes_nothing(world: World):
    winner, loser = await asyncio.to_thread(world.start)
    [attempt] = await asyncio.to_thread(world.attempts)
    fence: dict[str, Any] = {
        "subtask": "shout-01",
        "attempt": attempt["attempt"],
        "epoch": attempt["epoch"],
    }
    async with insider(world.devices[loser].home) as liar:
        lies = [
            Started(**fence),
            Progress(**fence, step=1000, fraction=1.0),
            Result(**fence, outputs=await evil(liar), wall_ms=1),
            Failed(**fence, code="E_WORK", message="it went wrong", retryable=False),
            Cancelled(**fence),
            Refuse(**fence, code="E_BUSY"),
        ]
        await liar.work(world.run, *lies)
        # and about a subtask, an attempt and a run that do not exist
        await liar.work(world.run, Result(**{**fence, "subtask": "shout-99"}, wall_ms=1))
        await liar.work(world.run, Result(**{**fence, "attempt": 7}, outputs=await evil(liar), wall_ms=1))
        await liar.work("a" * 26, Result(**fence, wall_ms=1))
    assert [entry["status"] for entry in await asyncio.to_thread(world.attempts)] == OPEN
    view = await asyncio.to_thread(world.finish)
    assert view["outcome"] == "done"
    [subtask] = view["subtask_list"]
    assert [(entry["node_name"], entry["status"]) for entry in subtask["attempts"]] == [(winner, "accepted")]
    assert await asyncio.to_thread(world.output) == "ONE"


async def test_a_node_cannot_pass_off_a_stale_or_a_second_result(world: World):
    winner, _ = await asyncio.to_thread(world.start)
    [attempt] = await asyncio.to_thread(world.attempts)
    fence: dict[str, Any] = {"subtask": "shout-01", "attempt": attempt["attempt"], "epoch": attempt["epoch"]}
    async with insider(world.devices[winner].home) as liar:
        outputs = await evil(liar)
        for other in ({"epoch": attempt["epoch"] + 1}, {"attempt": attempt["attempt"] + 1}):
            await liar.work(world.run, Result(**{**fence, **other}, outputs=outputs, wall_ms=1))
        assert [entry["status"] for entry in await asyncio.to_thread(world.attempts)] == OPEN
        view = await asyncio.to_thread(world.finish)
        assert await asyncio.to_thread(world.output) == "ONE"

        # it is over: a second result, a failure and a bid come too late
        bid = Bid(
            subtask="shout-01",
            round=1,
            agent="gated",
            price=1,
            eta_ms=1,
            success=1.0,
            load=0.0,
            queue=0,
            free_slots=9,
        )
        await liar.work(
            world.run,
            Result(**fence, outputs=outputs, wall_ms=1),
            Failed(**fence, code="E_WORK", message="on second thoughts"),
        )
        sealed = liar.seal([bid], audience=subjects.audience_bids(world.run), run=world.run)
        await liar.publish(subjects.bid(world.run, liar.me), sealed)
        # whatever has been heard by now has had its effect: the coordinator answers in order
        after = await asyncio.to_thread(world.view)
    assert after["outcome"] == "done"
    assert after["deliverables"] == view["deliverables"]
    assert [entry["status"] for entry in after["subtask_list"][0]["attempts"]] == ["accepted"]
    assert len(after["subtask_list"][0]["attempts"][0]["bids"]) == 2
    assert await asyncio.to_thread(world.output) == "ONE"


async def test_envelopes_that_are_forged_or_tampered_with_are_refused_and_counted(world: World):
    winner, loser = await asyncio.to_thread(world.start)
    [attempt] = await asyncio.to_thread(world.attempts)
    fence: dict[str, Any] = {"subtask": "shout-01", "attempt": attempt["attempt"], "epoch": attempt["epoch"]}
    before = await asyncio.to_thread(world.refused, "hub")
    audience = subjects.audience_work(world.run)
    async with (
        insider(world.devices[winner].home) as owner,
        insider(world.devices[loser].home) as liar,
    ):
        subject = subjects.work(world.run, owner.me)
        result = Result(**fence, outputs=await evil(liar), wall_ms=1)
        good = owner.seal([result], audience=audience, run=world.run)
        now_ms = int(owner.endpoint.clock.now() * 1000)
        swarm8 = owner.membership.charter.swarm_id[:8]
        forged = [
            # signed by another member, on the owner's subject (the bus would stop this; say that it did not)
            liar.seal([result], audience=audience, run=world.run),
            # signed by nobody, under the owner's certificate
            owner.seal(
                [result], audience=audience, run=world.run, sealer=stranger(swarm8, parse_header(good).serial)
            ),
            # right signature, wrong place, time, kind, swarm
            owner.seal([result], audience=subjects.audience_bids(world.run), run=world.run),
            owner.seal([result], audience=subjects.audience_work("a" * 26), run=world.run),
            owner.seal([result], audience=audience, run=world.run, now_ms=now_ms - 3_600_000),
            owner.seal([result], audience=audience, run=world.run, now_ms=now_ms + 3_600_000),
            owner.seal([result], audience=audience, run=world.run, ttl_s=3600),
            owner.seal([result], audience=audience, run=world.run, code=Type.AWARD),
            owner.seal([result], audience=audience, run=world.run, code=Type.BID),
            # noise
            b"",
            b"\x00" * 300,
            good[:-1],
            good + b"\x00",
        ]
        # one changed byte, everywhere
        forged += [
            good[:place] + bytes([good[place] ^ 0x01]) + good[place + 1 :] for place in range(0, len(good), 3)
        ]
        await owner.publish(subject, *forged)
        # signed all right, but the body is none
        bodies = [
            b"\xc1",
            b"\x91",
            pack([]),
            pack([{}]),
            pack([{"subtask": "shout-01"}]),
            pack("text"),
            b"\xdd\xff\xff\xff\xff",
        ]
        bodies.append(pack([{**as_dict(good), "surprise": 1}]))
        bodies.append(pack([{**as_dict(good), "epoch": "1"}]))
        sealer = owner.sealer()
        wrong = [
            sealer.seal(Type.RESULT, audience, body, now_ms=now_ms, context=parse_header(good).context)
            for body in bodies
        ]
        await owner.publish(subject, *wrong)
    await asyncio.to_thread(world.refuses, "hub", before + len(forged) + len(wrong))
    assert [entry["status"] for entry in await asyncio.to_thread(world.attempts)] == OPEN
    view = await asyncio.to_thread(world.finish)
    assert [(entry["node_name"], entry["status"]) for entry in view["subtask_list"][0]["attempts"]] == [
        (winner, "accepted")
    ]
    assert await asyncio.to_thread(world.output) == "ONE"


def as_dict(envelope: bytes) -> dict[str, Any]:
    """The first item of an envelope's body."""
    items: Any = unpack(envelope[HEADER_BYTES:-SIGNATURE_BYTES])
    return dict(items[0])


async def test_an_agent_cannot_give_orders_to_another_agent(world: World):
    winner, loser = await asyncio.to_thread(world.start)
    [attempt] = await asyncio.to_thread(world.attempts)
    fence: dict[str, Any] = {"subtask": "shout-01", "attempt": attempt["attempt"], "epoch": attempt["epoch"]}
    before = await asyncio.to_thread(world.refused, winner)
    params = {"gate": str(world.folder), "begun": str(world.folder / "forged")}
    order = Award(
        subtask="shout-01",
        round=1,
        attempt=9,
        epoch=attempt["epoch"] + 9,
        capability="test.shout",
        agent="gated",
        params=params,
        lease_ms=10_000,
        deadline_ms=10_000,
    )
    async with (
        insider(world.devices[winner].home) as victim,
        insider(world.devices[loser].home) as liar,
        insider(world.hub.home, "coordinator") as pipe,
    ):
        audience = subjects.audience_node(victim.node)
        orders = [
            liar.seal([item], audience=audience, run=world.run)
            for item in (order, ResultAck(**fence, applied=True))
        ]
        # the bus does not carry them from an agent ...
        await liar.publish(subjects.to_node(victim.me), *orders)
        assert not (world.folder / "forged").exists()
        # ... and if it did, as here, the node would refuse them: it is the role in the certificate that counts
        await pipe.publish(subjects.to_node(victim.me), *orders)
    await asyncio.to_thread(world.refuses, winner, before + len(orders))
    assert not (world.folder / "forged").exists()
    view = await asyncio.to_thread(world.finish)
    assert view["outcome"] == "done"
    assert [entry["node_name"] for entry in view["subtask_list"][0]["attempts"]] == [winner]


async def test_of_ten_thousand_messages_that_are_said_again_none_is_heard(world: World):
    async with wiretap(world.hub.home, "s.bid.>", "s.work.>") as heard:
        winner, _ = await asyncio.to_thread(world.start)
        view = await asyncio.to_thread(world.finish)
        key = json.loads((world.devices[winner].home / "node.json").read_bytes())["node"]
        assert key == view["subtask_list"][0]["attempts"][0]["node"]
        captured = list(heard)
    before = await asyncio.to_thread(world.refused, "hub")
    async with insider(world.devices[winner].home) as again, insider(world.hub.home, "coordinator") as reader:
        mine = [(subject, raw) for subject, raw in captured if subject.endswith(again.me)]
        assert {subject.split(".")[1] for subject, _ in mine} == {"bid", "work"}
        journal = await reader.endpoint.journal.last(world.run)
        sent = 0
        while sent < REPLAYS:
            for subject, raw in mine:
                await again.endpoint.bus.publish(subject, raw)
                sent += 1
            await again.endpoint.bus.flush(10)
        await asyncio.to_thread(world.refuses, "hub", before + sent)
        assert await reader.endpoint.journal.last(world.run) == journal
    assert await asyncio.to_thread(world.refused, "hub") == before + sent
    assert await asyncio.to_thread(world.view) == view
    assert await asyncio.to_thread(world.output) == "ONE"
