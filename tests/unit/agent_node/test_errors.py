"""Words that go to other people's screens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_node.errors import WorkError, plain


@given(st.text(max_size=300), st.integers(1, 100))
def test_plain_words_have_no_control_characters_and_an_end(text: str, limit: int) -> None:
    words = plain(text, limit)
    assert len(words) <= limit
    assert all(char in "\n\t" or char.isprintable() or char.isspace() or ord(char) > 127 for char in words)
    assert "\x1b" not in words
    words.encode("utf-8")


def test_of_long_words_the_end_is_kept_for_that_is_where_the_reason_is() -> None:
    assert plain("a" * 100 + "the reason", 20).endswith("the reason")


def test_a_failure_without_a_proper_code_keeps_what_it_was() -> None:
    error = WorkError("weird", "it broke", again=True)
    assert (error.code, error.message, error.again) == ("E_WORK", "weird: it broke", True)
