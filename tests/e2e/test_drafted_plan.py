"""A goal that no rule fits, and an agent that drafts plans: the draft is shown, mended, written down, carried out; with the real command and real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import ROOT, Device, office

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

GOAL = "Write every text of mine in big letters"


def settings(folder: Path) -> str:
    """A device that drafts plans and shouts."""
    return (
        "[agent]\n"
        '[[agents]]\nname = "model"\nadapter = "python"\ntarget = "tests.support.drafter:draft"\ncapability = "plan.draft"\n'
        f"env = {{ZWERM_TEST_DRAFTER = {json.dumps(str(folder))}, PYTHONPATH = {json.dumps(str(ROOT))}}}\n"
        f'[[agents]]\nname = "shout"\nadapter = "python"\ntarget = {json.dumps(str(ROOT / "examples" / "shout_agent.py") + ":shout")}\n'
        'capability = "text.shout"\ndescription = "Writes a text in capitals"\n'
    )


def answer(capability: str = "text.shout") -> dict[str, Any]:
    task = {
        "id": "t1",
        "capability": capability,
        "task": "Write it in capitals",
        "from": "each file",
        "expect": "capitals",
    }
    return {"steps": [task]}


class Desk:
    """A person's device, two files, and what the model will answer."""

    def __init__(self, hub: Device, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        for name in ("one", "two"):
            (self.files / f"{name}.txt").write_text(f"text {name}")

    def will_answer(self, *replies: dict[str, Any]) -> None:
        (self.folder / "replies.json").write_text(json.dumps(replies))
        (self.folder / "asked.jsonl").unlink(missing_ok=True)

    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]

    def run(self, *more: str | Path) -> Any:
        return self.hub.zwerm("run", GOAL, "-i", self.files, "-o", self.folder / "out", *more)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("drafted")
    with office(folder, agents={"mia": settings(folder)}) as (hub, _):
        yield Desk(hub, folder)


def test_a_goal_that_no_rule_fits_is_planned_by_a_model_and_done(desk: Desk):
    desk.will_answer(answer())
    done = desk.run()
    assert done.returncode == 0, done.stderr
    assert "No rule fits this goal" in done.stderr
    assert "drafted by mia" in done.stderr
    written = sorted(path.read_text() for path in (desk.folder / "out").glob("*.txt"))
    assert written == ["TEXT ONE", "TEXT TWO"]
    [asked] = desk.asked()
    assert asked["goal"] == GOAL
    assert [file["name"] for file in asked["files"]] == ["one.txt", "two.txt"]
    assert "text one" not in json.dumps(asked)


TABLE = {
    "steps": [
        {"id": "t1", "capability": "table.assemble", "task": "A table", "from": "all files", "expect": "rows"}
    ]
}
"""It fits the schema, but makes no plan: tables are made of what was found, not of files."""


def test_a_draft_that_makes_no_plan_is_asked_for_again_with_the_reason(desk: Desk):
    desk.will_answer(TABLE, answer())
    done = desk.run("--planner", "llm")
    assert done.returncode == 0, done.stderr
    first, second = desk.asked()
    assert "problem" not in first
    assert "table.assemble takes results of text.extract, and is given files" in second["problem"]


def test_after_three_drafts_that_make_no_plan_the_goal_is_refused_and_nothing_begun(desk: Desk):
    desk.will_answer(TABLE)
    done = desk.run("--planner", "llm")
    assert done.returncode == 2, done.stderr
    assert "3 drafts made no plan" in done.stderr
    assert "--plan plan.yaml" in done.stderr
    assert len(desk.asked()) == 3
    assert all(run["goal"].startswith("Plan: ") for run in desk.hub.json("runs", "ls")["runs"][:3])


def test_a_plan_can_be_written_down_changed_and_carried_out(desk: Desk):
    desk.will_answer(answer())
    only = desk.run("--plan-only")
    assert only.returncode == 0, only.stderr
    plan = desk.folder / "plan.yaml"
    plan.write_text(only.stdout.replace("map: inputs", "map: ['two*']"))
    before = len(desk.hub.json("runs", "ls")["runs"])
    done = desk.hub.zwerm("run", "--plan", plan, "-i", desk.files, "-o", desk.folder / "again")
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in (desk.folder / "again").glob("*.txt")] == ["TEXT TWO"]
    assert len(desk.hub.json("runs", "ls")["runs"]) == before + 1
    assert len(desk.asked()) == 1


def test_leave_is_asked_only_where_somebody_can_give_it(desk: Desk):
    desk.will_answer(answer())
    done = desk.run("--approve", "plan")
    assert done.returncode == 2
    assert "--plan-only" in done.stderr


def test_without_a_model_it_is_said_what_rules_understand_and_what_would_help(tmp_path: Path):
    with office(tmp_path, agents={"ada": ""}) as (hub, _):
        (tmp_path / "one.txt").write_text("text")
        done = hub.zwerm("run", GOAL, "-i", tmp_path / "one.txt")
        assert done.returncode == 2
        assert "E_GOAL" in done.stderr
        wanted = hub.zwerm("run", GOAL, "-i", tmp_path / "one.txt", "--planner", "llm")
        assert wanted.returncode == 9
        assert "plan.draft" in wanted.stderr
        assert "--plan plan.yaml" in wanted.stderr
