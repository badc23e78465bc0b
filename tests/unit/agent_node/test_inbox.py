"""What agents ask waits in the inbox, whole; an answer holds for one question and once; without one the leave is denied."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_node.inbox_file import Asked, Inbox, NoSuchQuestionError
from agent_node.questions import Question
from mesh.home import Home, NodeFile
from mesh.identity import Identity
from protocol.approvals import Approval, asked_digest, sign_approval

SWARM = bytes([7] * 32)
FIRST = Question("hermes", "agent.task", "execute", "rm -rf x", '{"command":"rm -rf x"}', "01RUN")
SECOND = Question("hermes", "agent.task", "execute", "rm -rf /", '{"command":"rm -rf /"}', "01RUN")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = Home(tmp_path / "home")
    made.path.mkdir()
    Identity.create(made, os.urandom)
    fields = {"swarm": "office", "swarm_id": SWARM.hex(), "name": "nas", "node": "00" * 16}
    node = NodeFile.model_validate(
        {"schema": "zwerm.node/1", **fields, "roles": ["agent"], "bus_urls": [], "bus_ca_sha256": ""}
    )
    made.write("node.json", node.model_dump_json(by_alias=True).encode())
    return made.path


async def waiting(home: Path, count: int) -> list[Asked]:
    async with asyncio.timeout(10):
        while len(found := list(Inbox(home).waiting())) < count:
            await asyncio.sleep(0.01)
    return found


def zwerm(home: Path, *words: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "mesh", "--home", str(home), "inbox", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.requirement("APR-3", "APR-4")
async def test_each_question_gets_its_own_answer_and_is_gone(home: Path) -> None:
    box = Inbox(home)
    first = asyncio.ensure_future(box.ask(FIRST))
    second = asyncio.ensure_future(box.ask(SECOND))
    for one in await waiting(home, 2):
        Inbox(home).answer(one, granted=one.question == FIRST)
    assert (await first, await second) == (True, False)
    assert list((home / "inbox").iterdir()) == []


@pytest.mark.requirement("APR-3")
async def test_an_answer_that_does_not_hold_is_ignored_and_the_question_goes_on_waiting(home: Path) -> None:
    asking = asyncio.ensure_future(Inbox(home).ask(FIRST))
    [one] = await waiting(home, 1)
    answer = home / "inbox" / f"{one.id}.answer"
    fields = {"swarm": SWARM, "ask": bytes.fromhex(one.id), "granted": True, "at": 1}
    key = Identity.load(Home(home)).sign
    other = asked_digest(SECOND.tool, SECOND.arguments, SECOND.run)
    for wrong in (b"yes", sign_approval(Approval(digest=other, **fields), key)):
        answer.write_bytes(wrong)
        async with asyncio.timeout(10):
            while answer.exists():
                await asyncio.sleep(0.01)
        assert not asking.done()
    Inbox(home).answer(one, granted=True)
    assert await asking is True


@pytest.mark.requirement("APR-3")
async def test_without_an_answer_in_time_there_is_none(home: Path) -> None:
    assert await Inbox(home, wait_s=0.3).ask(FIRST) is None
    assert list((home / "inbox").iterdir()) == []


async def test_a_cancelled_question_is_taken_back(home: Path) -> None:
    asking = asyncio.ensure_future(Inbox(home).ask(FIRST))
    await waiting(home, 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert list(Inbox(home).waiting()) == []


async def test_on_a_device_in_no_swarm_nobody_can_be_asked(tmp_path: Path) -> None:
    assert await Inbox(tmp_path).ask(FIRST) is None


async def test_a_person_sees_exactly_what_is_asked_and_answers_by_command(home: Path) -> None:
    asking = asyncio.ensure_future(Inbox(home).ask(FIRST))
    [one] = await waiting(home, 1)
    code, out, _ = await asyncio.to_thread(zwerm, home, "ls", "--json")
    assert code == 0
    [told] = json.loads(out)["questions"]
    assert (told["id"], told["arguments"], told["run"]) == (one.id, FIRST.arguments, "01RUN")
    code, out, _ = await asyncio.to_thread(zwerm, home, "show", one.id[:6])
    assert (code, FIRST.arguments in out, "approve" in out) == (0, True, True)
    code, _, err = await asyncio.to_thread(zwerm, home, "approve", "ffffffffff")
    assert code != 0
    assert one.id[:8] in err
    code, _, err = await asyncio.to_thread(zwerm, home, "approve", one.id[:6])
    assert code == 0, err
    assert await asking is True


def test_no_question_no_answer(home: Path) -> None:
    with pytest.raises(NoSuchQuestionError, match="no question"):
        Inbox(home).find("")
