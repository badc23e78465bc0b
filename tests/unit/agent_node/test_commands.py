"""`zwerm agents ...`, run as a person runs it: a process of its own, its output and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FUNCTIONS = Path(__file__).parents[2] / "support" / "agent_functions.py"


def zwerm(home: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "--home", str(home), "agents", *words],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def configured(home: Path, text: str) -> Path:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)
    return home


def agent(name: str, target: str) -> str:
    return (
        f'[[agents]]\nname = "{name}"\nadapter = "python"\ncapability = "test.{name}"\ntarget = "{target}"\n'
    )


def document(text: str) -> Any:
    return json.loads(text)


def test_ls_shows_what_is_offered_and_what_is_left_out_and_why(tmp_path: Path) -> None:
    text = "[agent]\ndocuments = false\n" + agent("shout", f"{FUNCTIONS}:shout") + agent("lost", "no.such:f")
    home = configured(tmp_path / "home", text)
    code, out, err = zwerm(home, "ls")
    assert code == 0
    assert "shout" in out
    assert "test.shout" in out
    assert "no.such cannot be imported" in out
    assert "Install the package" in err
    _, out, _ = zwerm(home, "ls", "--json")
    told = document(out)
    assert told["schema"] == "zwerm.agents/1"
    assert [entry["name"] for entry in told["agents"]] == ["shout"]
    assert [entry["code"] for entry in told["left_out"]] == ["E_ADAPTER"]


def test_show_tells_one_agent_and_an_unknown_one_is_not_found(tmp_path: Path) -> None:
    home = configured(tmp_path / "home", "")
    code, out, _ = zwerm(home, "show", "documents", "--json")
    assert code == 0
    assert "doc.read" in document(out)["capabilities"]
    assert document(out)["measured"][0]["samples"] == 0
    code, _, err = zwerm(home, "show", "nobody")
    assert code == 5
    assert "documents" in err


def test_test_does_a_real_job_and_leaves_its_files(tmp_path: Path) -> None:
    home = configured(
        tmp_path / "home", "[agent]\ndocuments = false\n" + agent("shout", f"{FUNCTIONS}:shout")
    )
    given = tmp_path / "hello.txt"
    given.write_text("hello")
    code, out, _ = zwerm(home, "test", "test.shout", str(given), "-o", str(tmp_path / "out"), "--json")
    assert code == 0
    assert document(out)["outputs"] == [{"name": "shout.txt", "bytes": 5}]
    assert (tmp_path / "out" / "shout.txt").read_text() == "HELLO"


def test_test_says_why_a_job_failed(tmp_path: Path) -> None:
    home = configured(
        tmp_path / "home", "[agent]\ndocuments = false\n" + agent("refuse", f"{FUNCTIONS}:refuse")
    )
    code, _, err = zwerm(home, "test", "test.refuse")
    assert code == 1
    assert "E_NO_TABLE" in err
    assert "there is no table in it" in err
    code, _, err = zwerm(home, "test", "test.other")
    assert code == 5
    assert "test.refuse" in err
    code, _, err = zwerm(home, "test", "test.refuse", "-p", "[1]")
    assert code == 2
    assert "JSON object" in err


def test_a_mistake_in_the_configuration_is_a_usage_error_that_names_the_key(tmp_path: Path) -> None:
    home = configured(tmp_path / "home", "[agent]\nslotz = 3\n")
    code, _, err = zwerm(home, "ls")
    assert code == 2
    assert "slotz" in err
    assert "config.toml" in err


SCRIPTED = Path(__file__).parents[2] / "support" / "agent_acp.py"


def test_an_agent_is_added_tried_shown_and_removed_and_the_comments_stay(tmp_path: Path) -> None:
    home = configured(tmp_path / "home", "# mine\n[agent]\ndocuments = false  # for now\n")
    words = [
        "--adapter",
        "acp",
        "--permission",
        "never",
        "-c",
        "test.talk",
        "-c",
        "agent.task",
        "-e",
        "MOOD=calm",
    ]
    code, out, err = zwerm(
        home, "add", "talker", *words, "--json", "--", sys.executable, str(SCRIPTED), "shout"
    )
    assert code == 0, err
    assert document(out)["agent"]["env"] == {"MOOD": "calm"}
    assert (home / "config.toml").read_text().startswith("# mine\n[agent]\ndocuments = false  # for now\n")
    (tmp_path / "a.txt").write_text("hello")
    code, out, err = zwerm(home, "test", "talker", str(tmp_path / "a.txt"), "--json")
    assert code == 0, err
    told = document(out)
    assert (told["agent"], told["capability"]) == ("talker", "agent.task")
    assert told["outputs"] == [{"name": "shout.txt", "bytes": 5}]
    code, out, _ = zwerm(home, "show", "talker", "--json")
    assert (code, document(out)["adapter"]) == (0, "acp")
    code, _, err = zwerm(home, "add", "talker", "--", "other")
    assert code != 0
    assert "already" in err
    code, out, _ = zwerm(home, "rm", "talker", "--json")
    assert code == 0
    assert (home / "config.toml").read_text() == "# mine\n[agent]\ndocuments = false  # for now\n"
    code, _, err = zwerm(home, "rm", "talker")
    assert code != 0
    assert "no agent 'talker'" in err


def test_detect_finds_what_is_in_the_path_with_its_version_and_says_how_to_add_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = configured(tmp_path / "home", "[agent]\ndocuments = false\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "hermes").write_text("#!/bin/sh\necho Hermes Agent v0.19.0\n")
    (programs / "kimi").write_text("#!/bin/sh\nexit 3\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    code, out, _ = zwerm(home, "detect", "--json")
    assert code == 0
    found = {one["preset"]: one for one in document(out)["presets"]}
    assert found["hermes"]["programs"] == {"acp": f"{programs}/hermes", "headless": f"{programs}/hermes"}
    assert (found["hermes"]["version"], found["hermes"]["tested"], found["hermes"]["agents"]) == (
        "0.19.0",
        "0.19.0",
        [],
    )
    assert (found["kimi"]["version"], found["vibe"]["programs"]) == ("", {})
    code, out, _ = zwerm(home, "detect")
    assert "zwerm agents add hermes" in out
    assert "pip install mistral-vibe" in out
    code, _, err = zwerm(home, "add", "hermes")
    assert code == 0, err
    assert f'argv = ["{programs}/hermes", "acp"]' in (home / "config.toml").read_text()
    code, out, _ = zwerm(home, "detect", "--json")
    assert next(one for one in document(out)["presets"] if one["preset"] == "hermes")["agents"] == ["hermes"]


def test_a_preset_that_is_not_installed_is_not_added_and_the_way_to_get_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = configured(tmp_path / "home", "")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    code, _, err = zwerm(home, "add", "vibe")
    assert code != 0
    assert "pip install mistral-vibe" in err
    assert (home / "config.toml").read_text() == ""
    code, _, err = zwerm(home, "add", "nonsense")
    assert code == 2
    assert "no preset" in err
