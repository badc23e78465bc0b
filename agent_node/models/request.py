"""The body of a request to `/chat/completions`, in the form that a server wants. Pure.

Moonshot's models want `max_completion_tokens`, take no sampling parameters, and want their thinking (`reasoning_content`) back with the next turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from .answer import Answer
from .prompt import Message
from .settings import ChatOptions

__all__ = ["Form", "body", "first_form", "json_of", "reply_of", "simpler"]

Form = Literal["text", "schema", "object", "words"]
"""How the answer's form is asked for: free text; JSON by its schema; any JSON object; JSON in words only."""

_FENCE: Final = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


def first_form(options: ChatOptions, schema: dict[str, Any] | None) -> Form:
    """How to ask first."""
    if schema is None:
        return "text"
    chosen: dict[str, Form] = {"auto": "schema", "schema": "schema", "object": "object", "none": "words"}
    return chosen[options.structured]


def simpler(form: Form) -> Form | None:
    """What to ask for where a server does not know this; None when there is nothing simpler."""
    following: dict[Form, Form | None] = {"schema": "object", "object": "words", "words": None, "text": None}
    return following[form]


def body(
    options: ChatOptions,
    messages: Sequence[Message],
    form: Form,
    schema: dict[str, Any] | None,
    max_tokens: int,
) -> dict[str, Any]:
    """The request."""
    made: dict[str, Any] = {"model": options.model, "messages": list(messages), "stream": options.stream}
    made["max_completion_tokens" if options.kimi else "max_tokens"] = max_tokens
    if options.stream:
        made["stream_options"] = {"include_usage": True}
    if options.temperature is not None and not options.kimi:
        made["temperature"] = options.temperature
    if options.effort:
        made["reasoning_effort"] = options.effort
    if form == "schema":
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": "result", "schema": schema}}
    elif form == "object":
        made["response_format"] = {"type": "json_object"}
    return made


def reply_of(answer: Answer, *, thought: bool) -> Message:
    """The model's turn, to be sent back with the next one."""
    message: Message = {"role": "assistant", "content": answer.text}
    if thought and answer.thought:
        message["reasoning_content"] = answer.thought
    return message


def json_of(text: str) -> Any:
    """The JSON value that a model wrote, out of a fence if it put it into one.

    Raises:
        ValueError: there is none.
    """
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced.group(1) if fenced else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
