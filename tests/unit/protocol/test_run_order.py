"""Runs in the order in which they were asked for, from the texts of their ids alone."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import by_time, new_run_id, run_bytes, run_text

ENTROPY = bytes(10)


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=8))
def test_texts_sort_as_their_bytes_do(ids: list[bytes]) -> None:
    assert [run_bytes(run) for run in sorted(map(run_text, ids), key=by_time)] == sorted(ids)


def test_a_later_run_is_behind_an_earlier_one_whatever_letters_and_digits_their_ids_have() -> None:
    runs = [new_run_id(1_795_000_000 + step / 1000, ENTROPY) for step in range(0, 200_000, 37)]
    assert sorted(runs, key=by_time) == runs
    assert sorted(runs) != runs  # which is why the key is needed
