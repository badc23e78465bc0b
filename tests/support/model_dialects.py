"""What the scripted model server answers, and how it says it in four dialects. Counterpart: `model_server`."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any


def tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _texts(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or () if isinstance(part, dict))


def answer_to(path: str, body: dict[str, Any]) -> tuple[str, tuple[str, str] | None]:
    """The text of the answer, or the tool to be called with its arguments."""
    user, result, tools, schema = _asked(path, body)
    wanted = re.findall(r"^CALL (\S+) (\{.*\})\s*$", user, re.MULTILINE)
    if result is not None:
        return f"tool said: {result[-200:]}", None
    if wanted and wanted[-1][0] in tools:
        return "", wanted[-1]
    if schema is not None:
        return json.dumps(_smallest(schema)), None
    files = re.findall(r"<<<file \S+ [^\n]*\n(.*?)\n>>>end", user, re.DOTALL)
    subject = "\n".join(files) or user
    words = subject.split()
    digest = hashlib.sha256(subject.encode()).hexdigest()[:8]
    return f"{len(words)} words, sha {digest}, first: {' '.join(words[:12])}", None


def _asked(path: str, body: dict[str, Any]) -> tuple[str, str | None, list[str], Any]:
    speech = dialect(path)
    user, result, schema = "", None, None
    tools = [(tool.get("function") or tool).get("name", "") for tool in body.get("tools", ())]
    if speech == "gemini":
        tools = [
            one["name"] for tool in body.get("tools", ()) for one in tool.get("functionDeclarations", ())
        ]
        for turn in body.get("contents", ()):
            for part in turn.get("parts", ()):
                if "text" in part and turn.get("role", "user") == "user":
                    user, result = part["text"], None
                elif "functionResponse" in part:
                    result = json.dumps(part["functionResponse"].get("response"))
        schema = (body.get("generationConfig") or {}).get("responseSchema")
        return user, result, tools, schema
    turns = body.get("messages") if speech != "responses" else body.get("input", "")
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    for turn in turns or ():
        content = turn.get("content")
        given = (
            [part for part in content if part.get("type") == "tool_result"]
            if isinstance(content, list)
            else []
        )
        if turn.get("type") == "function_call_output":
            result = str(turn.get("output"))
        elif turn.get("role") == "tool":
            result = _texts(content)
        elif given:
            result = _texts(given[-1].get("content"))
        elif turn.get("role") == "user":
            user, result = _texts(content), None
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        schema = form["json_schema"].get("schema")
    elif form.get("type") == "json_object":
        stated = user.rpartition("\n")[2]
        schema = json.loads(stated) if stated.startswith("{") else {}
    return user, result, tools, schema


def _smallest(schema: dict[str, Any]) -> Any:
    """A small value that satisfies a simple schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {
            name: _smallest(properties.get(name, {"type": "string"}))
            for name in schema.get("required", properties)
        }
    if kind == "array":
        return [_smallest(schema.get("items", {"type": "string"})) for _ in range(schema.get("minItems", 1))]
    if kind == "string":
        return "s" * max(1, schema.get("minLength", 1))
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 0.5), "boolean": True}.get(
        kind
    )


# --- how it is said ---


@dataclass(frozen=True, slots=True)
class Speech:
    text: str
    call: tuple[str, str] | None
    finish: str
    body: dict[str, Any]
    read: int

    @property
    def words(self) -> list[str]:
        return re.findall(r"\S+\s*", self.text)

    @property
    def written(self) -> int:
        return max(1, len(self.words))


def dialect(path: str) -> str:
    for name in ("chat/completions", "responses", "messages"):
        if path.endswith(name):
            return name.rpartition("/")[2]
    return "gemini"


