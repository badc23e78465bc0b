"""An agent in plain Node, written from SPEC.md alone, is a device like any other: it joins, bids, delivers, is replaced, obeys, and is locked out."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil
import pytest

from protocol.envelope import parse_header
from protocol.messages import Type
from protocol.subjects import audience, route
from tests.e2e.test_kills import AGENT, begun, finish, outputs, provenance, start_run
from tests.e2e.test_kills import world as world  # noqa: PLC0414 - the fixture
from tests.support.devices import ROOT, Device, everybody_up, join, office, wait_for
from tests.support.node_agent import GATED, NodeAgent, joined, listed, recorded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BOOKS = {
    "sea.txt": "The sea, the sea.\nWho calls the sea?\n" * 4000,
    "été.txt": "L\u2019été est là, l'été est court",
}


def goal(folder: Path, capability: str, **params: str) -> list[str | Path]:
    steps = [{"id": "do", "capability": capability, "map": "inputs", "params": params, "deadline_s": 60}]
    (folder / "goal.yaml").write_text(json.dumps({"goal": "do it", "steps": steps}))
    return ["run", "--plan", folder / "goal.yaml", "-i", folder / "books", "-o", folder / "out"]


def judged(node_home: Path, said: list[dict[str, str]]) -> Counter[str]:
    """What `python -m protocol.conformance envelope` thinks of envelopes, by code; each of the agent's audiences is asked for once."""
    node = json.loads((node_home / "node.json").read_text())
    from protocol.certificate import read_certificate

    certificate = read_certificate((node_home / "certificate.bin").read_bytes())
    member = {
        "public_key": certificate.sig.hex(),
        "sender": node["node"],
        "serial": certificate.serial.hex(),
        "expires_ms": certificate.expires * 1000,
    }
    groups: dict[str, list[str]] = defaultdict(list)
    for line in said:
        groups[audience(route(line["subject"]), node["node"])].append(line["hex"])
    codes: Counter[str] = Counter()
    for text, envelopes in groups.items():
        given = {
            "now_ms": int(time.time() * 1000),
            "swarm8": node["swarm_id"][:16],
            "audience": text,
            "members": [member],
            "types": sorted({parse_header(bytes.fromhex(raw)).type for raw in envelopes}),
            "cases": [{"id": str(number), "hex": raw} for number, raw in enumerate(envelopes)],
        }
        done = subprocess.run(
            [sys.executable, "-m", "protocol.conformance", "envelope"],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        codes.update(json.loads(line)["code"] for line in done.stdout.splitlines())
    return codes


def refused_joins(hub: Device, folder: Path, token: str) -> None:
    """Each bad invite is refused in words that say what to do, and leaves no membership behind."""
    stranger = NodeAgent(folder / "stranger")
    broken = token[:-1] + ("a" if token[-1] != "a" else "b")
    for text, code, hint in (
        (token, "E_INVITE_USED", "Ask for a new invite"),
        (broken, "E_", "Copy the whole line"),
        ("", "E_PREFIX", "Copy the whole line"),
    ):
        done = stranger.does("join", stdin=text)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith(code)
        assert hint in done.stderr
        assert not (stranger.home / "node.json").exists()
    fresh = hub.json("invite")["token"]
    nowhere = stranger.does("join", "--server", "127.0.0.1:9", stdin=fresh)
    assert (nowhere.returncode, nowhere.stderr.split(":")[0]) == (1, "E_UNREACHABLE")
    shown = stranger.does("join", fresh)
    assert shown.returncode == 2
    assert fresh not in shown.stdout + shown.stderr


@pytest.mark.requirement("BUS-1")
@pytest.mark.requirement("BUS-2")
@pytest.mark.requirement("BUS-3")
@pytest.mark.requirement("BUS-4")
@pytest.mark.requirement("BUS-5")
@pytest.mark.requirement("BUS-6")
@pytest.mark.requirement("ART-3")
@pytest.mark.requirement("ENV-20")
def test_it_joins_by_an_invite_wins_subtasks_and_delivers_what_the_inputs_say(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    for name, text in BOOKS.items():
        (tmp_path / "books" / name).write_text(text)
    with office(tmp_path, agents={}) as (hub, _):
        token = hub.json("invite")["token"]
        jay = NodeAgent(tmp_path / "jay")
        try:
            jay.join(token)
            refused_joins(hub, tmp_path, token)
            jay.up("--record", tmp_path / "said")
            wait_for("jay up", lambda: listed(hub, "jay").get("state") == "up")
            [card] = listed(hub, "jay")["agents"]  # type: ignore[misc]
            assert card["capabilities"] == ["text.wordcount"]

            assert hub.json(*goal(tmp_path, "text.wordcount"))["outcome"] == "done"
            counted = {}
            for path in (tmp_path / "out").glob("*wordcount.json"):
                [file] = json.loads(path.read_text())["files"]
                counted[file["name"]] = (file["bytes"], file["words"], file["frequent"][:1])
            assert counted == {
                "sea.txt": (len(BOOKS["sea.txt"]), 32_000, [["sea", 12_000]]),
                "été.txt": (len(BOOKS["été.txt"].encode()), 6, [["est", 2]]),
            }
            subtasks = provenance(tmp_path, "out")
            assert {subtask["made_by"] for subtask in subtasks} == {"jay"}

            said = recorded(tmp_path / "said")
            headers = [parse_header(bytes.fromhex(line["hex"])) for line in said]
            assert {Type.HELLO, Type.BID, Type.STARTED, Type.RESULT} <= {header.type for header in headers}
            assert {(header.cls, header.zone) for header in headers} == {(0, 0)}
            assert judged(jay.home, said) == {"OK": len(said)}

            modes = {stat.S_IMODE(path.stat().st_mode) for path in jay.home.iterdir() if path.is_file()}
            assert modes == {0o600}
            before = (jay.home / "certificate.bin").read_bytes()
            assert jay.end(signal.SIGINT) == 0
            wait_for("jay gone", lambda: listed(hub, "jay").get("state") == "gone")
            assert jay.does("renew").returncode == 0
            assert (jay.home / "certificate.bin").read_bytes() != before
            jay.up()
            wait_for("jay up again", lambda: listed(hub, "jay").get("state") == "up")
        finally:
            jay.close()


def test_when_it_is_killed_in_the_middle_another_agent_takes_over_and_a_cancel_reaches_it(
    world: Path,
) -> None:
    with office(world, agents={}) as (hub, _), joined(hub, world / "jay") as jay:
        jay.up("--work", GATED)
        cancelled = start_run(hub, world, "cancelled")
        wait_for("two subtasks at work", lambda: len(begun(world)) == 2)
        first = [int(line.split()[1]) for line in begun(world)]
        hub.json("runs", "cancel", hub.json("runs", "ls")["runs"][0]["run"][-6:])
        cancelled.communicate(timeout=30)
        assert not any(psutil.pid_exists(pid) for pid in first)
        wait_for("no slot in use", lambda: listed(hub, "jay").get("slots_used") == 0)

        (world / "begun").unlink()
        run = start_run(hub, world, "out")
        wait_for("two subtasks at work", lambda: len(begun(world)) == 2)
        jay.end(signal.SIGKILL)
        ada = join(hub, world / "ada", AGENT)
        try:
            ada.up()
            (world / "gate").touch()
            assert finish(run)["outcome"] == "done"
        finally:
            ada.stop()
        assert outputs(world, "out") == ["ONE", "THREE", "TWO"]
        attempts = [
            [(attempt["node"], attempt["status"]) for attempt in subtask["attempts"]]
            for subtask in provenance(world, "out")
        ]
        assert sorted(map(len, attempts)) == [1, 2, 2]
        assert all(tries[-1] == ("ada", "accepted") for tries in attempts)
        assert all(tries[0] == ("jay", "failed") for tries in attempts if len(tries) == 2)


def test_a_halt_ends_its_processes_and_its_bids_and_a_removed_member_is_locked_out(world: Path) -> None:
    with office(world, agents={}) as (hub, _), joined(hub, world / "jay") as jay:
        jay.up("--work", GATED, "--record", world / "said")
        run = start_run(hub, world, "out")
        wait_for("two subtasks at work", lambda: len(begun(world)) == 2)
        pids = [int(line.split()[1]) for line in begun(world)]
        halted = hub.json("halt", "a drill")
        assert [
            (node["name"], node["stopped"])
            for node in halted["nodes"]
            if node["answered"] and node["name"] == "jay"
        ] == [("jay", 2)]
        assert not any(psutil.pid_exists(pid) for pid in pids)
        bids = len(recorded(world / "said"))
        jay.end(signal.SIGKILL)
        jay.up("--work", GATED, "--record", world / "said")
        wait_for("jay says that it is halted", lambda: listed(hub, "jay").get("halted"))
        assert len(begun(world)) == 2
        assert not [
            line
            for line in recorded(world / "said")[bids:]
            if line["subject"].startswith("s.bid.")
            and parse_header(bytes.fromhex(line["hex"])).type == Type.BID
        ]
        (world / "gate").touch()
        hub.json("halt", "--lift")
        assert finish(run)["outcome"] == "done"
        assert outputs(world, "out") == ["ONE", "THREE", "TWO"]

        assert hub.zwerm("nodes", "rm", "jay", "--yes").returncode == 0
        assert jay.process is not None
        assert jay.process.wait(20) == 1
        assert "E_REVOKED" in jay.said() or "E_REFUSED" in jay.said()
        again = jay.does("run")
        assert (again.returncode, again.stderr.split(":")[0]) == (1, "E_REFUSED")
        everybody_up(hub, {"hub"})
