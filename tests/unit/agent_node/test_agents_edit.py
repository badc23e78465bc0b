"""Changing `config.toml`: what its owner wrote stays as it is, and what cannot be changed safely is not changed."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.agents_edit import EditError, added, removed

TEXT = """# my swarm
mdns = false   # the office network drops it

[agent]
slots = 2

# the one for pictures
[[agents]]
name = "ocr"     # good
adapter = "command"
env = { LANG = "C" }

# the other one
[[agents]]
name = "other"

[coordinator]
budget_run = "money=5"
"""
ENTRY = {"name": "hermes", "adapter": "acp", "argv": ["/x/hermes", "acp"], "slots": 2, "confined": False}


def test_an_added_agent_is_read_back_and_all_else_stands_as_it_was() -> None:
    text = added(TEXT, ENTRY)
    assert text.startswith(TEXT)
    assert tomllib.loads(text)["agents"][-1] == ENTRY


def test_what_was_added_is_removed_without_a_trace() -> None:
    assert removed(added(TEXT, ENTRY), "hermes").rstrip() == TEXT.rstrip()
    assert removed(added("", ENTRY), "hermes") == ""


def test_removing_one_in_the_middle_leaves_the_others_and_their_comments() -> None:
    text = removed(TEXT, "ocr")
    assert "# the other one\n[[agents]]" in text
    assert "# my swarm" in text
    assert [one["name"] for one in tomllib.loads(text)["agents"]] == ["other"]
    assert tomllib.loads(text)["coordinator"] == {"budget_run": "money=5"}


def test_one_with_tables_of_its_own_goes_whole() -> None:
    text = '[[agents]]\nname = "a"\n[agents.env]\nX = "1"\n[[agents]]\nname = "b"\n'
    assert tomllib.loads(removed(text, "a")) == {"agents": [{"name": "b"}]}


def test_a_name_that_is_taken_and_one_that_is_not_there_are_refused() -> None:
    with pytest.raises(EditError, match="already"):
        added(TEXT, {"name": "ocr"})
    with pytest.raises(EditError, match="no agent") as caught:
        removed(TEXT, "nobody")
    assert "ocr, other" in caught.value.hint


@pytest.mark.parametrize(
    "text", ['agents = [{name = "a"}, {name = "b"}]\n', 'x = """\n[[agents]]\n"""\n[[agents]]\nname = "a"\n']
)
def test_what_cannot_be_changed_alone_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(EditError, match=r"safely|no agent") as caught:
        removed(text, "a")
    assert "by hand" in caught.value.hint


def test_an_inline_list_cannot_be_gone_on_with() -> None:
    with pytest.raises(EditError, match="safely") as caught:
        added('agents = [{name = "a"}]\n', ENTRY)
    assert "[[agents]]" in caught.value.hint


def test_a_broken_file_is_not_touched() -> None:
    with pytest.raises(EditError, match=r"config\.toml"):
        added("mdns = = 1\n", ENTRY)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.dictionaries(
        _TEXTS.filter(bool),
        _TEXTS | st.booleans() | st.lists(_TEXTS, max_size=3) | st.dictionaries(_TEXTS, _TEXTS, max_size=3),
        max_size=4,
    )
)
def test_whatever_an_entry_says_is_what_is_read(entry: dict[str, object]) -> None:
    entry = {**entry, "name": "one"}
    assert tomllib.loads(added(TEXT, entry))["agents"][-1] == entry
