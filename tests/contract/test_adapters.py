"""What every adapter promises, tested on each: Python inline, in a thread, in a process; a program, an ACP agent,
and an agent that does one task and ends, sandboxed and not."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_node.adapters import Place, build
from agent_node.adapters.base import Adapter, InputPath, Job, Made, More
from agent_node.config import load_config
from agent_node.errors import WorkError
from agent_node.questions import Question
from agent_node.spending import Spending
from protocol.messages import Usage

FUNCTIONS = Path(__file__).parents[1] / "support" / "agent_contract.py"
PROGRAM = Path(__file__).parents[1] / "support" / "agent_program.py"
BOXED = pytest.param(
    "command-sandboxed",
    marks=pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine"),
)
AGENT = Path(__file__).parents[1] / "support" / "agent_acp.py"
CLI = Path(__file__).parents[1] / "support" / "agent_cli.py"
AGENT_BOXED = pytest.param("acp-sandboxed", marks=BOXED.marks)
ENDABLE = ["process", "command-unboxed", BOXED, "acp-unboxed", AGENT_BOXED, "headless-unboxed"]
"""Kinds whose work can be ended whatever it does."""
KINDS = ["inline", "thread", *ENDABLE]
TALKING = ["inline", "thread", "process", "command-unboxed", BOXED]
"""Kinds that can say by themselves that they wait, and hand over unfinished work."""


class Bench:
    """One adapter under test, and jobs for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[int] = []
        self.said: list[tuple[str, More]] = []
        self.partials: dict[str, bytes] = {}
        self.spending = Spending(None)
        self.asked: list[Question] = []
        self.granted: bool | None = True
        self._serial = 0

    async def ask(self, question: Question) -> bool | None:
        self.asked.append(question)
        return self.granted

    def adapter(self, kind: str, what: str, **more: Any) -> Adapter:
        entry: dict[str, Any] = {"name": "tested", "capability": "test.it", **more}
        if kind.startswith(("command", "acp", "headless")):
            name, _, _ = kind.partition("-")
            program = {"command": PROGRAM, "acp": AGENT, "headless": CLI}[name]
            entry |= {"adapter": name, "argv": [sys.executable, "-I", str(program), what]}
            entry |= {"sandbox": "auto" if kind.endswith("sandboxed") else "none"}
            entry |= {"readable": sorted({sys.prefix, sys.base_prefix, str(PROGRAM.parent)})}
        else:
            entry |= {"adapter": "python", "target": f"{FUNCTIONS}:{what}", "mode": kind}
        config = load_config(
            {"documents": False, "agents": [entry], "worker": {"output_mib": 64, "memory_mib": 1024}}
        )
        [adapter], left_out = build(Place(config, self.folder, ask=self.ask))
        assert not left_out
        return adapter

    def job(self, params: dict[str, Any] | None = None, **inputs: bytes) -> Job:
        self._serial += 1
        folder = self.folder / f"{self._serial:06d}"
        for path in (folder, folder / "in", folder / "out"):
            path.mkdir()
        given = []
        for number, (name, data) in enumerate(inputs.items()):
            path = folder / "in" / f"{number:04d}.txt"
            path.write_bytes(data)
            given.append(InputPath(f"{name}.txt", path, "text/plain", len(data)))
        return Job(f"{self._serial}", "test.it", params or {}, folder, given)

    def emit(self, step: int, _fraction: float, note: str, more: More | None = None) -> None:
        self.steps.append(step)
        self.said.append((note, more or More()))
        if more is not None and more.partial is not None:
            self.partials[more.partial.name] = content(more.partial)
        self.spending.moved(step, more.used if more is not None else None)


def content(made: Made) -> bytes:
    return made.content if isinstance(made.content, bytes) else made.content.read_bytes()


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    return Bench(jobs)


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[Callable[..., Adapter]]:
    made: list[Adapter] = []

    def one(what: str, **more: Any) -> Adapter:
        made.append(bench.adapter(request.param, what, **more))
        return made[-1]

    yield one
    for adapter in made:
        await adapter.close()


async def test_an_adapter_describes_its_agent(make: Callable[..., Adapter]) -> None:
    card = make("shout", description="Writes capitals").spec.card()
    assert (card.name, card.capabilities, card.description) == ("tested", ["test.it"], "Writes capitals")


async def test_a_job_turns_its_inputs_into_outputs(make: Callable[..., Adapter], bench: Bench) -> None:
    outcome = await make("shout").run(bench.job(first=b"hello"), bench.emit)
    assert [(made.name, content(made)) for made in outcome.outputs] == [("shout.txt", b"HELLO")]
    assert outcome.cpu_s >= 0.0


