"""A confined worker can do its work and nothing else."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_node.adapters import Place, build
from agent_node.adapters.base import InputPath, Job, Outcome
from agent_node.config import load_config
from agent_node.confine_proc import level, needed_by_python
from agent_node.worker_proc import WorkerLimits, WorkerPool

ROOT = Path(__file__).parents[3]
TARGET = "tests.support.agent_functions:snoop"
landlocked = pytest.mark.skipif(level() < 6, reason="this kernel's Landlock is older than version 6")


def made(folder: Path, **params: Any) -> Job:
    for path in (folder, folder / "in", folder / "out"):
        path.mkdir()
    return Job("1", "test.it", params, folder)


def told(outcome: Outcome) -> Any:
    content = outcome.outputs[0].content
    assert isinstance(content, Path)
    return json.loads(content.read_text())


async def snooped(tmp_path: Path, *, confined: bool) -> dict[str, str]:
    secret = tmp_path / "home" / "key"
    secret.parent.mkdir()
    secret.write_text("hunter2")
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = WorkerPool("tested", jobs, WorkerLimits(), confined=confined)
    async with server:
        try:
            outcome = await pool.run(TARGET, made(jobs / "1", secret=str(secret), port=port), lambda *_: None)
        finally:
            await pool.close()
    answer: dict[str, str] = told(outcome)
    return answer


@landlocked
async def test_a_confined_worker_sees_no_home_no_network_and_no_other_process(tmp_path: Path) -> None:
    seen = await snooped(tmp_path, confined=True)
    assert seen["own"] == "allowed"
    assert seen["shell"] == "allowed"
    assert seen["child"] == ""
    assert {seen[name] for name in ("read", "write", "list", "passwd", "environ", "connect", "signal")} == {
        "PermissionError"
    }


async def test_a_function_that_is_not_confined_has_what_its_owner_has(tmp_path: Path) -> None:
    seen = await snooped(tmp_path, confined=False)
    assert seen["child"] == "hunter2"
    assert seen["connect"] == "allowed"


@landlocked
async def test_the_document_agents_are_confined_and_still_read_every_kind(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    [documents], _ = build(Place(load_config({}), jobs))
    samples = [
        path
        for path in (ROOT / "agent_node" / "documents" / "samples").iterdir()
        if path.suffix not in (".py", "")
    ]
    assert {path.suffix for path in samples} >= {".pdf", ".docx", ".html", ".csv", ".md", ".txt"}
    try:
        for number, sample in enumerate(samples):
            job = made(jobs / str(number))
            job.capability = "doc.read"
            job.inputs.append(InputPath(sample.name, job.dir / "in" / "0", "", sample.stat().st_size))
            (job.dir / "in" / "0").write_bytes(sample.read_bytes())
            assert told(await documents.run(job, lambda *_: None))["units"]
    finally:
        await documents.close()


def test_only_pythons_own_places_are_opened() -> None:
    path = needed_by_python(["/", "", "/root", "/home/somebody", sys.prefix + "/lib", str(ROOT)])
    assert str(ROOT) in path
    assert "/" not in path
    assert not any(entry.startswith("/home") or entry == "/root" for entry in path)


async def test_a_function_that_must_be_confined_is_not_offered_where_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_node.adapters.level", lambda: 0)
    entry = {"name": "x", "adapter": "python", "capability": "a.b", "target": TARGET, "confined": True}
    offered, [out] = build(Place(load_config({"documents": False, "agents": [entry]}), tmp_path))
    assert offered == []
    assert "Landlock" in out.error.message