class _Chat:
    @staticmethod
    def usage(said: Speech) -> dict[str, Any]:
        thought = 3 if said.body.get("reasoning_effort") else 0
        return {
            "prompt_tokens": said.read,
            "completion_tokens": said.written + thought,
            "total_tokens": said.read + said.written + thought,
            "prompt_tokens_details": {"cached_tokens": said.read // 2},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }

    @classmethod
    def whole(cls, said: Speech) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
        if said.body.get("reasoning_effort"):
            message["reasoning_content"] = "let me think"
        if said.call:
            function = {"name": said.call[0], "arguments": said.call[1]}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": said.finish}
        return {
            "id": "c1",
            "object": "chat.completion",
            "model": said.body.get("model"),
            "choices": [choice],
            "usage": cls.usage(said),
        }

    @classmethod
    def events(cls, said: Speech) -> list[tuple[str, Any]]:
        def piece(delta: dict[str, Any], finish: str | None = None) -> tuple[str, Any]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return "", {
                "id": "c1",
                "object": "chat.completion.chunk",
                "model": said.body.get("model"),
                "choices": [choice],
            }

        made = [piece({"role": "assistant", "content": ""})]
        if said.body.get("reasoning_effort"):
            made += [piece({"reasoning_content": word}) for word in ("let ", "me ", "think")]
        made += [piece({"content": word}) for word in said.words]
        if said.call:
            function = {"name": said.call[0], "arguments": said.call[1]}
            made.append(
                piece(
                    {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
                )
            )
        made.append(piece({}, said.finish))
        if (said.body.get("stream_options") or {}).get("include_usage"):
            made.append(
                ("", {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": cls.usage(said)})
            )
        return [*made, ("", "[DONE]")]


class _Responses:
    @staticmethod
    def item(said: Speech) -> dict[str, Any]:
        if said.call:
            return {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": said.call[0],
                "arguments": said.call[1],
                "status": "completed",
            }
        content = [{"type": "output_text", "text": said.text, "annotations": []}]
        return {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }

    @classmethod
    def whole(cls, said: Speech) -> dict[str, Any]:
        usage = {
            "input_tokens": said.read,
            "output_tokens": said.written,
            "total_tokens": said.read + said.written,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": said.body.get("model"),
            "output": [cls.item(said)],
            "usage": usage,
        }

    @classmethod
    def events(cls, said: Speech) -> list[tuple[str, Any]]:
        whole, item = cls.whole(said), cls.item(said)
        made: list[dict[str, Any]] = [
            {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
        ]
        where = {"item_id": item["id"], "output_index": 0}
        empty = {"arguments": ""} if said.call else {"content": []}
        made.append(
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, **empty, "status": "in_progress"},
            }
        )
        if said.call:
            made.append({"type": "response.function_call_arguments.delta", **where, "delta": said.call[1]})
            made.append({"type": "response.function_call_arguments.done", **where, "arguments": said.call[1]})
        else:
            part = {"type": "output_text", "text": "", "annotations": []}
            made.append({"type": "response.content_part.added", **where, "content_index": 0, "part": part})
            made += [
                {"type": "response.output_text.delta", **where, "content_index": 0, "delta": word}
                for word in said.words
            ]
            made.append({"type": "response.output_text.done", **where, "content_index": 0, "text": said.text})
            made.append(
                {
                    "type": "response.content_part.done",
                    **where,
                    "content_index": 0,
                    "part": {**part, "text": said.text},
                }
            )
        made.append({"type": "response.output_item.done", "output_index": 0, "item": item})
        made.append({"type": "response.completed", "response": whole})
        return [(event["type"], {**event, "sequence_number": number}) for number, event in enumerate(made)]


class _Messages:
    @staticmethod
    def whole(said: Speech) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": said.text}
        if said.call:
            block = {
                "type": "tool_use",
                "id": "toolu_1",
                "name": said.call[0],
                "input": json.loads(said.call[1]),
            }
        usage = {"input_tokens": said.read, "output_tokens": said.written}
        reason = "tool_use" if said.call else "max_tokens" if said.finish == "length" else "end_turn"
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": said.body.get("model"),
            "content": [block],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }

    @classmethod
    def events(cls, said: Speech) -> list[tuple[str, Any]]:
        whole = cls.whole(said)
        [block] = whole["content"]
        begun = {**block, "input": {}} if said.call else {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in said.words]
        if said.call:
            deltas = [{"type": "input_json_delta", "partial_json": said.call[1]}]
        made: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": begun},
            *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
                "usage": whole["usage"],
            },
            {"type": "message_stop"},
        ]
        return [(event["type"], event) for event in made]


class _Gemini:
    @staticmethod
    def part(said: Speech, text: str) -> dict[str, Any]:
        if said.call:
            return {"functionCall": {"name": said.call[0], "args": json.loads(said.call[1])}}
        return {"text": text}

    @classmethod
    def whole(cls, said: Speech, text: str | None = None, *, last: bool = True) -> dict[str, Any]:
        content = {"role": "model", "parts": [cls.part(said, said.text if text is None else text)]}
        candidate: dict[str, Any] = {"index": 0, "content": content}
        if last:
            candidate["finishReason"] = "MAX_TOKENS" if said.finish == "length" else "STOP"
        usage = {
            "promptTokenCount": said.read,
            "candidatesTokenCount": said.written,
            "totalTokenCount": said.read + said.written,
        }
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}

    @classmethod
    def events(cls, said: Speech) -> list[tuple[str, Any]]:
        words = said.words or [""]
        return [
            ("", cls.whole(said, word, last=number == len(words) - 1)) for number, word in enumerate(words)
        ]


DIALECTS: dict[str, Any] = {
    "completions": _Chat,
    "responses": _Responses,
    "messages": _Messages,
    "gemini": _Gemini,
}
