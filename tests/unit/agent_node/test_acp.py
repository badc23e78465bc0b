"""Agents that speak ACP and do not behave: each ends as a typed failure that says what to do, and nothing of it runs on."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_node.adapters import Place, build
from agent_node.adapters.base import Job, Made, More, Outcome
from agent_node.config import load_config
from agent_node.errors import ConfigError, WorkError
from agent_node.questions import Question
from agent_node.running_proc import Running
from agent_node.tree_proc import MARK_NAME

AGENT = Path(__file__).parents[2] / "support" / "agent_acp.py"
boxed_only = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine")


class Bench:
    """One scripted agent, and jobs for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running = Running(folder / "running")
        self.said: list[tuple[float, str, More]] = []
        self.answer: bool | None = True
        self.asked: list[Question] = []
        self.job = Job("1", "test.it", {}, folder / "job")
        for path in (self.job.dir, self.job.dir / "in", self.job.dir / "out"):
            path.mkdir(parents=True)

    async def ask(self, question: Question) -> bool | None:
        self.asked.append(question)
        return self.answer

    async def run(
        self, what: str, params: dict[str, Any] | None = None, *, ask: bool = True, **more: Any
    ) -> Outcome:
        entry = {
            "name": "scripted",
            "adapter": "acp",
            "capability": "test.it",
            "sandbox": "none",
            "timeout_s": 30.0,
        }
        entry |= {"argv": [sys.executable, "-I", str(AGENT), what]} | more
        config = load_config({"documents": False, "agents": [entry]})
        place = Place(config, self.folder, self.running, ask=self.ask if ask else None)
        [adapter], left_out = build(place)
        assert left_out == []
        self.job.params = params or {}
        try:
            return await adapter.run(self.job, self.emit)
        finally:
            assert _marked() == []
            assert list((self.folder / "running").iterdir()) == []

    async def failure(self, what: str, params: dict[str, Any] | None = None, **more: Any) -> WorkError:
        with pytest.raises(WorkError) as caught:
            await self.run(what, params, **more)
        return caught.value

    def emit(self, _step: int, fraction: float, note: str, more: More | None = None) -> None:
        self.said.append((fraction, note, more or More()))


def text(made: list[Made], name: str = "result.md") -> str:
    [content] = [one.content for one in made if one.name == name]
    return (content if isinstance(content, bytes) else content.read_bytes()).decode()


