"""A model server for tests: real sockets, no model. What it answers follows from what it is asked, and faults come when they are ordered.

    with ModelServer() as server:
        server.order(Fault("429", retry_after="1"))          the next request meets it; `times`, `model` and `path` narrow it
        url = server.url                                     http://127.0.0.1:PORT/v1
        server.requests                                      what was asked: path, headers, body, and whether the asker left early

It speaks four dialects: `/v1/chat/completions` (streamed or not), `/v1/responses`, `/v1/messages`, and Gemini's `generateContent`. The answer is made from the
last user's message: a JSON value where a schema is asked for (the smallest that satisfies it), otherwise `<words> words, sha <8 digits>, first: <words>`.
Where tools are offered and the message has a line `CALL name {json}`, that tool is called, and its result is the answer of the next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.model_dialects import DIALECTS, Speech, answer_to, dialect, tokens

__all__ = ["Fault", "ModelServer", "Seen"]

_REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(slots=True)
class Fault:
    """What goes wrong with a request.

    `kind`: a status ("429", "500", ...), or `stall` (silence after the first words), `silence` (nothing at all), `cut` (closed in the middle), `malformed`
    (nonsense for JSON), `nonsense` (JSON, but no answer), `latin1` (not UTF-8), `flood` (50 MB of words), `wrong_schema`, `prose` (no JSON), `slow`
    (a piece each `pace_s`), `redirect`, `error_inside` (an error in a good answer), `length` (ended by its length), `filter`, `empty`, `tool`.
    """

    kind: str
    times: int = 1
    retry_after: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    path: str = ""
    pace_s: float = 0.02


@dataclass(slots=True)
class Seen:
    """One request, and what became of it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    left: bool = False
    """The asker closed the connection before the answer was whole."""
    over: bool = False
    usage: dict[str, int] = field(default_factory=dict)
    """What the server counted, in the words of chat completions."""


