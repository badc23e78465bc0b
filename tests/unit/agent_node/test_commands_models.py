"""`zwerm models` and `zwerm secrets`, as a person and a program get them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from agent_node.models import looking_http
from agent_node.models.prices import known_price
from agent_node.models.settings import read_options
from mesh.cli import main
from mesh.errors import MeshError
from mesh.home import Home, NodeFile
from tests.support.model_server import ModelServer

KEY = "sk-typed-in-4711"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A device in a swarm, as far as these verbs look."""
    node = NodeFile(
        swarm="s", swarm_id="0" * 32, name="n", node="0" * 32, roles=["agent"], bus_urls=[], bus_ca_sha256=""
    )
    Home(tmp_path).save(node)
    return tmp_path


def agents(home: Path, *entries: dict[str, Any]) -> None:
    lines = ["[agent]", "documents = false"]
    for number, options in enumerate(entries):
        table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        lines += ["[[agents]]", f'name = "m{number}"', 'adapter = "chat"', 'capability = "a.b"']
        lines += [f"options = {{ {table} }}"]
    (home / "config.toml").write_text("\n".join(lines))


@pytest.fixture
def zwerm(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*words: str, stdin: str = "") -> tuple[int, dict[str, Any], str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = main([*words, "--json", "--home", str(home)])
        said = capsys.readouterr()
        return code, json.loads(said.out.splitlines()[-1]), said.out + said.err

    return run


def test_a_secret_goes_in_by_standard_input_and_never_comes_out(zwerm: Any, home: Path) -> None:
    agents(home, {"url": "https://api.example/v1", "model": "m", "key": "secret:OTHER_KEY"})
    code, document, said = zwerm("secrets", "set", "MY_KEY", stdin=f"{KEY}\n")
    assert (code, document["kept"]) == (0, True)
    code, document, more = zwerm("secrets", "ls")
    assert [(one["name"], one["kept"], one["agents"]) for one in document["secrets"]] == [
        ("MY_KEY", True, []),
        ("OTHER_KEY", False, ["m0"]),
    ]
    assert KEY not in said + more
    assert zwerm("secrets", "rm", "MY_KEY")[0] == 0
    assert zwerm("secrets", "rm", "MY_KEY")[0] == 5
    assert (
        zwerm("secrets", "set", "MY_KEY", KEY)[0] == 2
    )  # a value among the arguments is a mistake, not a way


def test_models_are_listed_with_price_kind_and_health(zwerm: Any, home: Path) -> None:
    with ModelServer() as server:
        agents(
            home,
            {"url": server.url, "model": "scripted", "local": True},
            {"url": server.url, "model": "gone"},
            {"url": "http://127.0.0.1:9/v1", "model": "kimi-k3"},
        )
        code, document, _ = zwerm("models", "ls")
    assert code == 0
    free, unknown, down = document["models"]
    assert (free["kind"], free["price_text"], free["state"]) == ("local", "0 (local)", "up")
    assert (unknown["kind"], unknown["price"], unknown["state"]) == ("cloud", None, "up, without gone")
    assert down["state"].startswith("down: nothing answers at 127.0.0.1:9")


def test_a_model_is_tested_by_one_real_question(zwerm: Any, home: Path) -> None:
    with ModelServer() as server:
        agents(home, {"url": server.url, "model": "scripted", "local": True})
        code, document, _ = zwerm("models", "test", "m0")
        asked = server.requests[-1].body["messages"][1]["content"]
    assert (code, document["credits"]) == (0, 0)
    assert document["tokens"] > 0
    assert "ready" in asked
    assert zwerm("models", "test", "nobody")[0] == 5


def test_detect_finds_what_answers_at_the_ports_that_it_looks_at(
    zwerm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer() as server:
        monkeypatch.setattr(looking_http, "USUAL", (("ollama", server.port), ("vllm", 9)))
        monkeypatch.setattr(looking_http.detect, "__defaults__", (looking_http.USUAL,))
        code, document, _ = zwerm("models", "detect")
    assert code == 0
    assert document["servers"] == [{"program": "ollama", "url": server.url, "models": ["scripted", "other"]}]


def test_a_default_model_is_one_that_is_there(zwerm: Any, home: Path) -> None:
    agents(home, {"url": "http://127.0.0.1:9/v1", "model": "m", "local": True})
    assert zwerm("models", "default")[1]["agent"] == ""
    assert zwerm("models", "default", "nobody")[0] == 5
    assert zwerm("models", "default", "m0")[1]["agent"] == "m0"
    assert zwerm("models", "default")[1]["agent"] == "m0"


def test_prices_come_from_the_table_by_the_provider_and_are_otherwise_unknown(zwerm: Any) -> None:
    price = known_price("kimi-k3", "https://api.moonshot.ai/v1")
    assert price is not None
    assert (price.input, price.cached, price.output) == (3.0, 0.3, 15.0)
    assert (
        known_price("kimi-k3", "http://127.0.0.1:8080/v1") is None
    )  # whoever serves it here has another price
    assert known_price("no-such-model", "https://api.moonshot.ai/v1") is None
    _, document, _ = zwerm("models", "prices", "kimi-k3", "--url", "https://api.moonshot.ai/v1")
    [row] = document["prices"]
    assert (row["input"], row["cached"], row["output"], row["from"]) == (3.0, 0.3, 15.0, "table")
    _, document, _ = zwerm("models", "prices", "mystery")
    assert document["prices"][0]["output"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "m"}, "url"),
        ({"url": "ftp://x/v1", "model": "m"}, "must look like"),
        ({"url": "https://u:p@x/v1", "model": "m"}, "zwerm secrets"),
        ({"url": "https://x/v1?key=1", "model": "m"}, "zwerm secrets"),
        ({"url": "http://10.0.0.7/v1", "model": "m", "key": "secret:K"}, "unencrypted"),
        ({"url": "https://x/v1", "model": "m", "key": "sk-plain"}, "key"),
        ({"url": "https://x/v1", "model": "m", "max_tokens": 9000}, "max_tokens"),
        ({"url": "https://x/v1", "model": "m", "modle": "x"}, "no such setting; known:"),
        (
            {"url": "https://x/v1", "model": "m", "local": True, "price": {"input": 1.0, "output": 1.0}},
            "costs nothing",
        ),
        ({"url": "http://x:99999/v1", "model": "m"}, "Port"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(options: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match="options") as caught:
        read_options("kimi", options)
    assert words in str(caught.value)
    assert "kimi" in str(caught.value)
    assert not isinstance(caught.value, MeshError)
