"""Files, folders and names as people really have them: a run names what it leaves out and why, and goes on with the rest."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.bad_files import MIS_ENCODED, NOT_READ, NOT_TAKEN
from tests.support.devices import ROOT, Device, office

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

GOAL = "Find every date and amount in these documents"
GOOD = "Paid 1,234.50 EUR on 14 March 2026.\n"
ORDINARY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Runs a command as a user whom file modes bind, also when the tests run as root."""

LAUGHS = (
    "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    + "steps: []\n"
)
"""A small file that stands for 43 million values."""


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """One device that does everything itself."""
    with office(tmp_path_factory.mktemp("swarm"), agents={}, hub_agent=True) as (hub, _):
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; whatever ends up in it can be deleted."""
    documents = tmp_path / "documents"
    documents.mkdir()
    yield documents
    for path in documents.iterdir():
        if not path.is_symlink():
            path.chmod(0o700)


def run(device: Device, *arguments: str | Path) -> tuple[int, dict, str]:
    """Exit code, last document and stderr of a run; never a traceback."""
    done = device.zwerm("run", *arguments, "--json", wrapper=ORDINARY)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def error_of(device: Device, *arguments: str | Path, code: int) -> dict:
    """The error of a command that must fail with this exit code; it always says what to do next."""
    done = device.zwerm(*arguments, "--json")
    assert "Traceback" not in done.stderr + done.stdout, done.stderr[-3000:]
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["message"]
    assert error["hint"]
    return error


def test_every_file_that_cannot_be_used_is_named_with_its_reason_and_the_rest_is_done(
    swarm: Device, folder: Path, tmp_path: Path
):
    for name, (make, _) in {**NOT_TAKEN, **NOT_READ}.items():
        make(folder / name)
    for name, make in MIS_ENCODED.items():
        make(folder / name)
    (folder / "good.txt").write_text(GOOD)
    code, summary, stderr = run(swarm, GOAL, "-i", folder, "-o", tmp_path / "out")
    assert (code, summary["outcome"]) == (6, "partial"), summary
    report = (tmp_path / "out" / "report.md").read_text()
    listed = {entry["name"]: entry["code"] for entry in summary["skipped"]}
    for name, (_, why) in NOT_TAKEN.items():
        assert listed[name] == why
        assert name in stderr
        assert name in report
    for name in NOT_READ:
        assert name in report
    table = report[report.index("## Skipped files") :]
    for name in [*NOT_TAKEN, *NOT_READ]:
        [line] = [line for line in table.splitlines() if line.startswith("|") and name in line]
        assert len(line.split("|")[2].strip()) > 12, f"no reason: {line}"
    assert "14 March 2026" in (tmp_path / "out" / "table.csv").read_text() or "2026-03-14" in report
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    codes = {
        subtask["label"].removeprefix("read "): subtask["attempts"][-1].get("code")
        for subtask in record["subtasks"]
        if subtask["capability"] == "doc.read"
    }
    for name, (_, why) in NOT_READ.items():
        assert codes[name] == why
    # nothing is tried again that is bound to fail again
    assert all(
        len(subtask["attempts"]) == 1 for subtask in record["subtasks"] if subtask["capability"] == "doc.read"
    )


def test_files_with_odd_names_are_read_and_never_upset_a_terminal(swarm: Device, tmp_path: Path):
    folders = []
    for number in (1, 2):
        base = tmp_path / f"documents{number}"
        base.mkdir()
        folders += ["-i", base]
        names = [
            "same.csv",
            "same (2).csv",
            "-rf.txt",
            "new\nline.txt",
            "ünïcödé 漢字 🙂.txt",
            "x" * 251 + ".txt",
        ]
        names += ["esc\x1b[31mred.txt", "rtl\u202etxt.exe.txt", "'; rm -rf ~.txt", "<b>|`*_.md", "..."]
        for name in names:
            (base / name).write_text("item,price\npaid 12.50 EUR,14 March 2026\n")
        os.close(os.open(bytes(base) + b"/latin-\xe9.txt", os.O_CREAT | os.O_WRONLY))
        (base / os.fsdecode(b"latin-\xe9.txt")).write_text(GOOD)
        deep = base
        for _ in range(4):
            deep = deep / ("d" * 100)
        deep.mkdir(parents=True)
        (deep / "deep.txt").write_text(GOOD)
    code, summary, stderr = run(swarm, GOAL, *folders, "-o", tmp_path / "out")
    assert (code, summary["outcome"]) == (0, "done"), summary
    assert summary["skipped"] == []
    rows = (tmp_path / "out" / "table.csv").read_text()
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    inputs = [entry["name"] for entry in record["inputs"]]
    assert len(inputs) == len(set(inputs)) == 24  # names with a leading dot stay out
    assert {"same.csv", "same (2).csv", "-rf.txt"} <= set(inputs)
    assert all(Path(name).suffix in {".csv", ".txt", ".md"} for name in inputs), inputs
    for text in (rows, (tmp_path / "out" / "report.md").read_text(), stderr):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_file_that_vanishes_between_listing_and_reading_is_named(
    swarm: Device, folder: Path, tmp_path: Path
):
    (folder / "good.txt").write_text(GOOD)
    (folder / "gone.txt").write_text(GOOD)
    (folder / "empty.txt").touch()  # what is said about it says that the listing is done
    assert swarm.process is not None
    [bus] = [child for child in psutil.Process(swarm.process.pid).children() if "nats-server" in child.name()]
    bus.suspend()
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mesh",
                "run",
                GOAL,
                "-i",
                str(folder),
                "-o",
                str(tmp_path / "out"),
                "--json",
                "--home",
                str(swarm.home),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert process.stderr is not None
        assert "empty.txt" in process.stderr.readline()
        (folder / "gone.txt").unlink()
    finally:
        bus.resume()
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 0, stdout[-2000:] + stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert {entry["name"]: entry["code"] for entry in summary["skipped"]} == {
        "empty.txt": "E_EMPTY",
        "gone.txt": "E_VANISHED",
    }
    report = (tmp_path / "out" / "report.md").read_text()
    assert "gone.txt" in report
    assert "Traceback" not in stderr


def test_three_thousand_useless_files_do_not_hide_the_good_one(swarm: Device, folder: Path, tmp_path: Path):
    for number in range(3000):
        (folder / f"empty-file-with-a-rather-long-name-{number:04}.txt").touch()
    (folder / "good.txt").write_text(GOOD)
    code, summary, stderr = run(swarm, GOAL, "-i", folder, "-o", tmp_path / "out")
    assert (code, summary["outcome"]) == (0, "done"), summary
    assert len(stderr.splitlines()) < 20
    assert "2026" in (tmp_path / "out" / "table.csv").read_text()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.mkdir(), "empty"),
        (lambda path: None, "No such file"),
        (lambda path: path.touch(), "empty"),
        (lambda path: (path.mkdir(), (path / "a.txt").touch()), "a.txt"),
    ],
    ids=["an empty folder", "nothing there", "an empty file", "a folder of empty files"],
)
def test_nothing_to_work_on_is_said_before_the_swarm_is_asked(swarm: Device, tmp_path: Path, make, words):
    make(tmp_path / "given")
    error = error_of(swarm, "run", GOAL, "-i", tmp_path / "given", code=2)
    assert error["code"] == "E_INPUT"
    assert words in error["message"]


@pytest.mark.parametrize("goal", ["Delete everything", "Book a flight to Rome", "", "?!", "x" * 9000])
def test_a_goal_that_no_rule_understands_is_answered_with_those_that_are(
    swarm: Device, folder: Path, goal: str
):
    (folder / "good.txt").write_text(GOOD)
    error = error_of(swarm, "run", goal, "-i", folder, code=2)
    if 2 < len(goal) < 8000:
        assert error["code"] == "E_GOAL"
        for shape in ("extract", "summarize", "table", "report"):
            assert shape in error["hint"]
        assert "--plan" in error["hint"]


@pytest.mark.parametrize(
    ("plan", "place"),
    [
        ("steps: [", "line"),
        ("- just\n- a list\n", "steps"),
        ("steps: []\n", "steps"),
        ("steps:\n  - {id: a, capability: doc.read, maps: inputs}\n", "step 1 (a), maps"),
        ("steps:\n  - {id: a, capability: Doc Read, map: inputs}\n", "step 1 (a), capability"),
        ("steps:\n  - {id: a, capability: doc.read, reduce: b}\n  - {id: b, capability: doc.read, reduce: a}\n", "'b'"),
        ("steps:\n  - {id: a, capability: doc.read, after: a}\n", "'a'"),
        ("steps:\n  - {id: a, capability: doc.read}\n  - {id: a, capability: doc.read}\n", "same id"),
        ("steps:\n  - {id: a, capability: doc.read, map: '*.pdf'}\n", "*.pdf"),
        ("steps:\n  - {id: a, capability: doc.read, params: {n: !!binary aGk=}}\n", "steps[1].params.n"),
        ("steps:\n  - {id: a, capability: doc.read, tries: 99}\n", "tries"),
        ("steps:\n  - {id: a, capability: doc.read, params: {n: .nan}}\n", "nan"),
        ("{" * 3000, "YAML"),
        (LAUGHS, "10,000 values"),
        ("steps: &a [*a]\n", "nested too deeply"),
        ("steps:\n  - {id: a, capability: doc.read, deadline_s: -1}\n", "step 1 (a), deadline_s"),
        ("steps:\n  - {id: a, capability: doc.read, deadline_s: 1180591620717411303424}\n", "an integer of 71 bits"),
        ("\x00\x01\x02", ""),
    ],
)  # fmt: skip
def test_a_plan_file_that_is_wrong_is_refused_with_the_place(
    swarm: Device, folder: Path, plan: str, place: str
):
    (folder / "good.txt").write_text(GOOD)
    path = folder.parent / "plan.yaml"
    path.write_text(plan)
    error = error_of(swarm, "run", "--plan", path, "-i", folder, code=2)
    assert error["code"] == "E_PLAN"
    assert place in error["message"]


def test_a_plan_of_a_hundred_thousand_subtasks_is_refused_and_costs_the_coordinator_nothing(
    swarm: Device, folder: Path, tmp_path: Path
):
    for number in range(200):
        (folder / f"{number:03}.txt").write_text("x")
    step = "  - {{id: s{}, capability: doc.read, map: inputs, params: {{n: [1, 2, 3]}}}}\n"
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps:\n" + "".join(step.format(number) for number in range(500)))
    assert swarm.process is not None
    process = psutil.Process(swarm.process.pid)
    before, known = process.memory_info().rss, swarm.json("runs", "ls")["runs"]
    error = error_of(swarm, "run", "--plan", plan, "-i", folder, code=2)
    assert error["code"] == "E_PLAN"
    assert "step 101 (s100): the plan has 20,200 subtasks so far, and 20,000 is the most" in error["message"]
    assert process.memory_info().rss - before < 64 << 20
    assert swarm.json("runs", "ls")["runs"] == known
    (folder / "good.txt").write_text(GOOD)
    code, summary, _ = run(swarm, GOAL, "-i", folder / "good.txt", "-o", tmp_path / "out")
    assert (code, summary["outcome"]) == (0, "done")


def test_a_plan_file_that_is_missing_or_no_text_is_refused(swarm: Device, folder: Path):
    assert error_of(swarm, "run", "--plan", folder / "none.yaml", code=2)["code"] == "E_PLAN"
    (folder / "latin.yaml").write_bytes(b"goal: \xe9\xff")
    assert error_of(swarm, "run", "--plan", folder / "latin.yaml", code=2)["code"] == "E_PLAN"


def test_a_goal_that_nobody_can_do_says_what_is_missing_and_who_was_asked(
    swarm: Device, folder: Path, tmp_path: Path
):
    (folder / "good.txt").write_text(GOOD)
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps:\n  - {id: sing, capability: audio.sing, map: inputs}\n")
    code, summary, _ = run(swarm, "--plan", plan, "-i", folder, "-o", tmp_path / "out")
    assert (code, summary["outcome"]) == (9, "unbid"), summary
    assert "audio.sing" in summary["message"]
    assert summary["hint"]
    assert not (tmp_path / "out").exists()


def test_a_goal_that_everybody_declines_names_each_who_was_asked_and_why_not(tmp_path: Path):
    strict = "[agent]\nmax_input_mib = 1\n"
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps:\n  - {id: read, capability: doc.read, map: inputs}\n")
    with office(tmp_path, agents={"ada": strict, "bob": strict}) as (hub, _):
        documents = tmp_path / "documents"
        documents.mkdir()
        (documents / "big.txt").write_text("Paid 12 EUR on 1 May 2026.\n" * 50_000)
        code, summary, _ = run(hub, "--plan", plan, "-i", documents, "-o", tmp_path / "out")
        assert (code, summary["outcome"]) == (9, "unbid"), summary
        for name in ("ada", "bob"):
            assert name in summary["message"]
        assert "documents takes 1,048,576" in summary["message"]
        shown = hub.json("runs", "show", summary["run"])
        assert shown["outcome"] == "unbid"


def test_results_that_cannot_be_written_are_said_and_stay_in_the_swarm(
    swarm: Device, folder: Path, tmp_path: Path
):
    (folder / "good.txt").write_text(GOOD)
    (tmp_path / "out").write_text("a file where the folder should be")
    done = swarm.zwerm("run", GOAL, "-i", folder, "-o", tmp_path / "out", "--json")
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "artifacts" in error["hint"]


@pytest.mark.parametrize("when", ["run.opened", "attempt.started"])
def test_ctrl_c_cancels_the_run_as_soon_as_it_was_handed_in(swarm: Device, tmp_path: Path, when: str):
    documents = tmp_path / "documents"
    documents.mkdir()
    for number in range(300):
        (documents / f"{number}.txt").write_text(GOOD * 50)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mesh",
            "run",
            GOAL,
            "-i",
            str(documents),
            "--json",
            "--home",
            str(swarm.home),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    while when not in (line := process.stdout.readline()):
        assert line, "the run ended first"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout[-1000:] + stderr
    assert "Traceback" not in stderr
    assert json.loads(stdout.splitlines()[-1])["error"]["code"] == "E_INTERRUPTED"

    run = json.loads(line)["run"]
    newest = swarm.json("runs", "ls")["runs"][0]
    assert (newest["run"], newest["outcome"]) == (run, "cancelled")
