"""Real agent programs at work for a test: installed by script, driven through our adapters, with the scripted model server for a model."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent_node.adapters import Place, build
from agent_node.adapters.base import InputPath, Job, More, Outcome
from agent_node.config import load_config
from agent_node.questions import Question
from agent_node.running_proc import Running
from tests.support.model_server import ModelServer

INSTALL = Path(__file__).parents[1] / "agents" / "install.py"
SANDBOX = "auto" if shutil.which("bwrap") else "none"
IN_JOB = "/job" if SANDBOX == "auto" else ""


def installed(*names: str) -> list[Path]:
    """The programs, which are installed now if they are not there; fails when they cannot be."""
    done = subprocess.run(
        [sys.executable, str(INSTALL), *names], capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, f"{names} cannot be installed:\n{done.stdout}\n{done.stderr}"
    return [Path(line) for line in done.stdout.splitlines()[-len(names) :]]


class Bench:
    """One real agent and one job for it."""

    def __init__(self, folder: Path, server: ModelServer) -> None:
        self.folder = folder
        self.server = server
        self.running = Running(folder / "running")
        self.answer: bool | None = True
        self.asked: list[Question] = []
        self.said: list[tuple[str, More]] = []
        self.spoke = asyncio.Event()
        self.job = Job("1", "agent.task", {}, folder / "job")
        for path in (self.job.dir, self.job.dir / "in", self.job.dir / "out"):
            path.mkdir()

    async def ask(self, question: Question) -> bool | None:
        self.asked.append(question)
        return self.answer

    def emit(self, _step: int, _fraction: float, note: str, more: More | None = None) -> None:
        self.said.append((note, more or More()))
        if note:
            self.spoke.set()

    def given(self, name: str, text: str) -> None:
        path = self.job.dir / "in" / f"{len(self.job.inputs):04d}.txt"
        path.write_text(text)
        self.job.inputs.append(InputPath(name, path, "text/plain", len(text)))

    async def run(self, task: str, **entry: Any) -> Outcome:
        self.job.params["task"] = task
        settings = {
            "name": "real",
            "capability": "agent.task",
            "sandbox": SANDBOX,
            "timeout_s": 120.0,
        } | entry
        config = load_config({"documents": False, "agents": [settings]})
        [adapter], left_out = build(Place(config, self.folder, self.running, ask=self.ask))
        assert left_out == []
        try:
            return await adapter.run(self.job, self.emit)
        finally:
            await adapter.close()
            assert list((self.folder / "running").iterdir()) == []


def files(outcome: Outcome) -> dict[str, bytes]:
    """What was handed over, by name."""
    return {
        made.name: made.content if isinstance(made.content, bytes) else made.content.read_bytes()
        for made in outcome.outputs
    }


def processes_of(*words: str) -> list[str]:
    """Command lines of processes that have all these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(line)
    return found