def _marked() -> list[str]:
    """Processes with a job's mark that this test's process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if (
                MARK_NAME.encode() in path.read_bytes()
                and str(AGENT) in (path.parent / "cmdline").read_text()
            ):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("exits_with_nonsense", "E_AGENT_NONSENSE", "usage: some other program"),
        ("writes_nonsense", "E_AGENT_NONSENSE", "this is a web server"),
        ("old_node", "E_AGENT_VERSION", "requires Node.js 24"),
        ("wrong_version", "E_AGENT_VERSION", "version 7"),
        ("says_not_logged_in", "E_AGENT_LOGIN", "not logged in"),
        ("needs_login", "E_AGENT_LOGIN", "Authentication required"),
        ("dies_in_the_middle", "E_AGENT_DIED", "status 9, in the middle of its work"),
        ("one_endless_line", "E_OUTPUT_LIMIT", "67,108,864 bytes"),
        ("floods_stdout", "E_OUTPUT_LIMIT", "8,388,608 characters"),
        ("nothing", "E_OUTPUT", "made no file and gave no answer"),
        ("too_long", "E_AGENT_LIMIT", "all the tokens"),
    ],
)
async def test_an_agent_that_does_not_behave_fails_with_a_code_and_words(
    bench: Bench, what: str, code: str, words: str
) -> None:
    error = await bench.failure(what)
    assert (error.code, words in error.message, "\x1b" in error.message) == (code, True, False), error.message


async def test_an_agent_that_hangs_is_ended_when_its_time_is_over(bench: Bench) -> None:
    error = await bench.failure("hangs", timeout_s=1.0)
    assert error.code == "E_TIMEOUT"
    assert "timeout_s" in error.message


async def test_what_an_agent_had_made_before_it_died_is_left_to_the_next_attempt(bench: Bench) -> None:
    await bench.failure("dies_in_the_middle")
    kept = [more.partial for _, _, more in bench.said if more.partial is not None]
    assert [made.name for made in kept] == ["result.md", "half.txt"]


async def test_noise_and_broken_text_on_its_output_do_no_harm(bench: Bench) -> None:
    outcome = await bench.run("noise")
    assert text(outcome.outputs) == "caf\ufffd after the noise"


async def test_a_plan_becomes_progress_and_the_uses_of_tools_are_steps(bench: Bench) -> None:
    outcome = await bench.run("several_steps")
    notes = [note for _, note, _ in bench.said]
    assert "two" in notes
    assert "done: make three" in notes
    assert max(fraction for fraction, _, _ in bench.said) == pytest.approx(2 / 3)
    assert outcome.used is not None
    assert outcome.used.steps == 3


async def test_leave_is_given_for_this_once_whatever_the_order_of_the_options(bench: Bench) -> None:
    options = [["always", "allow_always"], ["no", "reject_once"], ["yes", "allow_once"]]
    outcome = await bench.run("permits", {"options": options}, permission="auto")
    assert json.loads(text(outcome.outputs)) == {"outcome": "selected", "optionId": "yes"}
    assert text(outcome.outputs, "ran.txt") == "touched"


async def test_leave_for_ever_is_never_given(bench: Bench) -> None:
    outcome = await bench.run("permits", {"options": [["always", "allow_always"]]}, permission="auto")
    assert json.loads(text(outcome.outputs)) == {"outcome": "cancelled"}


async def test_an_agent_that_may_never_goes_on_without(bench: Bench) -> None:
    outcome = await bench.run("permits", permission="never")
    assert json.loads(text(outcome.outputs)) == {"outcome": "selected", "optionId": "n"}
    assert [made.name for made in outcome.outputs] == ["result.md"]
    assert bench.asked == []


async def test_a_person_who_says_no_is_obeyed_and_the_agent_goes_on(bench: Bench) -> None:
    bench.answer = False
    outcome = await bench.run("permits")
    assert json.loads(text(outcome.outputs))["optionId"] == "n"
    assert [question.arguments for question in bench.asked] == ['{"command":"touch it"}']


@pytest.mark.parametrize("ask", [True, False])
async def test_leave_that_nobody_grants_is_a_failure_that_says_what_to_do(bench: Bench, ask: bool) -> None:
    bench.answer = None
    error = await bench.failure("permits", ask=ask)
    assert (error.code, error.again) == ("E_PERMISSION", True)
    assert "touch it" in error.message
    assert 'permission = "auto"' in error.message
    assert not (bench.job.dir / "out" / "ran.txt").exists()


@pytest.mark.parametrize("path", ["/etc/zwerm-test", "CWD/../x", "../x", "CWD/out/link/x", "CWD/out/../../x"])
async def test_writing_outside_its_folder_is_refused_and_ends_the_work(
    bench: Bench, path: str, tmp_path: Path
) -> None:
    (bench.job.dir / "out" / "link").symlink_to(tmp_path)
    error = await bench.failure("writes", {"paths": [path]})
    assert error.code == "E_ESCAPE"
    assert not (tmp_path / "x").exists()
    assert not Path("/etc/zwerm-test").exists()


@pytest.mark.parametrize("sandbox", ["none", pytest.param("auto", marks=boxed_only)])
async def test_an_agent_writes_and_reads_files_of_its_job_through_us(bench: Bench, sandbox: str) -> None:
    outcome = await bench.run("writes", {"paths": ["CWD/out/new/a.txt", "CWD/in/b.txt"]}, sandbox=sandbox)
    assert json.loads(text(outcome.outputs)) == ["ok", -32602]
    assert text(outcome.outputs, "new/a.txt") == "written"
    assert list((bench.job.dir / "in").iterdir()) == []


async def test_reading_is_confined_to_the_job_and_links_lead_nowhere(bench: Bench) -> None:
    (bench.job.dir / "in" / "0000.txt").write_text("one\ntwo\nthree\n")
    paths = ["CWD/in/0000.txt", "/etc/passwd", "LINK", "CWD/in/none.txt"]
    outcome = await bench.run("reads", {"paths": paths, "more": {"line": 2, "limit": 1}})
    assert json.loads(text(outcome.outputs)) == ["two\n", -32602, -32602, -32002]


async def test_what_we_do_not_offer_is_refused_as_unknown(bench: Bench) -> None:
    assert text((await bench.run("terminal")).outputs) == "-32601"


@boxed_only
async def test_a_tool_of_an_agent_in_its_sandbox_reaches_nothing_of_the_device(
    bench: Bench, tmp_path: Path
) -> None:
    target = tmp_path / "escaped"
    outcome = await bench.run("reaches_out", {"path": str(target)}, sandbox="auto")
    assert not target.exists()
    assert ".ssh" not in text(outcome.outputs)


@boxed_only
async def test_an_agent_in_its_sandbox_may_change_its_own_settings(bench: Bench, tmp_path: Path) -> None:
    state = tmp_path / "settings"
    state.mkdir()
    outcome = await bench.run(
        "reaches_out", {"path": str(state / "note")}, sandbox="auto", state=[str(state)]
    )
    assert (state / "note").read_text() == "escaped"
    assert text(outcome.outputs).startswith("written")


def test_an_agent_without_a_program_is_left_out_with_the_way_to_get_it(tmp_path: Path) -> None:
    entry = {
        "name": "x",
        "adapter": "acp",
        "capability": "a.b",
        "preset": "vibe",
        "argv": ["no-such-program-zwerm"],
    }
    offered, [gone] = build(Place(load_config({"documents": False, "agents": [entry]}), tmp_path))
    assert offered == []
    assert "pip install mistral-vibe" in gone.error.hint


def test_a_preset_that_nobody_knows_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    entry = {"name": "x", "adapter": "acp", "capability": "a.b", "preset": "hermess"}
    _, [gone] = build(Place(load_config({"documents": False, "agents": [entry]}), tmp_path))
    assert "hermes, " in gone.error.hint


def test_an_acp_agent_needs_a_preset_or_a_command() -> None:
    with pytest.raises(ConfigError, match="preset"):
        load_config({"agents": [{"name": "x", "adapter": "acp", "capability": "a.b"}]})
