"""The real Hermes Agent, from PyPI, with a scripted model: `pytest -m hermes`. What its tools write depends on what it was given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_node.adapters.presets import PRESETS
from agent_node.errors import WorkError
from tests.support.model_server import ModelServer
from tests.support.real_agents import IN_JOB, SANDBOX, Bench, files, installed, processes_of

pytestmark = [pytest.mark.hermes, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hermes() -> Path:
    return installed("hermes")[0]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
async def bench(tmp_path: Path, server: ModelServer) -> Bench:
    return Bench(tmp_path, server)


def entry(bench: Bench, hermes: Path, **more: Any) -> dict[str, Any]:
    home = bench.folder / "hermes-home"
    home.mkdir()
    model = {"provider": "custom", "base_url": bench.server.url, "api_key": "sk-local", "default": "scripted"}
    settings = {"model": {**model, "context_length": 131072}}
    (home / "config.yaml").write_text(json.dumps(settings))  # YAML has JSON in it
    adapter = {"adapter": "acp", "preset": "hermes", "argv": [str(hermes), "acp"]}
    return {**adapter, "env": {"HERMES_HOME": str(home)}, "state": [str(home)], **more}


def call(command: str) -> str:
    return f"Do it.\nCALL terminal {json.dumps({'command': command})}"


async def test_a_tool_of_hermes_makes_a_file_of_what_it_was_given(bench: Bench, hermes: Path) -> None:
    bench.given("words.txt", "four words for hermes")
    outcome = await bench.run(call("tr a-z A-Z < in/0000.txt > out/capitals.txt"), **entry(bench, hermes))
    made = files(outcome)
    assert made["capitals.txt"] == b"FOUR WORDS FOR HERMES"
    assert b"tool said" in made["result.md"]
    assert outcome.used is not None
    assert outcome.used.tokens > 1000
    assert any("tr a-z A-Z" in note for note, _ in bench.said)
    assert processes_of(str(hermes)) == []


@pytest.mark.parametrize("granted", [True, False])
async def test_hermes_asks_leave_for_what_is_dangerous_and_obeys(
    bench: Bench, hermes: Path, granted: bool
) -> None:
    bench.answer = granted
    bench.given("words.txt", "kept")
    folder = f"{IN_JOB or bench.job.dir}/out/doomed"
    (bench.job.dir / "out" / "doomed").mkdir()
    (bench.job.dir / "out" / "doomed" / "x.txt").write_text("still here")
    command = f"cp in/0000.txt out/copied.txt && rm -rf {folder}"
    outcome = await bench.run(call(command), **entry(bench, hermes))
    [question] = bench.asked
    assert json.loads(question.arguments)["command"] == command
    assert [more.state for _, more in bench.said].count("person") == 1
    made = files(outcome)
    assert ("doomed/x.txt" in made, made.get("copied.txt")) == ((False, b"kept") if granted else (True, None))


async def test_leave_that_nobody_grants_hermes_fails_the_work(bench: Bench, hermes: Path) -> None:
    bench.answer = None
    with pytest.raises(WorkError) as caught:
        await bench.run(call(f"rm -rf {IN_JOB or bench.job.dir}/out/doomed"), **entry(bench, hermes))
    assert caught.value.code == "E_PERMISSION"


async def test_a_cancelled_hermes_is_gone_with_all_that_it_started(bench: Bench, hermes: Path) -> None:
    bench.server.hold.set()  # the answer stops after its first words
    work = asyncio.ensure_future(bench.run("Say a few words.", **entry(bench, hermes)))
    async with asyncio.timeout(120):
        await bench.spoke.wait()
    assert processes_of(str(hermes)) != []
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    bench.server.hold.clear()
    assert processes_of(str(hermes)) == []


async def test_hermes_does_one_task_without_a_session(bench: Bench, hermes: Path) -> None:
    bench.given("words.txt", "one shot")
    argv = [str(hermes), "-z", call("rev < in/0000.txt > out/reversed.txt"), "--usage-file", "usage.json"]
    outcome = await bench.run("See argv.", **entry(bench, hermes, adapter="headless", argv=argv))
    assert files(outcome)["reversed.txt"].strip() == b"tohs eno"
    assert outcome.used is not None
    assert outcome.used.tokens > 1000
    assert outcome.used.steps == 2


@pytest.mark.skipif(SANDBOX == "none", reason="bubblewrap is not on this machine")
async def test_a_tool_of_hermes_cannot_reach_the_device(bench: Bench, hermes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("secret of the device")
    await bench.run(call(f"cat {outside} > out/stolen.txt; echo x > {outside}"), **entry(bench, hermes))
    assert outside.read_text() == "secret of the device"
    assert b"secret" not in (bench.job.dir / "out" / "stolen.txt").read_bytes()


def test_the_preset_names_the_version_that_was_tried(hermes: Path) -> None:
    assert f"=={PRESETS['hermes'].tested}" in (hermes.parents[1] / "installed.txt").read_text()
