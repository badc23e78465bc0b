"""An agent in plain Node, which has nothing of zwerm but SPEC.md, is a device like any other: it joins, bids, delivers, is replaced, obeys, and is locked out."""

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
from tests.support.devices import ROOT, join, office, wait_for
from tests.support.node_agent import GATED, NodeAgent, joined, listed, recorded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

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


def refused_joins(folder: Path, used: str) -> None:
    """An invite that was used, and one among the command's words, are refused, and leave no membership behind."""
    stranger = NodeAgent(folder / "stranger")
    late = stranger.does("join", stdin=used)
    assert (late.returncode, late.stderr.split(":")[0]) == (1, "E_INVITE_USED")
    assert "Ask for a new invite" in late.stderr
    shown = stranger.does("join", used)
    assert shown.returncode == 2
    assert used not in shown.stdout + shown.stderr
    assert not (stranger.home / "node.json").exists()


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
            away = jay.does("join", "--server", "127.0.0.1:9", stdin=token)
            assert (away.returncode, away.stderr.split(":")[0]) == (1, "E_UNREACHABLE")
            jay.join(token)
            refused_joins(tmp_path, token)
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
            hub.stop()
            hub.up()
            wait_for("jay comes back by itself", lambda: "connected to the bus again" in jay.said())
            wait_for("jay up again", lambda: listed(hub, "jay").get("state") == "up")
            assert jay.end() == 0
            assert jay.does("leave").returncode == 0
            assert not jay.home.exists()
        finally:
            jay.close()


def at_work(folder: Path, before: int = 0) -> list[int]:
    """Wait for two subtasks that began after so many others; the processes that do them."""
    wait_for("two subtasks at work", lambda: len(begun(folder)) == before + 2)
    return [int(line.split()[1]) for line in begun(folder)[before:]]


def said_bids(path: Path) -> int:
    """How many bids a `--record` file has."""
    return sum(parse_header(bytes.fromhex(line["hex"])).type == Type.BID for line in recorded(path))


@pytest.mark.requirement("HLT-3")
def test_it_obeys_a_halt_and_a_cancel_is_replaced_when_killed_and_locked_out_when_removed(
    world: Path,
) -> None:
    with office(world, agents={}) as (hub, _), joined(hub, world / "jay") as jay:
        jay.up("--work", GATED, "--record", world / "said")
        cancelled = start_run(hub, world, "cancelled")
        pids = at_work(world)
        halted = {node["name"]: node for node in hub.json("halt", "a drill")["nodes"]}
        assert (halted["jay"]["answered"], halted["jay"]["stopped"]) == (True, 2)
        assert not any(psutil.pid_exists(pid) for pid in pids)

        bids = said_bids(world / "said")
        jay.end(signal.SIGKILL)
        jay.up("--work", GATED, "--record", world / "said")
        wait_for("jay says that it is halted", lambda: listed(hub, "jay").get("halted"))
        assert (len(begun(world)), said_bids(world / "said")) == (2, bids)
        hub.json("halt", "--lift")

        pids = at_work(world, before=2)
        assert said_bids(world / "said") > bids
        assert cancelled.stdout is not None
        hub.json("runs", "cancel", json.loads(cancelled.stdout.readline())["run"][-6:])
        cancelled.communicate(timeout=60)
        assert not any(psutil.pid_exists(pid) for pid in pids)

        run = start_run(hub, world, "out")
        at_work(world, before=4)
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
        assert sorted(attempts) == [
            [("ada", "accepted")],
            [("jay", "failed"), ("ada", "accepted")],
            [("jay", "failed"), ("ada", "accepted")],
        ]

        jay.up("--work", GATED)
        assert hub.zwerm("nodes", "rm", "jay", "--yes").returncode == 0
        assert jay.process is not None
        assert jay.process.wait(30) == 1
        assert "E_REVOKED" in jay.said() or "E_REFUSED" in jay.said()
        again = jay.does("run")
        assert (again.returncode, again.stderr.split(":")[0]) == (1, "E_REFUSED")
