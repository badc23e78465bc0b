"""An answer of a model server, put together from the pieces of a stream or read from one document. Pure.

Rules. Everything comes from elsewhere, so every field may be missing or of another type: what has no meaning is left out, what is needed and is not
there ends it. Text beyond the bound ends it as well, before it is kept.
"""

from __future__ import annotations

import json
from typing import Any

from .counts import Counts, counts_of
from .sse import StreamError

__all__ = ["Answer", "AnswerError", "ServerSaid", "TooLong"]


class AnswerError(StreamError):
    """It is no answer of a chat endpoint."""


class TooLong(AnswerError):
    """It is longer than it may be."""


class ServerSaid(Exception):
    """The server says inside its answer that something went wrong: its object `error`."""

    def __init__(self, error: Any) -> None:
        super().__init__("error")
        self.error = error


class Answer:
    """One answer. `most`: characters that it may have, thinking included."""

    def __init__(self, most: int) -> None:
        self.finish = ""
        """Why it ended, in the server's word; "" while it has not."""
        self.counts: Counts | None = None
        self.called: list[str] = []
        """Names of tools that it wanted to have called."""
        self.model = ""
        self.pieces = 0
        """Pieces of text that came: about as many tokens."""
        self._text: list[str] = []
        self._thought: list[str] = []
        self._size = 0
        self._most = most
        self.done = False

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(self._text)

    @property
    def thought(self) -> str:
        """What it thought before, where the server tells."""
        return "".join(self._thought)

    @property
    def tail(self) -> str:
        """The end of what there is, for people who watch."""
        return "".join(self._text[-12:])[-80:]

    @property
    def complete(self) -> bool:
        """Whether the server has said that this is all."""
        return self.done or bool(self.finish)

    def event(self, data: str) -> bool:
        """One event of a stream; whether it brought text.

        Raises:
            AnswerError: it makes no sense.
            ServerSaid: it is an error.
        """
        if data.strip() == "[DONE]":
            self.done = True
            return False
        return self._take(_object(data), "delta")

    def document(self, data: bytes) -> None:
        """A whole answer.

        Raises:
            AnswerError: it makes no sense.
            ServerSaid: it is an error.
        """
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise AnswerError("the answer is not UTF-8") from None
        value = _object(text)
        if not isinstance(value.get("choices"), list) or not value["choices"]:
            if "error" in value:
                raise ServerSaid(value["error"])
            raise AnswerError("the answer has no `choices`")
        self._take(value, "message")
        self.done = True

    def _take(self, value: dict[str, Any], part: str) -> bool:
        if value.get("error"):
            raise ServerSaid(value["error"])
        if (counts := counts_of(value.get("usage"))) is not None:
            self.counts = counts
        if isinstance(value.get("model"), str):
            self.model = value["model"][:200]
        choices = value.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return False
        if (counts := counts_of(choice.get("usage"))) is not None:
            self.counts = counts
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
        message = choice.get(part)
        if not isinstance(message, dict):
            return False
        came = self._add(self._text, message.get("content"))
        for name in ("reasoning_content", "reasoning"):
            if isinstance(message.get(name), str):
                came = self._add(self._thought, message[name]) or came
                break
        for call in message.get("tool_calls") or () if isinstance(message.get("tool_calls"), list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                self.called.append(function["name"][:100])
        self.pieces += came
        return came

    def _add(self, parts: list[str], content: Any) -> bool:
        if isinstance(content, list):
            content = "".join(
                part["text"]
                for part in content
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            )
        if not isinstance(content, str) or not content:
            return False
        self._size += len(content)
        if self._size > self._most:
            raise TooLong(f"the answer has more than the {self._most:,} characters that it may have")
        parts.append(content)
        return True


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the server's answer is not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise AnswerError("the server's answer is not a JSON object")
    return value
