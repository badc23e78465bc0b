"""A real swarm with models as agents: real devices, real files, a scripted model server over real sockets; tokens and money in the run's account."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.devices import ROOT, Device, join, office, wait_for
from tests.support.model_server import Fault, ModelServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TEXTS = {
    "lease.txt": "The lease begins on 1 March 2026. The rent is 900 euros.",
    "offer.txt": "We print 500 copies for 1,250.00 EUR within two weeks.",
    "notes.txt": "Ada will ask the printer. Bob brings the keys.",
}
SCHEMA = {
    "type": "object",
    "required": ["title"],
    "properties": {"title": {"type": "string", "minLength": 5}},
}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(key="sk-office") as running:
        yield running


def agent(server: ModelServer, model: str, **options: object) -> str:
    """The settings of a device with one model that summarises, and none of the other agents."""
    table = {
        "url": server.url,
        "model": model,
        "key": "secret:OFFICE_KEY",
        "price": {"input": 2.0, "output": 10.0},
    }
    lines = ", ".join(f"{name} = {_toml(value)}" for name, value in {**table, **options}.items())
    return f"""
[agent]
documents = false
[[agents]]
name = "summariser"
adapter = "chat"
capability = "text.summarize"
slots = 2
options = {{ {lines} }}
"""


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


def world(tmp_path: Path, **step: object) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    plan = {
        "goal": "summarise",
        "steps": [{"id": "sum", "capability": "text.summarize", "map": "inputs", **step}],
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    return tmp_path


def start(hub: Device, world: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        "run",
        "--plan",
        world / "plan.yaml",
        "-i",
        world / "documents",
        "-o",
        world / "out",
        *more,
        "--json",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "mesh", *map(str, command), "--home", str(hub.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finish(process: subprocess.Popen[str]) -> dict:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout[-2000:] + stderr[-2000:]
    return json.loads(stdout.splitlines()[-1])


@contextlib.contextmanager
def office_with_models(tmp_path: Path, **models: str) -> Iterator[tuple[Device, dict[str, Device]]]:
    """A hub and devices (name -> settings), each with the key, and known as summarisers."""
    with office(tmp_path, agents={}) as (hub, devices):
        for name, settings in models.items():
            device = devices[name] = join(hub, tmp_path / name, settings)
            done = device.zwerm("secrets", "set", "OFFICE_KEY", stdin="sk-office\n")
            assert done.returncode == 0, done.stderr
            device.up()

        def known() -> bool:
            return json.dumps(hub.json("nodes")).count("summariser") >= len(devices)

        wait_for("the summarisers to be known", known)
        yield hub, devices


def said_of(text: str) -> str:
    """What the scripted model makes of a text: it depends on every byte of it."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{len(text.split())} words, sha {digest}, first: {' '.join(text.split()[:12])}"


def results(world: Path) -> list[str]:
    return sorted(path.read_text() for path in (world / "out").rglob("*.md"))


def test_a_model_summarises_real_files_and_the_run_accounts_for_tokens_and_money(
    tmp_path: Path, server: ModelServer
):
    place = world(tmp_path)
    with office_with_models(tmp_path, ada=agent(server, "scripted")) as (hub, devices):
        summary = finish(start(hub, place, "--budget", "money=5,tokens=100k"))
        assert summary["outcome"] == "done"
        assert results(tmp_path) == sorted(said_of(text) for text in TEXTS.values())
        run = hub.json("runs", "ls")["runs"][0]["run"]
        shown = hub.json("runs", "show", run[-6:])
        counted = [(seen.usage["prompt_tokens"], seen.usage["completion_tokens"]) for seen in server.requests]
        assert len(counted) == len(TEXTS)
        spent = shown["budget"]["spent"]
        assert spent["tokens"] == sum(read + written for read, written in counted)
        assert spent["money"] == sum(2 * read + 10 * written for read, written in counted)  # micro-credits
        assert [one["agent"] for one in shown["budget"]["by"]] == ["summariser"]
        logs = [(device.home / "test.log").read_text() for device in (hub, devices["ada"])]
        assert "sk-office" not in json.dumps(shown) + "".join(logs)


def test_a_result_by_schema_is_asked_of_the_model_by_the_schema(tmp_path: Path, server: ModelServer):
    place = world(tmp_path, output_schema=SCHEMA)
    with office_with_models(tmp_path, ada=agent(server, "scripted")) as (hub, _):
        assert finish(start(hub, place))["outcome"] == "done"
        found = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("sum*.json")]
        assert found == [{"title": "sssss"}] * 3
        assert {seen.body["response_format"]["type"] for seen in server.requests} == {"json_schema"}


def test_a_node_killed_while_its_model_speaks_is_replaced_by_another_with_another_model(
    tmp_path: Path, server: ModelServer
):
    place = world(tmp_path)
    server.hold.set()
    models = {name: agent(server, f"model-of-{name}") for name in ("ada", "bob")}
    with office_with_models(tmp_path, **models) as (hub, devices):
        process = start(hub, place)
        wait_for(
            "both models to speak",
            lambda: {seen.body["model"] for seen in server.requests} >= {"model-of-ada", "model-of-bob"},
        )
        devices["ada"].kill()
        wait_for(
            "the dead node's connections to be gone",
            lambda: all(seen.left for seen in server.requests if seen.body["model"] == "model-of-ada"),
        )
        server.hold.clear()
        assert finish(process)["outcome"] == "done"
        assert results(tmp_path) == sorted(said_of(text) for text in TEXTS.values())
        subtasks = json.loads((tmp_path / "out" / "provenance.json").read_text())["subtasks"]
        assert {subtask["made_by"] for subtask in subtasks} == {"bob"}
        taken_over = [subtask for subtask in subtasks if len(subtask["attempts"]) > 1]
        assert taken_over
        for subtask in taken_over:
            assert [(one["node"], one["status"]) for one in subtask["attempts"]] == [
                ("ada", "failed"),
                ("bob", "accepted"),
            ]


def test_a_rate_limit_is_waited_for_and_on_record_and_the_run_goes_on(tmp_path: Path, server: ModelServer):
    place = world(tmp_path)
    server.order(Fault("429", retry_after="4"))
    with office_with_models(tmp_path, ada=agent(server, "scripted")) as (hub, _):
        assert finish(start(hub, place))["outcome"] == "done"
        assert results(tmp_path) == sorted(said_of(text) for text in TEXTS.values())
        run = hub.json("runs", "ls")["runs"][0]["run"]
        events = [json.loads(line) for line in hub.zwerm("events", run[-6:], "--json").stdout.splitlines()]
        moved = [event["data"] for event in events if event.get("kind") == "attempt.state"]
        assert [one["state"] for one in moved][:1] == ["limited"]
        assert "429" in moved[0]["note"]
        assert moved[0]["wait_ms"] > 2000
