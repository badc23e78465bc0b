"""Shell: one model server over HTTP: a request out, its answer read as it comes. `httpx2` is loaded when the first one is made.

Rules. Nothing is followed: an answer that sends elsewhere is a refusal. No proxy is taken from the environment. What is read is bounded before it is
kept, compressed answers are refused, and leaving `chat` by whatever way closes its connection unless its answer was read to the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from agent_node.errors import AdapterError

from .answer import Answer, AnswerError, TooLong
from .settings import endpoint_of
from .sse import EventReader

if TYPE_CHECKING:
    import httpx2

__all__ = ["Broken", "ModelClient", "Refused", "require_library"]

_CONNECT_S: Final = 10.0
_AFTER_S: Final = 0.25
"""How long the end of a stream may take after its last event."""
_ERROR_BYTES: Final = 65_536
_PIECE_BYTES: Final = 1024
"""What one token may take on the wire: about four times what servers send."""
_BASE_BYTES: Final = 256 * 1024


class Refused(Exception):
    """The server answered with another status than 200."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = headers
        self.body = body


class Broken(Exception):
    """The server could not be asked, or its answer did not come whole."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def require_library() -> None:
    """Look whether the library is there, without loading it.

    Raises:
        AdapterError: it is not.
    """
    if importlib.util.find_spec("httpx2") is None:
        raise AdapterError(
            "talking to a model server needs the extra `models`, which is not installed",
            "Install it: pip install 'zwerm[models]', into zwerm's own environment.",
        )


class ModelClient:
    """One server, with its connections. `url` is up to and without `/chat/completions`."""

    def __init__(self, url: str, *, silence_s: float, connections: int) -> None:
        self.where = endpoint_of(url)
        self._url = url.rstrip("/")
        self._silence_s = silence_s
        self._connections = connections
        self._client: httpx2.AsyncClient | None = None

    async def chat(
        self, body: dict[str, Any], key: str, answer: Answer, most_tokens: int, heard: Callable[[], None]
    ) -> None:
        """Ask, and put what comes into `answer`; `heard` is called when text came.

        Raises:
            Refused: another status than 200.
            Broken: no connection, no answer in time, a cut answer.
            AnswerError, ServerSaid: what came is no answer, or an error.
        """
        data = json.dumps(body, ensure_ascii=False).encode("utf-8")
        most = _BASE_BYTES + _PIECE_BYTES * most_tokens
        async with self._request("POST", "/chat/completions", key, data) as response:
            await _read(response, answer, most, heard)
        if not answer.complete:
            raise Broken("E_MODEL_CUT", f"{self.where} ended its answer in the middle")

    async def get(self, path: str, key: str = "") -> Any:
        """A JSON document of the server, such as `/models`.

        Raises:
            Refused, Broken: as for `chat`.
        """
        async with self._request("GET", path, key, None) as response:
            data = await _bounded(response, 4 << 20)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Broken("E_MODEL_ANSWER", f"{self.where}{path} is not JSON") from None

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, key: str, data: bytes | None
    ) -> AsyncIterator[httpx2.Response]:
        import httpx2

        headers = {"authorization": f"Bearer {key}"} if key else {}
        if data is not None:
            headers["content-type"] = "application/json"
        try:
            async with self._opened().stream(
                method, self._url + path, content=data, headers=headers
            ) as response:
                if response.status_code != 200:
                    body = await _first_bytes(response)
                    raise Refused(response.status_code, dict(response.headers), body)
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise Broken("E_MODEL_ANSWER", f"{self.where} compresses its answers unasked")
                yield response
        except httpx2.ConnectTimeout:
            raise Broken("E_MODEL_DOWN", f"nothing answers at {self.where} within {_CONNECT_S:g} s") from None
        except httpx2.TimeoutException:
            raise Broken("E_MODEL_SILENT", f"{self.where} said nothing for {self._silence_s:g} s") from None
        except httpx2.ConnectError as error:
            raise Broken("E_MODEL_DOWN", f"nothing answers at {self.where} ({error})") from None
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            words = str(error) or type(error).__name__
            raise Broken("E_MODEL_CUT", f"{self.where} broke off: {words}") from None

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2

            for name in ("httpx2", "httpcore2"):
                logging.getLogger(name).setLevel(logging.WARNING)
            # Without TLS no certificates are needed: an empty context costs nothing, and trusts nobody.
            context = None if self.where.encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._client = httpx2.AsyncClient(
                verify=True if context is None else context,
                trust_env=False,
                follow_redirects=False,
                headers={"accept-encoding": "identity", "user-agent": "zwerm"},
                timeout=httpx2.Timeout(self._silence_s, connect=_CONNECT_S, pool=None),
                limits=httpx2.Limits(
                    max_connections=self._connections + 2, max_keepalive_connections=self._connections
                ),
            )
        return self._client


async def _read(response: httpx2.Response, answer: Answer, most: int, heard: Callable[[], None]) -> None:
    streamed = "event-stream" in response.headers.get("content-type", "")
    reader, whole, size = EventReader(), bytearray(), 0
    pieces = response.aiter_raw()
    async for piece in pieces:
        size += len(piece)
        if size > most:
            raise TooLong(f"the server sent more than the {most:,} bytes that such an answer can have")
        if not streamed:
            whole += piece
            continue
        for data in reader.feed(piece):
            if answer.event(data):
                heard()
        if answer.done:
            # The connection can be used again if the stream ends here, as it should; one that goes on is closed.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AFTER_S):
                    while await anext(pieces, None) == b"":
                        pass
            return
    if not streamed:
        answer.document(bytes(whole))
        heard()


async def _bounded(response: httpx2.Response, most: int) -> bytes:
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > most:
            raise AnswerError(f"the server sent more than {most:,} bytes")
    return bytes(data)


async def _first_bytes(response: httpx2.Response) -> bytes:
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) >= _ERROR_BYTES:
            break
    return bytes(data[:_ERROR_BYTES])
