"""Agents that do one task and end: what they print is understood, whatever its form, and what goes wrong is a typed failure."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_node.adapters import Place, build
from agent_node.adapters.base import Job, More, Outcome
from agent_node.adapters.headless_reply import read_reply, with_usage
from agent_node.config import load_config
from agent_node.errors import WorkError

AGENT = Path(__file__).parents[2] / "support" / "agent_cli.py"
boxed_only = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine")


async def run(folder: Path, what: str, style: str = "openclaw", **more: Any) -> Outcome:
    entry = {
        "name": "scripted",
        "adapter": "headless",
        "capability": "test.it",
        "sandbox": "none",
        "timeout_s": 30.0,
    }
    entry |= {"argv": [sys.executable, "-I", str(AGENT), what, style]} | more
    [adapter], left_out = build(Place(load_config({"documents": False, "agents": [entry]}), folder))
    assert left_out == []
    job = Job("1", "test.it", {"task": "What is the capital of France?"}, folder / "job")
    for path in (job.dir, job.dir / "in", job.dir / "out"):
        path.mkdir()

    def emit(_step: int, _fraction: float, _note: str, _more: More | None = None) -> None:
        return

    return await adapter.run(job, emit)


@pytest.mark.parametrize("style", ["openclaw", "claude", "codex", "kimi", "hermes", "plain"])
async def test_the_answer_the_tokens_and_the_cost_are_read_from_what_it_prints(
    tmp_path: Path, style: str
) -> None:
    outcome = await run(tmp_path, "answers", style)
    assert [(made.name, made.content) for made in outcome.outputs] == [("result.md", b"Paris.")]
    assert outcome.used is not None
    told = (outcome.used.tokens, outcome.used.money, outcome.used.steps)
    assert told == {"codex": (900, 0, 1), "kimi": (0, 0, 1), "plain": (0, 0, 1)}.get(style, (900, 5, 2))


@boxed_only
async def test_it_works_in_a_sandbox_and_finds_its_task_there(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "answers", "hermes", sandbox="auto")
    assert [made.content for made in outcome.outputs] == [b"Paris."]
    assert outcome.used is not None
    assert outcome.used.tokens == 900


@pytest.mark.parametrize(
    ("what", "style", "code", "words"),
    [
        ("refuse", "openclaw", "E_AGENT_DIED", "there is no table in it"),
        ("refuse", "claude", "E_AGENT", "there is no table in it"),
        ("refuse", "codex", "E_AGENT_DIED", "there is no table in it"),
        ("login", "claude", "E_AGENT_LOGIN", "not logged in"),
        ("quota", "codex", "E_LIMITED", "quota"),
        ("nothing", "openclaw", "E_OUTPUT", "made no file and gave no answer"),
        ("crash", "plain", "E_AGENT_DIED", "boom"),
    ],
)
async def test_what_goes_wrong_has_a_code_and_words(
    tmp_path: Path, what: str, style: str, code: str, words: str
) -> None:
    with pytest.raises(WorkError, match=words) as caught:
        await run(tmp_path, what, style)
    assert (caught.value.code, "\x1b" in caught.value.message) == (code, False)


async def test_one_that_hangs_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="timeout_s") as caught:
        await run(tmp_path, "hangs", timeout_s=1.0)
    assert caught.value.code == "E_TIMEOUT"


async def test_one_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    with pytest.raises(WorkError) as caught:
        await run(tmp_path, "floods_stdout", output_mib=4)
    assert caught.value.code == "E_OUTPUT_LIMIT"


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "7",
        '"seven"',
        "null",
        "[]",
        "[[1]]",
        '{"usage": 7, "result": 3}',
        '{"usage": {"input": -1, "output": true}}',
        "{" * 5000,
        '{"total_cost_usd": "a lot", "result": null}',
        '{"total_cost_usd": NaN}',
        '{"total_cost_usd": 1e400}',
    ],
)
def test_nonsense_is_no_usage_and_no_failure(nonsense: str) -> None:
    reply = read_reply(nonsense)
    with_usage(reply, nonsense)
    assert (reply.tokens, reply.money, reply.error) == (0, 0, "")


def test_a_number_alone_is_an_answer_in_words() -> None:
    assert read_reply("42\n").answer == "42"


def test_a_cost_is_rounded_up() -> None:
    assert read_reply('{"total_cost_usd": 0.0000001, "result": "x"}').money == 1
