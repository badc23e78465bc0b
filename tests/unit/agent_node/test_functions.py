"""What a person writes: the decorator, what a function may return, and how a function is found again in a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import agent_node
from agent_node.functions import (
    MARK,
    Capability,
    Job,
    JobCancelled,
    JobFailed,
    Output,
    as_outputs,
    capability,
)
from agent_node.worker import load_target


def test_the_decorator_leaves_the_function_as_it_is_and_notes_what_it_offers() -> None:
    @capability("text.shout", slots=3)
    def shout(job: Job) -> str:
        """Write a text in capitals.

        And more.
        """
        return "X"

    assert shout(Job("text.shout")) == "X"
    assert getattr(shout, MARK) == Capability(
        "text.shout", "Write a text in capitals.", "process", 3, 10.0, asynchronous=False
    )


def test_an_asynchronous_function_is_noticed() -> None:
    @capability("text.wait", mode="inline")
    async def wait(job: Job) -> None:
        await asyncio.sleep(0)

    assert getattr(wait, MARK).asynchronous


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (None, []),
        ("text", ["result.txt"]),
        (b"bytes", ["result.bin"]),
        ({"b": 1, "a": "ü"}, ["result.json"]),
        (Output("x.txt", "y"), ["x.txt"]),
        ([Output("x", b""), Output("y", Path("out/y"))], ["x", "y"]),
        ((), []),
    ],
)
def test_a_function_may_return_what_is_natural(returned: object, names: list[str]) -> None:
    assert [output.name for output in as_outputs(returned)] == names  # type: ignore[arg-type]


def test_json_is_written_in_one_way() -> None:
    assert as_outputs({"b": 1, "a": "ü"})[0].data == '{"a":"ü","b":1}\n'


@pytest.mark.parametrize("returned", [5, ["text"], object()])
def test_what_is_no_output_is_a_failure_that_says_so(returned: object) -> None:
    with pytest.raises(JobFailed, match="no output"):
        as_outputs(returned)  # type: ignore[arg-type]


def test_a_cancelled_job_passes_through_a_careless_except() -> None:
    assert not issubclass(JobCancelled, Exception)


def test_progress_of_a_job_by_itself_goes_nowhere() -> None:
    Job("text.shout").progress("half", 0.5)


def test_a_function_is_found_by_module_and_by_file(tmp_path: Path) -> None:
    assert load_target("agent_node.functions:as_outputs") is as_outputs
    file = tmp_path / "tools.py"
    file.write_text("class Tools:\n    @staticmethod\n    def shout(job):\n        return 'loud'\n")
    assert load_target(f"{file}:Tools.shout")(None) == "loud"


@pytest.mark.parametrize(
    "target",
    ["no.such.module:f", "agent_node.functions:nothing", "agent_node.functions:MARK", "/no/file.py:f"],
)
def test_a_function_that_is_not_there_is_a_failure_that_says_which(target: str) -> None:
    with pytest.raises(JobFailed) as caught:
        load_target(target)
    assert caught.value.code == "E_TARGET"
    assert target in caught.value.message


def test_the_package_offers_what_a_person_needs_and_nothing_else() -> None:
    assert agent_node.capability is capability
    assert callable(agent_node.serve)
    with pytest.raises(AttributeError, match="nothing"):
        _ = agent_node.nothing
