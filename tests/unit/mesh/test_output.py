"""How a command speaks."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.output import Exit, Out, clean, exit_code_of, whole_writes
from protocol.errors import ZwermError


def out(**settings: bool) -> Out:
    return Out(stdout=io.StringIO(), stderr=io.StringIO(), **settings)  # type: ignore[arg-type]


def test_with_json_stdout_has_one_document_and_nothing_else():
    speaker = out(as_json=True)
    speaker.line("for people")
    speaker.done("for people")
    speaker.table(("A",), [(1,)])
    speaker.document("nodes", {"nodes": []})
    assert json.loads(speaker.stdout.getvalue()) == {"schema": "zwerm.nodes/1", "nodes": []}


def test_a_failure_says_what_and_what_next():
    speaker = out()
    speaker.failure(ZwermError("E_X", "it broke because of rain", "wait for the sun"))
    said = speaker.stderr.getvalue()
    assert "E_X" in said
    assert "it broke because of rain" in said
    assert "wait for the sun" in said
    assert speaker.stdout.getvalue() == ""


def test_a_failure_with_json_is_an_error_document_on_stdout():
    speaker = out(as_json=True)
    speaker.failure(ZwermError("E_X", "broken", "mend"), run="r1")
    document = json.loads(speaker.stdout.getvalue())
    assert document == {
        "schema": "zwerm.error/1",
        "ok": False,
        "error": {"code": "E_X", "message": "broken", "hint": "mend", "run": "r1"},
    }


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("E_BUS_UNREACHABLE", Exit.UNREACHABLE),
        ("E_INVITE_USED", Exit.REFUSED),
        ("E_NO_BID", Exit.NOBODY),
        ("E_ANYTHING", Exit.FAILED),
    ],
)
def test_codes_have_their_documented_exit_codes(code: str, exit_code: Exit):
    assert exit_code_of(ZwermError(code)) == exit_code


@given(st.text())
def test_text_from_elsewhere_cannot_move_the_cursor_or_turn_the_writing_round(text: str):
    cleaned = clean(text)
    assert "\x1b" not in cleaned
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in cleaned
    assert len(cleaned) == len(text)


class Narrow(io.RawIOBase):
    """A file that takes a little at a time, as a pipe does."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)[:7]  # type: ignore[call-overload]
        self.taken += part
        return len(part)


def test_an_unbuffered_stdout_gets_all_that_is_said():
    raw = Narrow()
    unbuffered = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # type: ignore[arg-type]
    speaker = Out(as_json=True, stdout=whole_writes(unbuffered), stderr=io.StringIO())
    speaker.document("nodes", {"nodes": ["é" * 100]})
    assert json.loads(raw.taken) == {"schema": "zwerm.nodes/1", "nodes": ["é" * 100]}


def test_a_buffered_stdout_is_left_alone():
    for stream in (io.StringIO(), io.TextIOWrapper(io.BytesIO())):
        assert whole_writes(stream) is stream