async def test_parameters_and_names_arrive_as_they_were_given(
    make: Callable[..., Adapter], bench: Bench
) -> None:
    params = {"deep": {"list": [1, 2.5, None, True]}, "text": "$(touch /tmp/x) `id` ü ; rm -rf {x}"}
    job = bench.job(params, one=b"1", two=b"2")
    job.missing.append({"name": "gone.pdf", "code": "E_EMPTY", "message": "it was empty"})
    outcome = await make("echo").run(job, bench.emit)
    told = json.loads(content(outcome.outputs[0]))
    assert told["params"] == params
    assert told["inputs"] == [["one.txt", "1"], ["two.txt", "2"]]
    assert told["missing"] == ["gone.pdf"]


async def test_a_refused_input_is_a_work_error_that_is_not_worth_repeating(
    make: Callable[..., Adapter], bench: Bench, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(WorkError) as caught:
        await make("refuse").run(bench.job(), bench.emit)
    assert "no table" in caught.value.message
    if not any(word in request.node.name for word in ("command", "acp", "headless")):
        assert (caught.value.code, caught.value.again) == ("E_NO_TABLE", False)


async def test_a_defect_is_a_work_error_without_control_characters(
    make: Callable[..., Adapter], bench: Bench
) -> None:
    with pytest.raises(WorkError) as caught:
        await make("crash").run(bench.job(), bench.emit)
    assert "boom" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.again


async def test_one_failed_job_does_not_harm_the_next(make: Callable[..., Adapter], bench: Bench) -> None:
    adapter = make("sometimes")
    with pytest.raises(WorkError):
        await adapter.run(bench.job({"fail": True}), bench.emit)
    outcome = await adapter.run(bench.job({"fail": False}), bench.emit)
    assert content(outcome.outputs[0])


async def test_steps_only_grow(make: Callable[..., Adapter], bench: Bench) -> None:
    await make("several_steps").run(bench.job(), bench.emit)
    await asyncio.sleep(0)
    assert bench.steps == sorted(set(bench.steps))
    assert bench.steps


async def test_a_cancelled_job_is_over_when_run_is_over(
    make: Callable[..., Adapter], bench: Bench, request: pytest.FixtureRequest
) -> None:
    if "inline" in request.node.name:
        what, params = "sleeper", {}
    else:
        what, params = "waits_politely", {}
    task = asyncio.ensure_future(make(what).run(job := bench.job(params), bench.emit))
    await _until(lambda: (job.dir / "out" / "pid").exists())
    pid = int((job.dir / "out" / "pid").read_text() or "0")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _is_over(pid, job.dir)


@pytest.mark.parametrize("kind", ENDABLE)
async def test_work_that_ignores_every_request_is_killed_with_its_children(bench: Bench, kind: str) -> None:
    adapter = bench.adapter(kind, "ignores_everything")
    before = _processes()
    task = asyncio.ensure_future(adapter.run(job := bench.job(), bench.emit))
    await _until(lambda: (job.dir / "out" / "child").exists())
    assert _processes() - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await adapter.close()
    await _until(lambda: not (_processes() - before))


@pytest.mark.parametrize("kind", ENDABLE)
async def test_what_a_job_leaves_running_is_ended_with_it(bench: Bench, kind: str) -> None:
    adapter = bench.adapter(kind, "leaves_a_daemon")
    before = _processes()
    outcome = await adapter.run(bench.job(), bench.emit)
    assert outcome.outputs
    await adapter.close()
    await _until(lambda: not (_processes() - before))


@pytest.mark.parametrize("kind", ENDABLE)
async def test_a_gigabyte_of_output_is_cut_off(bench: Bench, kind: str) -> None:
    adapter = bench.adapter(kind, "floods", output_mib=8)
    job = bench.job()
    with pytest.raises(WorkError) as caught:
        await adapter.run(job, bench.emit)
    await adapter.close()
    assert caught.value.code == "E_OUTPUT_LIMIT"
    assert sum(path.stat().st_size for path in job.dir.rglob("*") if path.is_file()) <= 65 << 20


@pytest.mark.parametrize("kind", ENDABLE)
async def test_work_that_hoards_memory_fails_and_the_node_lives(bench: Bench, kind: str) -> None:
    adapter = bench.adapter(kind, "hoards", memory_mib=1024)
    with pytest.raises(WorkError):
        await adapter.run(bench.job(), bench.emit)
    await adapter.close()


@pytest.mark.parametrize("kind", ENDABLE)
async def test_the_environment_of_work_has_no_secrets(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZWERM_TEST_SECRET", "hunter2")
    adapter = bench.adapter(kind, "echo")
    outcome = await adapter.run(bench.job(), bench.emit)
    await adapter.close()
    told = json.loads(content(outcome.outputs[0]))
    assert set(told["environment"]) <= {"PATH", "LANG", "LC_CTYPE", "HOME", "TMPDIR", "PWD", "ZWERM_JOB"}


@pytest.mark.parametrize("kind", ENDABLE)
async def test_a_link_out_of_the_job_is_no_output(bench: Bench, kind: str) -> None:
    adapter = bench.adapter(kind, "links_out")
    if kind == "process":
        with pytest.raises(WorkError, match="no ordinary file"):
            await adapter.run(bench.job(), bench.emit)
    else:
        outcome = await adapter.run(bench.job(), bench.emit)
        assert [made.name for made in outcome.outputs if made.name != "result.md"] == []
    await adapter.close()


def _processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)} | {
        process.pid for process in psutil.process_iter() if _says(process, "zwerm-test-child")
    }


