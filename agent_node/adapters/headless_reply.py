"""What an agent program said that did one task and ended: its answer, what it used, what it cost, what went wrong. Pure.

Programs print one JSON document, or a line of JSON for each event, or plain text; their names for the same thing differ. All are read by one rule:
whatever is understood counts, the last answer is the answer, and usage that is told more than once is told as a total. Counterpart: `headless`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent_node.errors import plain
from protocol.messages import Usage

from .acp_turn import micro

__all__ = ["Reply", "read_reply", "with_usage"]

_ANSWERS: Final = ("final", "result", "response", "finalText", "text")
_COSTS: Final = ("total_cost_usd", "costUsd", "cost_usd", "estimated_cost_usd")
_IN: Final = ("input_tokens", "input", "inputTokens", "prompt_tokens")
_OUT: Final = ("output_tokens", "output", "outputTokens", "completion_tokens")
_TOTAL: Final = ("total_tokens", "totalTokens", "total")
_ALSO: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")
"""Counted beside the input by those that name them."""
_MOST: Final = 1 << 52


@dataclass(slots=True)
class Reply:
    """All that was understood."""

    answer: str = ""
    error: str = ""
    tokens: int = 0
    money: int = 0
    steps: int = 0

    @property
    def used(self) -> Usage:
        """As the wire has it; the answer is a step at least."""
        return Usage(
            tokens=min(_MOST, self.tokens), money=min(_MOST, self.money), steps=min(_MOST, max(1, self.steps))
        )


def read_reply(output: str) -> Reply:
    """The reply in what a program printed."""
    reply = Reply()
    found = False
    for value in _values(output):
        found = True
        _take(reply, value)
    if not found:
        reply.answer = output.strip()
    return reply


def with_usage(reply: Reply, text: str) -> None:
    """Add what a program wrote into a file of its usage."""
    for value in _values(text):
        _count(reply, value)
        if value.get("failed") is True and not reply.error:
            reply.error = "it says that it failed"


def _values(output: str) -> Iterator[Mapping[str, Any]]:
    whole = _parsed(output)
    if whole is not None:
        yield from whole
        return
    for line in output.splitlines():
        yield from _parsed(line) or ()


def _parsed(text: str) -> list[Mapping[str, Any]] | None:
    """The objects of a JSON text; None: it is none (a number or a string alone is an answer in words)."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    listed = value if isinstance(value, list) else [value]
    found = [one for one in listed if isinstance(one, Mapping)]
    return found or None


def _take(reply: Reply, value: Mapping[str, Any]) -> None:
    _count(reply, value)
    error = value.get("error")
    if isinstance(error, Mapping):
        error = error.get("message") or json.dumps(error, ensure_ascii=False, default=str)
    failed = value.get("ok") is False or value.get("is_error") is True
    if value.get("type") in ("error", "turn.failed"):
        error = error or value.get("message") or "an error"
    item = value.get("item")
    if isinstance(item, Mapping):
        if item.get("type") in ("agent_message", "assistant_message"):
            _answer(reply, item.get("text"))
        elif value.get("type") == "item.completed" and item.get("type") not in ("reasoning", "error"):
            reply.steps += 1
    elif value.get("role") == "assistant":
        _answer(reply, value.get("content"))
        calls = value.get("tool_calls")
        reply.steps += len(calls) if isinstance(calls, list) else 0
    else:
        _answer(reply, next((value[name] for name in _ANSWERS if value.get(name)), None))
    tools = value.get("toolSummary")
    if isinstance(tools, Mapping):
        reply.steps = max(reply.steps, _whole(tools.get("calls")))
    if error or failed:
        reply.error = plain(str(error or reply.answer or "it says that it failed"), 800)


def _answer(reply: Reply, content: object) -> None:
    if isinstance(content, Mapping):
        content = content.get("text") or content.get("content")
    if isinstance(content, list):
        content = "".join(
            str(part.get("text", ""))
            for part in content
            if isinstance(part, Mapping) and part.get("type") == "text"
        )
    if isinstance(content, str) and content.strip():
        reply.answer = content.strip()


def _count(reply: Reply, value: Mapping[str, Any]) -> None:
    usage = value.get("usage")
    for given in (usage, value):
        if not isinstance(given, Mapping):
            continue
        total = max(
            _first(given, _TOTAL),
            _first(given, _IN) + _first(given, _OUT) + sum(_whole(given.get(name)) for name in _ALSO),
        )
        reply.tokens = max(reply.tokens, total)
        reply.money = max([reply.money, *(micro(given.get(name)) for name in _COSTS)])
        reply.steps = max(reply.steps, _whole(given.get("api_calls")), _whole(given.get("num_turns")))


def _first(given: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((_whole(given[name]) for name in names if name in given), 0)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0
