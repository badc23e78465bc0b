"""The scripted model server itself: four dialects say the same, whole and streamed, and call tools; programs under test rely on it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.model_server import Fault, ModelServer

TEXT = "Ada wrote a program"
SAID = "4 words, sha 67466785, first: Ada wrote a program"
TOOL = {"type": "object", "properties": {"path": {"type": "string"}}}
CALL = 'Please.\nCALL read {"path": "a.txt"}'


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def ask(server: ModelServer, path: str, body: dict[str, Any]) -> str:
    data = json.dumps(body).encode()
    request = urllib.request.Request(
        server.url.removesuffix("/v1") + path, data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


def events(text: str) -> list[dict[str, Any]]:
    datas = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


def asked(dialect: str, text: str, *, stream: bool = False, result: str = "") -> tuple[str, dict[str, Any]]:
    """Path and body of a question, with a tool on offer, and perhaps with the tool's result."""
    user = {"role": "user", "content": text}
    if dialect == "chat":
        more = [{"role": "tool", "tool_call_id": "call_1", "content": result}] if result else []
        tools = [{"type": "function", "function": {"name": "read", "parameters": TOOL}}]
        return "/v1/chat/completions", {"messages": [user, *more], "tools": tools, "stream": stream}
    if dialect == "responses":
        more = [{"type": "function_call_output", "call_id": "call_1", "output": result}] if result else []
        tools = [{"type": "function", "name": "read", "parameters": TOOL}]
        return "/v1/responses", {"input": [user, *more], "tools": tools, "stream": stream}
    if dialect == "messages":
        block = {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": result}],
        }
        more = [{"role": "user", "content": [block]}] if result else []
        return "/v1/messages", {
            "messages": [user, *more],
            "tools": [{"name": "read", "input_schema": TOOL}],
            "stream": stream,
        }
    part = {"functionResponse": {"name": "read", "response": {"text": result}}}
    contents = [
        {"role": "user", "parts": [{"text": text}]},
        *([{"role": "user", "parts": [part]}] if result else []),
    ]
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    tools = [{"functionDeclarations": [{"name": "read", "parameters": TOOL}]}]
    return f"/v1beta/models/scripted:{verb}", {"contents": contents, "tools": tools}


def text_in(dialect: str, value: dict[str, Any]) -> str:
    """The text of a whole answer."""
    if dialect == "chat":
        return value["choices"][0]["message"]["content"]
    if dialect == "responses":
        return value["output"][0]["content"][0]["text"]
    if dialect == "messages":
        return value["content"][0]["text"]
    return value["candidates"][0]["content"]["parts"][0]["text"]


def streamed_text(dialect: str, each: list[dict[str, Any]]) -> str:
    """The same from the pieces of a stream."""
    if dialect == "chat":
        return "".join(event["choices"][0]["delta"].get("content", "") for event in each if event["choices"])
    if dialect == "responses":
        return "".join(event["delta"] for event in each if event["type"] == "response.output_text.delta")
    if dialect == "messages":
        return "".join(event["delta"]["text"] for event in each if event["type"] == "content_block_delta")
    return "".join(text_in(dialect, event) for event in each)


def call_in(dialect: str, value: dict[str, Any]) -> tuple[str, Any]:
    """The tool that a whole answer wants to have called, and with what."""
    if dialect == "chat":
        function = value["choices"][0]["message"]["tool_calls"][0]["function"]
        return function["name"], json.loads(function["arguments"])
    if dialect == "responses":
        return value["output"][0]["name"], json.loads(value["output"][0]["arguments"])
    if dialect == "messages":
        return value["content"][0]["name"], value["content"][0]["input"]
    call = value["candidates"][0]["content"]["parts"][0]["functionCall"]
    return call["name"], call["args"]


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages", "gemini"])
def test_every_dialect_says_the_same_and_calls_tools(server: ModelServer, dialect: str) -> None:
    whole = json.loads(ask(server, *asked(dialect, TEXT)))
    assert text_in(dialect, whole) == SAID
    assert streamed_text(dialect, events(ask(server, *asked(dialect, TEXT, stream=True)))) == SAID
    called = json.loads(ask(server, *asked(dialect, CALL)))
    assert call_in(dialect, called) == ("read", {"path": "a.txt"})
    after = json.loads(ask(server, *asked(dialect, CALL, result="the bytes of a.txt")))
    assert "tool said" in text_in(dialect, after)
    assert "the bytes of a.txt" in text_in(dialect, after)


def test_what_is_asked_decides_what_is_answered_and_nothing_else(server: ModelServer) -> None:
    first, again = (ask(server, *asked("chat", TEXT)) for _ in range(2))
    other = ask(server, *asked("chat", TEXT + "!"))
    assert first == again != other


def test_a_fault_meets_whom_it_was_ordered_for_and_as_often(server: ModelServer) -> None:
    server.order(Fault("503", path="/messages", retry_after="7"))
    assert ask(server, *asked("chat", TEXT))
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(server, *asked("messages", TEXT))
    with caught.value as error:
        assert (error.code, error.headers["retry-after"]) == (503, "7")
    assert ask(server, *asked("messages", TEXT))
