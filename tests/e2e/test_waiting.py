"""Work that waits for a person is shown as that, and what an attempt leaves unfinished is where the next one begins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.test_kills import finish, start_run
from tests.support.devices import office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

AGENT = """
[agent]
documents = false
[[agents]]
name = "careful"
adapter = "python"
target = "tests.support.careful:write"
capability = "test.write"
estimate = {tokens = 1000}
"""


def test_a_question_to_a_person_is_seen_and_half_of_the_work_is_not_lost(tmp_path: Path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.txt").write_text("a")
    params = {"gate": str(tmp_path / "gate")}
    step = {"id": "write", "capability": "test.write", "map": "inputs", "params": params}
    (tmp_path / "plan.yaml").write_text(json.dumps({"goal": "write", "steps": [step]}))
    with office(tmp_path, agents={"ada": AGENT}) as (hub, _):
        process = start_run(hub, tmp_path, "out")

        def asks() -> dict | None:
            for run in hub.json("runs", "ls")["runs"]:
                [subtask] = hub.json("runs", "show", run["run"][-6:])["subtask_list"]
                for attempt in subtask["attempts"]:
                    if attempt["state"] == "person":
                        return attempt
            return None

        attempt = wait_for("the question is shown", asks)
        assert attempt["note"] == "Which half?"
        (tmp_path / "gate").touch()
        assert finish(process)["outcome"] == "done"
        [made] = (tmp_path / "out").glob("**/whole*.txt")
        assert made.read_text() == "half and whole"
        run = hub.json("runs", "ls")["runs"][0]["run"]
        [subtask] = hub.json("runs", "show", run[-6:])["subtask_list"]
        first, second = subtask["attempts"]
        assert (first["code"], first["used"]["tokens"], [one["name"] for one in first["partial"]]) == (
            "E_LIMITED",
            700,
            ["draft.txt"],
        )
        assert second["status"] == "accepted"
