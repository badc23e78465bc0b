"""`serve`: functions of a script as agents of this device."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_node import Job, capability, serve
from agent_node.adapters import Place, build
from agent_node.adapters.base import Job as AdapterJob
from agent_node.config import load_config
from agent_node.errors import ConfigError
from mesh.home import NotInSwarm


@capability("test.length", description="How long a text is")
def length(job: Job) -> dict[str, int]:
    return {"characters": len(job.inputs[0].text())}


@capability("test.now", mode="inline")
async def immediately(job: Job) -> str:
    return "now"


def undecorated(job: Job) -> None:
    """No capability."""


def test_serving_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="without a function"):
        serve()


def test_serving_on_a_device_that_is_in_no_swarm_says_so(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(NotInSwarm) as caught:
        serve(length, home=str(tmp_path / "home"))
    assert "zwerm join" in caught.value.hint


def test_decorated_functions_become_agents_and_others_are_left_out(tmp_path: Path) -> None:
    offered, left_out = build(
        Place(load_config({"documents": False}), tmp_path), [length, immediately, undecorated]
    )
    cards = [adapter.spec.card() for adapter in offered]
    assert [(card.name, card.capabilities) for card in cards] == [
        ("test.length", ["test.length"]),
        ("test.now", ["test.now"]),
    ]
    assert cards[0].description == "How long a text is"
    assert [out.name for out in left_out] == ["undecorated"]


def test_a_function_inside_a_function_cannot_go_to_a_worker(tmp_path: Path) -> None:
    @capability("test.inner")
    def inner(job: Job) -> None:
        """Not at the top of its module."""

    _, [out] = build(Place(load_config({"documents": False}), tmp_path), [inner])
    assert "inside a function" in out.error.message
    assert "top of its module" in out.error.hint


async def test_a_decorated_function_runs_in_a_worker(tmp_path: Path) -> None:
    from agent_node.adapters.base import InputPath

    offered, _ = build(Place(load_config({"documents": False}), tmp_path), [length])
    folder = tmp_path / "job"
    for path in (folder, folder / "in", folder / "out"):
        path.mkdir()
    (folder / "in" / "0").write_text("four")
    inputs = [InputPath("a.txt", folder / "in" / "0", "text/plain", 4)]
    outcome = await offered[0].run(AdapterJob("1", "test.length", {}, folder, inputs), lambda *_: None)
    await offered[0].close()
    content = outcome.outputs[0].content
    assert isinstance(content, Path)
    assert content.read_text() == '{"characters":4}\n'
