"""Every scene plays as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.script import play, scenes


@pytest.mark.parametrize("path", scenes(), ids=lambda path: path.stem)
def test_the_scene_plays_as_written(path: Path) -> None:
    written = path.read_text()
    assert written.count("\n----\n") == 1
    assert play(written) == written, f"if this is meant: python -m tests.scenarios.script {path}"


def test_there_are_scenes() -> None:
    assert len(scenes()) >= 9
