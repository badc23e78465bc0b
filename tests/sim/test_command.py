"""`zwerm sim`: one object with the numbers, the same for the same seed; words for people."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mesh import cli
from mesh.sim import Broken, World

_SMALL = ["sim", "--agents", "8", "--subtasks", "40", "--hours", "0.5", "--seed", "7"]


def _played(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert cli.main([*_SMALL, "--json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_one_object_has_the_numbers_and_the_same_seed_gives_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = _played(capsys), _played(capsys)
    assert first["schema"] == "zwerm.sim/1"
    assert (first["lost"], first["duplicated"], first["overshoot"]) == (0, 0, 0)
    assert first["subtasks"] == 40
    assert first["accepted"] > 30
    assert first["critical_steps"] < first["steps"]
    assert 0 < first["utilisation"] <= 1
    assert {"reawards", "wall_s", "award_latency_ms", "dead_found_s", "wedged_found_s", "wrong_results"} <= (
        first.keys()
    )
    for found in (first, second):
        del found["wall_s"]
    assert first == second


def test_without_faults_nothing_is_done_twice_and_nothing_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _played(capsys, "--faults", "none")
    assert found["outcomes"] == {"done": 1}
    assert found["accepted"] == 40
    assert found["steps"] == found["steps_done"]
    assert found["wrong_results"] == {"of_single_agents": 0.0, "of_the_whole": 0.0, "ratio": None}
    assert not found["mishaps"]
    assert not found["refused"]


def test_checked_results_of_many_are_wrong_less_often_than_those_of_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = _played(capsys, "--faults", "hostile", "--subtasks", "80")["wrong_results"]
    assert wrong["of_the_whole"] < wrong["of_single_agents"]


def test_people_get_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*_SMALL, "--no-color"]) == 0
    out = capsys.readouterr().out
    assert "lost / duplicated / overshoot  0 / 0 / 0" in out
    assert "speed-up" in out


def test_a_broken_rule_is_said_with_its_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: World) -> None:
        raise Broken("the sky fell")

    monkeypatch.setattr(World, "check", broken)
    assert cli.main([*_SMALL, "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "E_SIM"
    assert "seed 7: Broken: the sky fell" in error["message"]
    assert "jrnl" in error["hint"]
