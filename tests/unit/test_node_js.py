"""The own tests of the agent in `examples/node-js`, which need no swarm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "node-js"


def test_what_the_node_agent_can_judge_alone_holds() -> None:
    node = shutil.which("node")
    assert node is not None, "this test needs Node.js 20 or later: `apt install nodejs`"
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", FOLDER / "node-js.test.mjs"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout


@pytest.mark.parametrize(
    "part", sorted(FOLDER.glob("**/*.mjs")), ids=lambda path: path.relative_to(FOLDER).as_posix()
)
def test_the_node_agent_imports_nothing_but_node_and_its_own_parts(part: Path) -> None:
    names = re.findall(r'^import .* from "(.*)";$', part.read_text(), re.MULTILINE)
    assert all(name.startswith("node:") or FOLDER in (part.parent / name).resolve().parents for name in names)
    assert len(part.read_text().splitlines()) <= 250
