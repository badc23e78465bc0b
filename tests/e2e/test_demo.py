"""`zwerm demo`: a whole swarm for a moment, the same report whoever dies, and nothing left behind however it ends."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from agent_node.documents.samples import sample_files
from tests.support.demo import DEMO_NODES, Demo, running_demo
from tests.support.devices import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

COPIES = 6


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough documents for a run to have a middle."""
    folder = tmp_path_factory.mktemp("demo") / "documents"
    for number in range(COPIES):
        part = folder / f"year-{2019 + number}"
        part.mkdir(parents=True)
        for sample in sample_files():
            (part / sample.name).write_bytes(sample.read_bytes())
    return folder


@pytest.fixture(scope="module")
def undisturbed(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What comes out when nobody is killed."""
    base = tmp_path_factory.mktemp("calm")
    with running_demo(base / "out", base / "tmp", "-i", documents) as demo:
        assert demo.end() == 0, demo.said()
    return base / "out"


def in_the_middle(demo: Demo, node: str) -> None:
    """Wait until the node has delivered something and has something else in hand."""

    def busy() -> bool:
        taken = {event["subtask"] for event in demo.events("attempt.started") if event["node_name"] == node}
        done = {event["subtask"] for event in demo.events("subtask.accepted")}
        return bool(taken & done) and bool(taken - done)

    demo.wait_until(f"{node} in the middle of its work", busy)


def provenance(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text())


def nothing_left(demo: Demo, processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert [process.cmdline() for process in alive if process.is_running()] == []
    assert demo.members() == []


def test_the_demo_leaves_a_report_a_table_and_who_made_what_by_which_bid(tmp_path: Path):
    with running_demo(tmp_path / "out", tmp_path / "tmp") as demo:
        assert demo.end() == 0, demo.said()
        out = tmp_path / "out"
        assert sorted(path.name for path in out.iterdir()) == ["provenance.json", "report.md", "table.csv"]
        report = (out / "report.md").read_text()
        assert all(sample.name in report for sample in sample_files())
        rows = (out / "table.csv").read_text().splitlines()
        assert rows[0].startswith("document,")
        assert len(rows) > len(sample_files())
        record = provenance(out)
        assert set(record["nodes"]) == DEMO_NODES
        for subtask in record["subtasks"]:
            assert subtask["made_by"] in DEMO_NODES
            assert subtask["bid"]["price"] > 0
            assert subtask["inputs"]
        # with --json: one object a line on stdout and not a word elsewhere
        assert demo.errors == []
        assert {event["schema"] for event in demo.events()} == {"zwerm.event/1", "zwerm.run/1"}
        assert demo.summary["outcome"] == "done"
        assert demo.states() == []
        nothing_left(demo, [])


@pytest.mark.parametrize("victim", sorted(DEMO_NODES))
def test_killing_any_node_in_the_middle_changes_the_provenance_and_not_a_byte_of_the_report(
    victim: str, documents: Path, undisturbed: Path, tmp_path: Path
):
    with running_demo(tmp_path / "out", tmp_path / "tmp", "-i", documents) as demo:
        in_the_middle(demo, victim)
        demo.node(victim).kill()
        assert demo.end() == 0, demo.said()
        for name in ("report.md", "table.csv"):
            assert (tmp_path / "out" / name).read_bytes() == (undisturbed / name).read_bytes()
        record = provenance(tmp_path / "out")
        lost = [
            attempt
            for subtask in record["subtasks"]
            for attempt in subtask["attempts"]
            if attempt["node"] == victim and attempt["status"] != "accepted"
        ]
        assert lost, "the killed node had something in hand"
        assert all(subtask["made_by"] in DEMO_NODES for subtask in record["subtasks"])
        assert record["subtasks"] != provenance(undisturbed)["subtasks"]
        assert demo.states() == []
        nothing_left(demo, [])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_takes_everything_away_that_it_had_started(
    how: signal.Signals, documents: Path, tmp_path: Path
):
    with running_demo(tmp_path / "out", tmp_path / "tmp", "-i", documents) as demo:
        in_the_middle(demo, "ada")
        processes = demo.process_tree()
        assert len(processes) >= len(DEMO_NODES) + 3  # also the coordinator, its bus, the run's client
        demo.process.send_signal(how)
        assert demo.end(60) == 130, demo.said()
        assert demo.states() == []
        nothing_left(demo, processes)
        assert "Traceback" not in "".join(demo.errors)


def test_a_demo_that_is_interrupted_while_it_starts_takes_everything_away(tmp_path: Path):
    with running_demo(tmp_path / "out", tmp_path / "tmp") as demo:
        demo.wait_until("the first daemon", lambda: demo.states() and demo.process_tree())
        processes = demo.process_tree()
        demo.process.send_signal(signal.SIGINT)
        assert demo.end(60) == 130, demo.said()
        assert demo.states() == []
        nothing_left(demo, processes)
        assert "Traceback" not in "".join(demo.errors)


def test_the_nodes_of_a_killed_demo_notice_and_stop_by_themselves(documents: Path, tmp_path: Path):
    with running_demo(tmp_path / "out", tmp_path / "tmp", "-i", documents) as demo:
        in_the_middle(demo, "bob")
        processes = demo.process_tree()
        demo.process.kill()
        demo.end(10)
        nothing_left(demo, processes)


def test_the_next_demo_takes_away_the_state_of_a_killed_one(tmp_path: Path):
    with running_demo(tmp_path / "out", tmp_path / "tmp") as demo:
        demo.wait_until("the first daemon", lambda: demo.states() and demo.process_tree())
        processes = demo.process_tree()
        demo.process.kill()
        demo.end(10)
        nothing_left(demo, processes)
        left = demo.states()
        assert left
    with running_demo(tmp_path / "out", tmp_path / "tmp") as demo:
        assert demo.end() == 0, demo.said()
        assert demo.states() == []


def test_a_demo_on_a_folder_that_does_not_exist_says_so_before_it_starts_anything(tmp_path: Path):
    with running_demo(tmp_path / "out", tmp_path / "tmp", "-i", tmp_path / "nowhere") as demo:
        assert demo.end() in (1, 2), demo.said()
        error = demo.summary["error"]
        assert "nowhere" in error["message"]
        assert error["hint"]
        assert demo.states() == []
        assert not (tmp_path / "out").exists()


def test_two_demos_at_a_time_do_not_meet(tmp_path: Path):
    with (
        running_demo(tmp_path / "one", tmp_path / "tmp1") as one,
        running_demo(tmp_path / "two", tmp_path / "tmp2") as two,
    ):
        assert one.end() == 0, one.said()
        assert two.end() == 0, two.said()
        wait_for("both reports", lambda: (tmp_path / "two" / "report.md").exists())
        reports = [(tmp_path / name / "report.md").read_bytes() for name in ("one", "two")]
        assert reports[0] == reports[1]
