"""Bringing results home: whole and checked, inside the folder, with the record of who made what."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_node.delivery import (
    OutputError,
    fetch_file,
    provenance,
    safe_name,
    unique_names,
    write_provenance,
)
from mesh.clock import SystemClock
from mesh.errors import DigestMismatch
from mesh.workspace_memory import MemoryStore

WRITER = "U" + "A" * 55


@given(st.text(max_size=300))
def test_no_name_leads_out_of_the_folder(name: str):
    safe = safe_name(name)
    assert safe
    assert "/" not in safe
    assert "\\" not in safe
    assert safe not in (".", "..")
    assert len(safe) <= 200


def test_a_second_file_of_a_name_gets_a_number():
    views = [{"name": "report.md"}, {"name": "report.md"}, {"name": "data"}, {"name": "data"}]
    assert [name for name, _ in unique_names(views)] == ["report.md", "report-2.md", "data", "data-2"]


async def stored(content: bytes):
    workspace = MemoryStore(SystemClock(), rng=random.Random(1)).workspace()
    ref = await workspace.artifacts.put(content, WRITER)
    return workspace.artifacts, {
        "name": "a.txt",
        "sha256": ref.digest,
        "bytes": ref.size,
        "chunks": ref.chunks,
        "writer": ref.writer,
    }


async def test_a_file_appears_whole(tmp_path: Path):
    content = bytes(range(256)) * 3000
    artifacts, view = await stored(content)
    path = await fetch_file(artifacts, view, tmp_path / "new")
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


async def test_a_file_whose_bytes_are_not_those_that_were_made_does_not_appear(tmp_path: Path):
    artifacts, view = await stored(b"right")
    _, other = await stored(b"wrong")

    class Swapped:
        def get(self, ref):
            async def chunks():
                raise DigestMismatch("not what was made")
                yield b""

            return chunks()

    with pytest.raises(DigestMismatch):
        await fetch_file(Swapped(), {**view, "sha256": other["sha256"]}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert artifacts is not None


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    artifacts, view = await stored(b"x")
    with pytest.raises(OutputError) as caught:
        await fetch_file(artifacts, view, tmp_path / "file")
    assert "file" in caught.value.message
    assert "-o" in caught.value.hint


def attempt(node: str, status: str, **more):
    bids = [{"node": node, "node_name": node.upper(), "price": 1, "score": 0.5}]
    return {
        "attempt": 1, "epoch": 1, "node": node, "node_name": node.upper(), "agent": "docs", "status": status,
        "code": "", "message": "", "reason": "best", "wall_ms": 5, "bids": bids, **more,
    }  # fmt: skip


def test_provenance_says_who_made_what_from_what_with_which_bid(tmp_path: Path):
    file = {"name": "a.txt", "sha256": "00" * 32, "bytes": 3}
    view = {
        "run": "r", "goal": "g", "planner": "rule", "outcome": "done", "by_name": "me", "input_files": [file], "skipped": [], "deliverables": [file],
        "subtask_list": [
            {
                "id": "read-1", "label": "", "capability": "doc.read", "status": "accepted", "inputs": [file], "outputs": [file],
                "attempts": [attempt("ada", "failed", code="E_LEASE", message="silent"), attempt("bob", "accepted")],
            },
            {"id": "read-2", "label": "", "capability": "doc.read", "status": "failed", "inputs": [], "outputs": [], "attempts": []},
        ],
    }  # fmt: skip
    made = provenance(view)
    first, second = made["subtasks"]
    assert first["made_by"] == "BOB"
    assert first["bid"]["node_name"] == "BOB"
    assert [entry["status"] for entry in first["attempts"]] == ["failed", "accepted"]
    assert first["inputs"][0]["sha256"] == "00" * 32
    assert second["made_by"] is None
    assert made["nodes"] == ["BOB"]
    assert json.loads(write_provenance(view, tmp_path).read_text())["schema"] == "zwerm.provenance/1"
