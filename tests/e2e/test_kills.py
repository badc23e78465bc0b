"""kill -9 of either side in the middle of a run: another node takes over, or the coordinator goes on; the result is the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.devices import ROOT, Device, everybody_up, office, wait_for
from tests.support.gated import offered

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

AGENT = offered(1)
TEXTS = {"a.txt": "one", "b.txt": "two", "c.txt": "three"}


@pytest.fixture
def world(tmp_path: Path):
    """Inputs, a plan whose subtasks wait at a gate, and where they say that they began."""
    documents = tmp_path / "documents"
    documents.mkdir()
    for name, text in TEXTS.items():
        (documents / name).write_text(text)
    params = {"gate": str(tmp_path / "gate"), "begun": str(tmp_path / "begun")}
    plan = {
        "goal": "shout",
        "steps": [{"id": "shout", "capability": "test.shout", "map": "inputs", "params": params}],
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    return tmp_path


def start_run(device: Device, world: Path, out: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mesh",
            "run",
            "--plan",
            str(world / "plan.yaml"),
            "-i",
            str(world / "documents"),
            "-o",
            str(world / out),
            "--json",
            "--home",
            str(device.home),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout[-2000:] + stderr[-2000:]
    return json.loads(stdout.splitlines()[-1])


def begun(world: Path) -> list[str]:
    path = world / "begun"
    return path.read_text().splitlines() if path.exists() else []


def outputs(world: Path, out: str) -> list[str]:
    return sorted(path.read_text() for path in (world / out).glob("shout*.txt"))


def provenance(world: Path, out: str) -> list[dict]:
    return json.loads((world / out / "provenance.json").read_text())["subtasks"]


def test_a_node_killed_in_the_middle_of_its_subtask_is_replaced_and_both_attempts_are_on_record(world: Path):
    with office(world, agents={"ada": AGENT, "bob": AGENT}) as (hub, devices):
        process = start_run(hub, world, "out")
        wait_for("two nodes at work", lambda: len(begun(world)) >= 2)
        devices["ada"].kill()
        (world / "gate").touch()
        summary = finish(process)
        assert summary["outcome"] == "done"
        assert outputs(world, "out") == ["ONE", "THREE", "TWO"]
        subtasks = provenance(world, "out")
        assert {subtask["made_by"] for subtask in subtasks} == {"bob"}
        taken_over = [subtask for subtask in subtasks if len(subtask["attempts"]) > 1]
        assert taken_over
        for subtask in taken_over:  # one was running on ada, another may have waited there
            attempts = [(attempt["node"], attempt["status"]) for attempt in subtask["attempts"]]
            assert attempts == [("ada", "failed"), ("bob", "accepted")]


def test_a_coordinator_killed_in_the_middle_goes_on_where_it_was_and_counts_nothing_twice(world: Path):
    with office(world, agents={"ada": AGENT, "bob": AGENT}) as (hub, devices):
        client = devices["ada"]
        process = start_run(client, world, "out")
        wait_for("two nodes at work", lambda: len(begun(world)) >= 2)
        hub.kill()
        (world / "gate").touch()  # the workers finish while nobody listens
        hub.up()
        summary = finish(process)
        assert summary["outcome"] == "done"
        assert outputs(world, "out") == ["ONE", "THREE", "TWO"]
        subtasks = provenance(world, "out")
        for subtask in subtasks:
            accepted = [attempt for attempt in subtask["attempts"] if attempt["status"] == "accepted"]
            assert len(accepted) == 1
        # what was running when the coordinator died was not done again
        assert len(begun(world)) == len(TEXTS)
        everybody_up(hub, {"ada", "bob", "hub"})


def test_a_run_can_be_cancelled_and_its_workers_stop(world: Path):
    with office(world, agents={"ada": AGENT}) as (hub, _):
        process = start_run(hub, world, "out")
        wait_for("a node at work", lambda: begun(world))
        run = hub.json("runs", "ls")["runs"][0]["run"]
        hub.json("runs", "cancel", run[-6:])
        stdout, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert json.loads(stdout.splitlines()[-1])["outcome"] == "cancelled"

        def idle() -> bool:
            return all(node["slots_used"] == 0 for node in hub.json("nodes")["nodes"])

        wait_for("no slot in use", idle)


def test_a_run_is_paused_goes_on_and_delivers_without_a_subtask_that_was_stopped(world: Path):
    with office(world, agents={"ada": AGENT}) as (hub, _):
        process = start_run(hub, world, "out")
        wait_for("a node at work", lambda: begun(world))
        run = hub.json("runs", "ls")["runs"][0]["run"]
        paused = hub.json("runs", "pause", run[-6:], "--reason", "lunch")
        assert paused["paused"]
        assert 1 <= paused["working"] < len(TEXTS)

        def states() -> list[str]:
            return sorted(entry["status"] for entry in hub.json("runs", "show", run[-6:])["subtask_list"])

        shown = hub.json("runs", "show", run[-6:])
        at_work = [entry["live"][0] for entry in shown["subtask_list"] if entry["live"]]
        assert {live["node_name"] for live in at_work} == {"ada"}
        waiting = next(entry["id"] for entry in shown["subtask_list"] if entry["status"] == "open")
        assert (
            hub.json("runs", "cancel", run[-6:], waiting, "--reason", "not needed")["status"] == "cancelling"
        )
        (world / "gate").touch()
        wait_for("nothing to be at work", lambda: "awarded" not in states())
        now = states()
        assert now.count("cancelled") == 1
        assert "accepted" in now
        if "open" in now:
            hub.json("runs", "resume", run[-6:])
        stdout, _ = process.communicate(timeout=60)
        last = json.loads(stdout.splitlines()[-1])
        assert (process.returncode, last["outcome"], last["code"]) == (6, "partial", "E_CANCELLED")
        assert f"{waiting}: cancelled: not needed" in last["message"]
        assert len(outputs(world, "out")) == len(TEXTS) - 1


def test_the_same_goal_with_and_without_a_kill_gives_the_same_report_byte_for_byte(tmp_path: Path):
    from agent_node.documents.samples import sample_files

    documents = tmp_path / "documents"
    documents.mkdir()
    for sample in sample_files():
        (documents / sample.name).write_bytes(sample.read_bytes())
    goal = ["run", "Report on this folder", "-i", str(documents)]
    with office(tmp_path, agents={"ada": "", "bob": ""}) as (hub, devices):
        hub.json(*goal, "-o", tmp_path / "calm")
        devices["bob"].kill()
        hub.json(*goal, "-o", tmp_path / "killed")
    calm, killed = (tmp_path / name for name in ("calm", "killed"))
    assert (calm / "report.md").read_bytes() == (killed / "report.md").read_bytes()
    assert (calm / "table.csv").read_bytes() == (killed / "table.csv").read_bytes()
    nodes = [json.loads((folder / "provenance.json").read_text())["nodes"] for folder in (calm, killed)]
    assert nodes == [["ada", "bob"], ["ada"]]
