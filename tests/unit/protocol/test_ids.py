from __future__ import annotations

import base64
import uuid

import pytest

from protocol.errors import Rejected
from protocol.ids import NO_RUN, RUN_ID_CHARS, new_run_id, run_bytes, run_text, short_run
from tests.support.wire_world import seed

ENTROPY = seed("entropy")[:10]


@pytest.mark.requirement("MSG-5")
def test_a_run_id_is_a_version_7_uuid_that_says_when_it_was_drawn() -> None:
    raw = run_bytes(new_run_id(1_800_000_000.1234, ENTROPY))
    made = uuid.UUID(bytes=raw)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert int.from_bytes(raw[:6], "big") == 1_800_000_000_123


@pytest.mark.requirement("MSG-5")
def test_its_text_is_26_small_letters_and_digits_and_comes_back() -> None:
    run = new_run_id(1.0, ENTROPY)
    assert len(run) == RUN_ID_CHARS == 26
    assert run == base64.b32encode(run_bytes(run)).decode().rstrip("=").lower()
    assert run_text(run_bytes(run)) == run
    assert run_bytes(run_text(NO_RUN)) == NO_RUN
    assert run.endswith(short_run(run))
    assert len(short_run(run)) == 6


@pytest.mark.requirement("MSG-5")
def test_later_runs_sort_behind_earlier_ones_and_none_is_like_another() -> None:
    runs = [new_run_id(1_800_000_000 + at / 1000, seed(str(at))[:10]) for at in range(200)]
    assert sorted(runs, key=run_bytes) == runs
    assert len(set(runs)) == 200


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 25,
        "a" * 27,
        "A" * 26,
        "a" * 25 + "1",
        "a" * 25 + "\n",
        "a" * 25 + "=",
        "a" * 25 + "b",
        "é" * 26,
    ],
    ids=ascii,
)
def test_any_other_text_is_no_run_id(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        run_bytes(text)
    assert caught.value.code == "E_SCHEMA"


def test_ten_random_bytes_are_the_least_and_more_change_nothing() -> None:
    assert new_run_id(1.0, ENTROPY) == new_run_id(1.0, ENTROPY + b"more")
    with pytest.raises(ValueError, match="10 random bytes"):
        new_run_id(1.0, ENTROPY[:9])
