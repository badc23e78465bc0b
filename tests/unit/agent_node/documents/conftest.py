"""Fixtures for the document agents: files on disk as a job finds them, and capabilities called as a worker calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent_node.documents import CAPABILITIES
from agent_node.documents.files import InputFile, OutputFile

Put = Callable[[str, bytes], InputFile]
Call = Callable[..., dict[str, bytes]]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes bytes into the job's directory and returns the input file."""
    count = 0

    def write(name: str, data: bytes) -> InputFile:
        nonlocal count
        count += 1
        path = tmp_path / f"{count}.input"
        path.write_bytes(data)
        return InputFile(name, path, "")

    return write


@pytest.fixture
def call() -> Call:
    """Calls a capability by name, checks its outputs against its own contract, and returns them by file name."""

    def run(name: str, inputs: list[InputFile], **params: Any) -> dict[str, bytes]:
        spec = CAPABILITIES[name]
        seen: list[float] = []
        jsonschema.validate(params, spec.params)
        outputs: list[OutputFile] = spec.load()(params, inputs, lambda what, done: seen.append(done))
        assert seen
        assert seen == sorted(seen)
        assert all(0 <= done <= 1 for done in seen)
        assert [(file.name, file.media_type) for file in outputs] == [
            (out.name, out.media_type) for out in spec.outputs
        ]
        for file, out in zip(outputs, spec.outputs, strict=True):
            if out.schema is not None:
                jsonschema.validate(json.loads(file.data), out.schema)
        return {file.name: file.data for file in outputs}

    return run
