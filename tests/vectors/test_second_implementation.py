"""The vectors are run by plain Node, which shares no line and no library with the project: by the formats of the agent in `examples/node-js`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .generate import VECTORS

SECOND = Path(__file__).with_name("second")
CHECKER = SECOND / "check.mjs"
LIBRARY = Path(__file__).parents[2] / "examples" / "node-js" / "lib"
PARTS = sorted([*SECOND.iterdir(), *LIBRARY.iterdir()])
KINDS = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())


def check(root: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    assert node is not None, "this test needs Node.js 20 or later: `apt install nodejs`"
    return subprocess.run([node, CHECKER, root], capture_output=True, text=True, timeout=50, check=False)


def test_a_second_implementation_agrees_with_every_vector() -> None:
    done = check(VECTORS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{len(list(VECTORS.glob('*/*.json')))} vectors, 0 wrong\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_wrong_vector_is_found(kind: str, tmp_path: Path) -> None:
    source = min((VECTORS / kind).glob("*.json"))
    vector = json.loads(source.read_text())
    key = next(iter(vector["expect"]))
    vector["expect"][key] = {"code": "E_RATE", "holds": not vector["expect"].get("holds"), "value": "00"}[key]
    (tmp_path / "planted.json").write_text(json.dumps(vector))
    done = check(tmp_path)
    assert done.returncode == 1, done.stdout
    assert vector["id"] in done.stdout


def test_no_vectors_at_all_is_a_failure(tmp_path: Path) -> None:
    assert check(tmp_path).returncode == 1


@pytest.mark.parametrize("part", PARTS, ids=lambda path: path.name)
def test_the_checker_imports_nothing_but_node_and_its_own_parts(part: Path) -> None:
    text = part.read_text()
    imports = re.findall(r'^import .* from "(.*)";$', text, re.MULTILINE)
    assert imports
    assert len(imports) == len(re.findall(r"^import\b", text, re.MULTILINE))
    assert all(name.startswith("node:") or (part.parent / name).resolve() in PARTS for name in imports)
    assert "require(" not in text
    assert "import(" not in text