def _says(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in part for part in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_over(pid: int, folder: Path) -> bool:
    """Whether the job's function has ended: it says so in a file, or its process is gone."""
    return (folder / "out" / "over").exists() or not psutil.pid_exists(pid) or pid < 10


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("make", TALKING, indirect=True)
async def test_a_job_says_that_it_waits_what_it_used_and_what_there_is_of_it(
    make: Callable[..., Adapter], bench: Bench
) -> None:
    job = bench.job()
    left = job.dir / "in" / "previous-0000.txt"
    left.write_text("from before")
    job.previous.append(InputPath("draft.txt", left, "text/plain", 11))
    outcome = await make("talks").run(job, bench.emit)
    for _ in range(3):
        await asyncio.sleep(0)  # what a thread said is on its way through the loop
    states = [more.state for _, more in bench.said]
    assert [state for number, state in enumerate(states) if [state] != states[number - 1 : number]] == [
        "working",
        "limited",
        "working",
        "person",
        "working",
    ]
    [(note, limited)] = [(note, more) for note, more in bench.said if more.state == "limited"]
    assert (note, limited.wait_s) == ("429", 30.0)
    assert "Which of the two?" in [note for note, more in bench.said if more.state == "person"]
    assert bench.partials == {"draft.txt": b"from before, and more"}
    assert outcome.used is not None
    assert (outcome.used.tokens, outcome.used.money) == (900, 5)
    assert bench.steps == sorted(bench.steps)


@pytest.mark.parametrize("make", [*TALKING, "acp-unboxed"], indirect=True)
async def test_work_ends_before_it_uses_more_than_it_may(make: Callable[..., Adapter], bench: Bench) -> None:
    job = bench.job()
    job.caps = Usage(tokens=100, steps=1 << 52)
    bench.spending = Spending(job.caps)
    with pytest.raises(WorkError) as caught:
        await make("spends").run(job, bench.emit)
    assert (caught.value.code, caught.value.again) == ("E_BUDGET", True)


async def test_whoever_meets_a_limit_of_use_says_when_to_come_again(
    make: Callable[..., Adapter], bench: Bench
) -> None:
    with pytest.raises(WorkError) as caught:
        await make("quota").run(bench.job(), bench.emit)
    assert (caught.value.code, caught.value.again, caught.value.retry_s) == ("E_LIMITED", True, 60.0)


@pytest.mark.parametrize("kind", ["acp-unboxed", AGENT_BOXED])
async def test_an_agent_that_asks_leave_waits_for_a_person_and_goes_on(bench: Bench, kind: str) -> None:
    job = bench.job()
    left = job.dir / "in" / "previous-0000.txt"
    left.write_text("from before")
    job.previous.append(InputPath("draft.txt", left, "text/plain", 11))
    outcome = await bench.adapter(kind, "talks").run(job, bench.emit)
    [question] = bench.asked
    assert (question.agent, question.title, question.arguments) == (
        "tested",
        "rm -rf x",
        '{"command":"rm -rf x"}',
    )
    states = [more.state for _, more in bench.said]
    assert states.index("person") < len(states) - 1
    assert states[-1] == "working"
    assert {made.name: content(made) for made in outcome.outputs} == {
        "draft.txt": b"from before, and more",
        "result.md": b"{'outcome': 'selected', 'optionId': 'y'}",
    }
    assert outcome.used is not None
    assert (outcome.used.tokens, outcome.used.money) == (900, 5)
    assert bench.steps == sorted(bench.steps)
