"""The journal is the inbox: a node that was away when its award or its cancel was sent gets it when it is back, if it still holds; what it finished meanwhile counts once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mesh.discovery import parse_endpoint
from mesh.endpoint import Received
from protocol import subjects
from protocol.messages import CancelRun
from protocol.records import Accepted, AttemptFailed, Awarded, LateResult, Record
from tests.chaos.checker import judge
from tests.chaos.load import Asked, Load
from tests.chaos.swarm import WORK, Chaos, Node, Shape, chaos_swarm, until
from tests.chaos.work import made_of
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LONG_S = 90
SHORT_S = 10


def offers(quiet_s: int) -> str:
    """A node that does one piece at a time; its award holds for so long without a word."""
    return (
        "mdns = false\n[agent]\ndocuments = false\nslots = 1\nqueue = 0\n"
        f'[[agents]]\nname = "hold"\nadapter = "python"\nmode = "process"\ncapability = "chaos.hold"\n'
        f'target = "{WORK}:hold"\nquiet_s = {quiet_s}\n'
    )


@dataclass
class Inbox:
    """A swarm of one coordinator and two nodes, and a way to have an award made to one that does not get it."""

    chaos: Chaos
    people: Load
    link: SlowLink
    """The way of the first node to the bus."""
    rounds: int = 0

    @property
    def ann(self) -> Node:
        return self.chaos.agents[0]

    @property
    def bob(self) -> Node:
        return self.chaos.agents[1]

    def gate(self) -> Path:
        return self.chaos.folder / f"gate{self.rounds}"

    def begun(self) -> int:
        path = self.chaos.folder / f"begun{self.rounds}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    async def ask(self) -> Asked:
        """Hand in one piece that waits at a gate."""
        self.rounds += 1
        text = f"piece {self.rounds}"
        params = {
            "text": text,
            "gate": str(self.gate()),
            "begun": str(self.chaos.folder / f"begun{self.rounds}"),
        }
        plan: dict[str, Any] = {
            "goal": text,
            "steps": [{"id": "one", "capability": "chaos.hold", "params": params}],
        }
        asked = Asked("", plan, {"one": made_of(text)}, {"one"})
        return await self.people.do(asked, wait=False)

    async def records(self, asked: Asked) -> list[Record]:
        """Everything in the run's journal."""
        endpoint = self.chaos.judge.endpoint
        return [
            record
            async for stored in endpoint.journal.read(asked.run)
            for record in endpoint.open_record(asked.run, stored.data, stored.at_ms)[1]
        ]

    async def awards(self, asked: Asked) -> list[Awarded]:
        return [record for record in await self.records(asked) if isinstance(record, Awarded)]

    async def awarded_unheard(self) -> Asked:
        """A run whose one piece is awarded to the first node, which stands still since its bid.

        The second one stands still all the time, so that its answer is waited for: meanwhile the first can be stopped.
        """
        bid = asyncio.Event()

        def heard(received: Received) -> None:
            if received.node == self.ann.id:
                self.ann.pause()
                bid.set()

        ear = await self.chaos.judge.endpoint.listen(subjects.bids(), heard)
        self.bob.pause()
        asked = await self.ask()
        async with asyncio.timeout(30):
            await bid.wait()
        await ear.unsubscribe()

        async def awarded() -> list[Awarded]:
            return await self.awards(asked)

        [award] = await until("it is awarded", awarded, 30.0)
        assert award.node == self.ann.id
        assert self.begun() == 0
        return asked

    async def once(self, asked: Asked, by: Node, attempt: int) -> None:
        """The run has ended well, by this attempt of this node alone, and nothing else counted."""
        await self.people.end_of(asked, 60.0)
        accepted = [record for record in await self.records(asked) if isinstance(record, Accepted)]
        assert [(record.node, record.attempt) for record in accepted] == [(by.id, attempt)]

    async def idle(self, node: Node) -> None:
        """Wait until nothing of a node's work runs any more."""
        assert node.process is not None
        pid = node.process.pid

        def still() -> bool:
            return all(
                not child.is_running() or child.cwd() == "/"
                for child in psutil.Process(pid).children(recursive=True)
                if child.status() != psutil.STATUS_ZOMBIE
            )

        await until(f"{node.name} is idle", still, 60.0)


