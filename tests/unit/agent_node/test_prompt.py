"""What an agent is told of its work: everything of the job is in it, as data."""

from __future__ import annotations

from pathlib import Path

from agent_node.adapters.prompt import PROMPT_VERSION, subtask_prompt
from agent_node.job import InputPath, Job


def job(**more: object) -> Job:
    given = [InputPath('a "b"\u202e\n.txt', Path("/x/in/0000.txt"), "text/plain", 12)]
    fields = {"id": "1", "capability": "text.summarize", "params": {}, "dir": Path("/x"), "inputs": given}
    return Job(**(fields | more))  # type: ignore[arg-type]


def test_the_work_its_files_and_what_is_missing_are_in_the_prompt() -> None:
    told = subtask_prompt(
        job(
            params={"task": "Say $it in {two} words", "n": 2},
            missing=[{"name": "gone.pdf", "code": "E_EMPTY", "message": "it was empty"}],
            previous=[InputPath("draft.md", Path("/x/in/previous-0000.md"), "text/markdown", 3)],
        )
    )
    assert "Say $it in {two} words\n\nCapability: `text.summarize`" in told
    assert '"n": 2' in told
    assert '`in/0000.txt`: "a \\"b\\"\ufffd\\n.txt", text/plain, 12 bytes' in told
    assert '"gone.pdf" is missing: it was empty' in told
    assert "`in/previous-0000.md`" in told


def test_without_words_the_capability_is_the_work() -> None:
    assert "Do what `text.summarize` says" in subtask_prompt(job(params={"task": 7}))


def test_what_makes_it_good_is_said_when_it_is_known() -> None:
    assert subtask_prompt(job(params={"expected": "three lines"})).rstrip().endswith("three lines")
    assert "It is good when" not in subtask_prompt(job())


def test_a_prompt_has_a_version() -> None:
    assert PROMPT_VERSION == "subtask.1"
