"""Agents of different kinds do one goal over real files in a real swarm: one that speaks ACP, on two devices, and a Python function."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_kills import begun, finish, provenance, start_run
from tests.support.devices import ROOT, Device, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ACP = f"""
[agent]
documents = false
slots = 1
[[agents]]
name = "scripted"
adapter = "acp"
argv = [{json.dumps(sys.executable)}, "-I", {json.dumps(str(ROOT / "tests/support/agent_acp.py"))}, "gated"]
sandbox = "none"
capability = "agent.task"
slots = 1
[[agents]]
name = "join"
adapter = "python"
target = "tests.support.gated:join"
capability = "test.join"
"""
TEXTS = {"a.txt": "one", "b.txt": "two", "c.txt": "three"}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def subtasks_of(hub: Device) -> list[dict[str, Any]]:
    for run in hub.json("runs", "ls")["runs"]:
        return hub.json("runs", "show", run["run"][-6:])["subtask_list"]
    return []


def codes(hub: Device) -> list[str]:
    return [attempt["code"] for subtask in subtasks_of(hub) for attempt in subtask["attempts"]]


def test_an_agent_program_that_is_killed_in_the_middle_is_replaced_and_its_tokens_are_counted(tmp_path: Path):
    (tmp_path / "documents").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "documents" / name).write_text(text)
    params = {"task": "Capitals", "gate": str(tmp_path / "gate"), "begun": str(tmp_path / "begun")}
    steps = [
        {"id": "shout", "capability": "agent.task", "map": "inputs", "params": params},
        {"id": "join", "capability": "test.join", "reduce": "shout"},
    ]
    (tmp_path / "plan.yaml").write_text(json.dumps({"goal": "capitals", "steps": steps}))
    with office(tmp_path, agents={"ada": ACP, "bob": ACP}) as (hub, _):
        process = start_run(hub, tmp_path, "out")
        wait_for("both agents at work", lambda: len(begun(tmp_path)) >= 2)
        _, pid = begun(tmp_path)[0].split()
        os.kill(int(pid), signal.SIGKILL)
        wait_for("its death is seen", lambda: "E_AGENT_DIED" in codes(hub))
        (tmp_path / "gate").touch()
        summary = finish(process)
        assert summary["outcome"] == "done"
        [joined] = (tmp_path / "out").glob("**/joined*.txt")
        assert joined.read_text() == "ONE\nTHREE\nTWO"
        subtasks = subtasks_of(hub)
        tried = [subtask["attempts"] for subtask in subtasks if len(subtask["attempts"]) > 1]
        assert [[attempt["code"] or attempt["status"] for attempt in attempts] for attempts in tried] == [
            ["E_AGENT_DIED", "accepted"]
        ]
        used = [attempt["used"].get("tokens", 0) for subtask in subtasks for attempt in subtask["attempts"]]
        assert sorted(used) == [0, 500, 500, 500, 500]
        assert len(provenance(tmp_path, "out")) == 4
    assert [line for line in begun(tmp_path) if alive(int(line.split()[1]))] == []