class ModelServer:
    """The server, in a thread of its own."""

    def __init__(self, *, key: str = "", port: int = 0) -> None:
        self.key = key
        self.port = port
        self.requests: list[Seen] = []
        self.most_at_once = 0
        self.connections = 0
        self.accepted = 0
        self.hold = threading.Event()
        """While it is set, answers wait after their first words."""
        self._faults: list[Fault] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def order(self, *faults: Fault) -> None:
        """Let the next requests meet these."""
        with self._lock:
            self._faults += faults

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            self.accepted += 1
            try:
                while await self._one(reader, writer):
                    pass
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self.connections -= 1
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", self.port, limit=1 << 26)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may come on the same connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(urlsplit(target).path, headers, json.loads(raw) if raw else {})
        out = _Out(writer)
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            await out.json(
                {"error": {"message": f"bad key {headers.get('authorization', '')}", "type": "auth"}}, 401
            )
            self.requests.append(seen)
            return True
        if method == "GET":
            await out.json(
                {
                    "object": "list",
                    "data": [{"id": "scripted", "object": "model"}, {"id": "other", "object": "model"}],
                }
            )
            return True
        with self._lock:
            self.requests.append(seen)
            self._busy += 1
            self.most_at_once = max(self.most_at_once, self._busy)
            fault = self._fault_for(seen)
        gone = asyncio.ensure_future(_until_gone(reader))
        work = asyncio.ensure_future(self._answer(seen, out, fault))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                seen.left = True
                return False
            with contextlib.suppress(ConnectionError):
                return work.result()
            seen.left = True
            return False
        finally:
            for task in (gone, work):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await work
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone
            with self._lock:
                self._busy -= 1
            seen.over = True

    def _fault_for(self, seen: Seen) -> Fault | None:
        for fault in self._faults:
            if (not fault.model or fault.model == seen.body.get("model")) and fault.path in seen.path:
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    async def _answer(self, seen: Seen, out: _Out, fault: Fault | None) -> bool:
        kind = fault.kind if fault else ""
        if fault is not None and kind.isdecimal():
            more = {"retry-after": fault.retry_after} if fault.retry_after else {}
            error = {"message": f"scripted failure {kind}", "type": "scripted", **fault.error}
            await out.json({"error": error}, int(kind), more)
            return True
        if kind == "redirect":
            await out.json({}, 302, {"location": "http://elsewhere.example/v1/chat/completions"})
            return True
        if kind == "silence":
            await asyncio.Event().wait()
        if kind == "malformed":
            await out.raw(b'{"choices": [{"message": ', "application/json")
            return True
        if kind == "nonsense":
            await out.json({"hello": ["world", None, 1e9], "choices": "none"})
            return True
        text, call = answer_to(seen.path, seen.body)
        if kind in ("wrong_schema", "prose", "empty"):
            text = {"wrong_schema": '{"unexpected": true}', "prose": "Of course! Here you are.", "empty": ""}[
                kind
            ]
        if kind == "tool":
            text, call = "", ("lookup", "{}")
        finish = {"length": "length", "filter": "content_filter"}.get(kind, "tool_calls" if call else "stop")
        speak = Speech(text, call, finish, seen.body, tokens(json.dumps(seen.body.get("messages", ""))))
        make = DIALECTS[dialect(seen.path)]
        counted = DIALECTS["completions"].usage(speak)
        seen.usage = {name: counted[name] for name in ("prompt_tokens", "completion_tokens")}
        if not (seen.body.get("stream") or "stream" in seen.path):
            if kind in ("stall", "cut"):
                await out.partial_json(make.whole(speak))
                if kind == "stall":
                    await asyncio.Event().wait()
                return False
            if kind == "latin1":
                await out.raw(b'{"choices": [{"message": {"content": "caf\xe9"}}]}', "application/json")
                return True
            if kind == "flood":
                await out.raw(b" " * (50 << 20), "application/json")
                return False
            await out.json(make.whole(speak))
            return True
        await out.start_stream()
        events = make.events(speak)
        for number, (name, event) in enumerate(events):
            if number == 3 and kind == "stall":
                await asyncio.Event().wait()
            if number == 3 and kind == "cut":
                return False
            if number == 3 and kind == "latin1":
                await out.chunk(b'data: {"choices": [{"delta": {"content": "caf\xe9"}}]}\n\n')
            if number == 3 and kind == "malformed_event":
                await out.chunk(b"data: {not json}\n\n")
            if number == 3 and kind == "error_inside":
                await out.chunk(b'data: {"error": {"message": "engine broke", "type": "server_error"}}\n\n')
            if number == 3 and kind == "flood":
                piece = b'data: {"choices": [{"delta": {"content": "' + b"flood " * 10_000 + b'"}}]}\n\n'
                for _ in range((50 << 20) // len(piece)):
                    await out.chunk(piece)
            while number == 3 and self.hold.is_set():
                await asyncio.sleep(0.01)
            await out.event(event, name)
            if kind == "slow" and fault is not None:
                await asyncio.sleep(fault.pace_s)
        await out.end_stream()
        return True


async def _until_gone(reader: asyncio.StreamReader) -> None:
    """The asker has closed. Nothing is read, so that a next request stays whole."""
    while not reader.at_eof() and reader.exception() is None:
        await asyncio.sleep(0.005)


class _Out:
    """An HTTP/1.1 answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def raw(
        self, data: bytes, media_type: str, status: int = 200, more: dict[str, str] | None = None
    ) -> None:
        self._head(status, {"content-type": media_type, "content-length": str(len(data)), **(more or {})})
        self._writer.write(data)
        await self._writer.drain()

    async def json(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        await self.raw(json.dumps(value).encode(), "application/json", status, more)

    async def partial_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._head(200, {"content-type": "application/json", "content-length": str(len(data))})
        self._writer.write(data[: len(data) // 2])
        await self._writer.drain()

    async def start_stream(self) -> None:
        self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        await self._writer.drain()

    async def event(self, value: Any, name: str = "") -> None:
        data = value if isinstance(value, str) else json.dumps(value)
        await self.chunk((f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode())

    async def chunk(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def end_stream(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Scripted')}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())


def main() -> None:
    """`python -m tests.support.model_server [PORT]`: serve until it is stopped, and print the address."""
    import sys

    with ModelServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
