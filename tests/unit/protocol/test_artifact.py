from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from protocol import subjects
from protocol.artifact import CHUNK_BYTES, ArtifactRef
from tests.support.wire_world import bus_text

WRITER = bus_text("writer")


def reference(**changes: Any) -> ArtifactRef:
    fields = {"sha256": hashlib.sha256(b"x").digest(), "size": 1, "chunks": 1, "writer": WRITER, **changes}
    return ArtifactRef.model_validate(fields)


@pytest.mark.requirement("ART-1")
def test_a_reference_leads_to_the_subject_of_every_chunk() -> None:
    size = 3 * CHUNK_BYTES + 1
    made = reference(size=size, chunks=-(-size // CHUNK_BYTES))
    assert made.digest == hashlib.sha256(b"x").hexdigest()
    assert [subjects.artifact(made.digest, made.writer, at) for at in range(made.chunks)] == [
        f"s.art.{made.digest}.{WRITER}.{at}" for at in range(4)
    ]


@pytest.mark.requirement("ART-2")
@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": bytes(31)},
        {"sha256": b"x" * 33},
        {"sha256": "00" * 32},
        {"size": -1},
        {"size": 2**40 + 1},
        {"size": 1.0},
        {"size": True},
        {"chunks": -1},
        {"chunks": 2**22 + 1},
        {"writer": ""},
        {"writer": WRITER.lower()},
        {"writer": WRITER + "A"},
        {"writer": WRITER + "\n"},
        {"writer": WRITER[:-2] + ".>"},
        {"name": "x"},
    ],
    ids=lambda changes: repr(changes)[-24:],
)
def test_what_could_lead_anywhere_else_is_no_reference(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        reference(**changes)


def test_equal_content_by_one_writer_is_one_reference_and_it_can_be_a_key() -> None:
    assert reference() == reference()
    assert len({reference(), reference(), reference(writer=bus_text("other"))}) == 2