@contextlib.asynccontextmanager
async def inbox(folder: Path, quiet_s: int) -> AsyncIterator[Inbox]:
    """Afterwards the whole journal is judged."""
    links: list[SlowLink] = []
    async with contextlib.AsyncExitStack() as stack:

        async def through(node: Node) -> None:
            file = node.home.load()
            bus = parse_endpoint(file.bus_urls[0])
            link = await stack.enter_async_context(SlowLink(bus.host, bus.port, random.Random(1)))
            node.home.save(file.model_copy(update={"bus_urls": [f"tls://127.0.0.1:{link.port}"]}))
            links.append(link)

        shape = Shape(agents=2, agent=offers(quiet_s))
        async with chaos_swarm(folder, shape, through=through) as chaos:
            people = Load(chaos, random.Random(1))
            await people.listen()
            yield Inbox(chaos, people, links[len(chaos.coordinators)])
            verdict, _ = await judge(chaos, people)
            assert verdict.problems == []


async def test_an_award_that_was_sent_to_a_sleeping_node_is_done_when_it_wakes(tmp_path: Path):
    async with inbox(tmp_path, LONG_S) as box:
        asked = await box.awarded_unheard()
        box.ann.resume()
        await until("it has begun", box.begun, 60.0)
        box.gate().touch()
        await box.once(asked, box.ann, 1)
        assert len(await box.awards(asked)) == 1
        assert box.begun() == 1


async def test_an_award_that_was_sent_to_a_node_which_died_is_done_when_it_is_back(tmp_path: Path):
    async with inbox(tmp_path, LONG_S) as box:
        asked = await box.awarded_unheard()
        box.ann.kill()
        await box.ann.up()
        await until("it has begun", box.begun, 60.0)
        box.gate().touch()
        await box.once(asked, box.ann, 1)
        assert len(await box.awards(asked)) == 1
        assert box.begun() == 1


async def test_an_award_that_holds_no_more_when_its_node_wakes_is_not_applied_and_stops(tmp_path: Path):
    async with inbox(tmp_path, SHORT_S) as box:
        asked = await box.awarded_unheard()
        box.bob.resume()
        await until("the other one has begun", box.begun, 90.0)
        box.ann.resume()
        await box.idle(box.ann)
        box.gate().touch()
        await box.once(asked, box.bob, 2)
        [lost] = [record for record in await box.records(asked) if isinstance(record, AttemptFailed)]
        assert (lost.node, lost.attempt, lost.code) == (box.ann.id, 1, "E_NOT_TAKEN")


async def test_a_cancel_that_was_sent_to_a_node_which_was_down_holds_when_it_is_back(tmp_path: Path):
    async with inbox(tmp_path, LONG_S) as box:
        box.bob.pause()
        asked = await box.ask()
        asked.outcome = "cancelled"
        await until("it has begun", box.begun, 60.0)
        box.ann.kill()
        await box.chaos.client.endpoint.call("runs", CancelRun(run=asked.run, reason="enough"), timeout_s=10)
        await box.ann.up()
        await box.people.end_of(asked, 60.0)
        await box.idle(box.ann)
        assert box.begun() == 1
        records = await box.records(asked)
        assert not [record for record in records if isinstance(record, (Accepted, LateResult))]
        asked.results.clear()


async def test_what_a_node_finished_while_it_was_cut_off_is_delivered_once_when_it_is_back(tmp_path: Path):
    async with inbox(tmp_path, LONG_S) as box:
        box.bob.pause()
        asked = await box.ask()
        await until("it has begun", box.begun, 60.0)
        box.link.stall()
        box.gate().touch()
        await box.idle(box.ann)
        assert not [record for record in await box.records(asked) if isinstance(record, Accepted)]
        box.link.go_on()
        await box.once(asked, box.ann, 1)
        records = await box.records(asked)
        assert not [record for record in records if isinstance(record, (AttemptFailed, LateResult))]
        assert box.begun() == 1
