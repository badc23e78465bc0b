"""What the owner may say, and how a mistake is explained."""

from __future__ import annotations

from typing import Any

import pytest

from agent_node.config import load_config
from agent_node.errors import ConfigError

COMMAND = {
    "name": "ocr",
    "adapter": "command",
    "capability": "image.text",
    "argv": ["/usr/bin/ocr", "--json"],
}
PYTHON = {"name": "shout", "adapter": "python", "capability": "text.shout", "target": "tools:shout"}


def explained(section: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(section, "/home/x/config.toml")
    assert caught.value.code == "E_CONFIG"
    assert caught.value.message.startswith("/home/x/config.toml: ")
    return caught.value.message


def test_nothing_said_is_safe_and_sound() -> None:
    section = load_config({}).agent
    assert section.slots >= 1
    assert section.documents
    assert not section.noop
    assert section.max_class == 1


def test_agents_are_read() -> None:
    config = load_config({"slots": 3, "agents": [COMMAND, PYTHON]})
    assert config.agent.slots == 3
    assert [(entry.name, entry.names) for entry in config.agents] == [
        ("ocr", ["image.text"]),
        ("shout", ["text.shout"]),
    ]
    assert config.agents[0].sandbox == "auto"
    assert config.agents[1].mode == "process"


def test_an_unknown_setting_is_named_with_those_that_there_are() -> None:
    message = explained({"slotz": 3})
    assert "slotz" in message
    assert "slots" in message.split("known:")[1]


def test_a_wrong_value_is_named_with_what_is_allowed() -> None:
    message = explained({"slots": 0})
    assert "[agent] slots" in message
    assert "greater than or equal to 1" in message
    assert "(it is 0)" in message


@pytest.mark.parametrize("value", ["2", 2.0, True])
def test_a_number_in_quotes_is_not_a_number(value: object) -> None:
    assert "slots" in explained({"slots": value})


def test_a_mistake_in_an_agent_is_named_by_the_agents_name() -> None:
    assert "[[agents]] ocr.sandbox" in explained({"agents": [PYTHON, COMMAND | {"sandbox": "off"}]})
    assert "[[agents]] number 1" in explained({"agents": [{"adapter": "python"}]})


@pytest.mark.parametrize(
    "word", ["{input}", "--file={params.name}", "$INPUT", "${INPUT}", "%(name)s", "{job[name]}"]
)
def test_a_placeholder_in_a_command_line_is_refused(word: str) -> None:
    message = explained({"agents": [COMMAND | {"argv": ["/bin/cat", word]}]})
    assert "placeholder" in message
    assert "standard input" in message


@pytest.mark.parametrize("word", ["--json", "a b", "{}", "100%", "a{2}", "*.txt", "~"])
def test_a_word_that_only_looks_odd_is_taken_as_it_is(word: str) -> None:
    assert load_config({"agents": [COMMAND | {"argv": ["/bin/echo", word]}]}).agents[0].argv == [
        "/bin/echo",
        word,
    ]


@pytest.mark.parametrize("name", ["API_KEY", "OPENAI_API_KEY", "DB_PASSWORD", "GITHUB_TOKEN", "my_secret"])
def test_a_secret_in_the_environment_of_work_is_refused(name: str) -> None:
    assert "secret" in explained({"agents": [PYTHON | {"env": {name: "x"}}]})


def test_an_ordinary_variable_is_allowed() -> None:
    assert load_config({"agents": [PYTHON | {"env": {"TOKENIZER": "fast"}}]}).agents[0].env == {
        "TOKENIZER": "fast"
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "x", "adapter": "command", "capability": "a.b"},
        {"name": "x", "adapter": "command", "argv": ["/bin/true"]},
        {"name": "x", "adapter": "command", "capability": "a.b", "argv": []},
        {"name": "x", "adapter": "command", "capability": "a.b", "argv": ["/bin/true"], "readable": ["etc"]},
        {"name": "x", "adapter": "python", "capability": "a.b"},
        {"name": "x", "adapter": "python", "capability": "a.b", "target": "no-colon"},
        {"name": "x", "adapter": "python", "capability": "A B", "target": "a:b"},
        {"name": "x y", "adapter": "python", "capability": "a.b", "target": "a:b"},
        {"name": "x", "adapter": "python", "capability": "a.b", "target": "a:b", "mode": "magic"},
        {"name": "x", "adapter": "command", "capability": "a.b", "argv": ["a\0b"]},
    ],
)
def test_an_agent_that_cannot_be_is_refused(broken: dict[str, Any]) -> None:
    explained({"agents": [broken]})


def test_two_agents_of_one_name_are_refused() -> None:
    assert "'ocr'" in explained({"agents": [COMMAND, COMMAND]})


def test_a_worker_limit_is_checked_where_it_stands() -> None:
    message = explained({"worker": {"memory": 5}})
    assert "[agent] worker.memory" in message
    assert "memory_mib" in message


def test_an_agent_may_say_that_its_price_is_unknown_and_what_it_uses_at_most() -> None:
    more = {"price": "unknown", "estimate": {"tokens": 20_000}}
    [plain, priced] = load_config({"agents": [COMMAND, PYTHON | more]}).agents
    assert (plain.price, plain.estimate.tokens) == ("measured", 0)
    assert (priced.price, priced.estimate.tokens) == ("unknown", 20_000)
    assert "[[agents]] shout.price" in explained({"agents": [PYTHON | {"price": "free"}]})
