"""Shell: one question to a model server until it is answered or given up: the gate, the request, the verdict, the pause, and once more.

Counterparts: `client_http` (speaks), `failures` (judges), `gate` (lets in), `telling` (says how it goes).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from agent_node.errors import WorkError

from .answer import Answer, AnswerError, ServerSaid, TooLong
from .client_http import Broken, ModelClient, Refused
from .failures import Verdict, judge, pause_s
from .gate import Gate
from .prompt import Message, tokens_in
from .ramp import Ended
from .request import Form, body, simpler
from .settings import ChatOptions
from .sse import StreamError
from .telling import Telling
from .tokens import tokens_of

__all__ = ["Asker"]

_CHARACTERS_PER_TOKEN: Final = 32
"""More than any token has, so that an answer within its tokens is never cut short."""
_ENDED: Final[dict[str, Ended]] = {"limited": "limited", "forbidden": "forbidden", "simpler": "ok"}


class Asker:
    """Asks one server for one agent. `key` is read anew for each request, so that a new one counts at once; `now` is seconds since 1970."""

    def __init__(
        self,
        options: ChatOptions,
        client: ModelClient,
        gate: Gate,
        key: Callable[[], str],
        now: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._options = options
        self._client = client
        self._gate = gate
        self._key = key
        self._now = now
        self._rng = rng
        self._form: Form | None = None
        """The form of JSON that this server turned out to take; None: not yet known."""

    async def ask(
        self, messages: Sequence[Message], form: Form, schema: dict[str, Any] | None, telling: Telling
    ) -> Answer:
        """The answer.

        Raises:
            WorkError: there is none, and why.
        """
        read = tokens_in(messages)
        wanted = self._options.max_tokens
        if read + wanted > self._options.context:
            raise WorkError(
                "E_CONTEXT",
                f"the work is about {read:,} tokens and its answer up to {wanted:,}, and this model reads and writes "
                f"{self._options.context:,} together; give it less at a time, or a model with a larger context",
                again=True,
            )
        if form != "text" and self._form is not None:
            form = self._form
        number = 0
        while True:
            wanted = telling.allowed(read, self._options.max_tokens)
            began = await self._gate.enter(telling.waits)
            answer = Answer(_CHARACTERS_PER_TOKEN * wanted)
            verdict: Verdict | None = None
            ended: Ended = "other"
            try:
                telling.asks(read, f"asks {self._options.model}")
                verdict = await self._once(
                    body(self._options, messages, form, schema, wanted), answer, wanted, telling, number
                )
                ended = "ok" if verdict is None else _ENDED.get(verdict.action, "other")
            finally:
                words, wait_s = (verdict.message, verdict.wait_s) if verdict else ("", 0.0)
                self._gate.leave(ended, began, wait_s, words)
            if verdict is None:
                telling.over(answer.counts, tokens_of(answer.text) + tokens_of(answer.thought))
                if form != "text":
                    self._form = form
                return answer
            if answer.pieces:
                telling.over(answer.counts, tokens_of(answer.text) + tokens_of(answer.thought))
            else:
                telling.not_used()
            if verdict.action == "simpler":
                form = _or_fail(simpler(form), verdict)
                continue
            number += 1
            await self._wait(verdict, number, telling)

    async def _once(
        self, request: dict[str, Any], answer: Answer, wanted: int, telling: Telling, number: int
    ) -> Verdict | None:
        """Ask once; None when it was answered. `number`: how often it was asked before."""
        key = self._key()
        where = str(self._client.where)

        def of(status: int, headers: Any, said: bytes) -> Verdict:
            return judge(
                status,
                headers,
                said,
                where=where,
                number=number,
                now=self._now(),
                rng=self._rng,
                structured="response_format" in request,
                hide=key,
            )

        try:
            await self._client.chat(
                request, key, answer, wanted, lambda: telling.heard(answer.pieces, wanted, answer.tail)
            )
        except Refused as refused:
            return of(refused.status, refused.headers, refused.body)
        except ServerSaid as said:
            return of(_status_of(said.error), {}, json.dumps({"error": said.error}).encode())
        except TooLong as error:
            return Verdict("fail", "E_OUTPUT_LIMIT", f"{where}: {error}")
        except (AnswerError, StreamError) as error:
            return Verdict("again", "E_MODEL_ANSWER", f"{where}: {error}", pause_s(number, self._rng))
        except Broken as broken:
            return Verdict("again", broken.code, broken.message, pause_s(number, self._rng))
        return None

    async def _wait(self, verdict: Verdict, number: int, telling: Telling) -> None:
        """Before the next request.

        Raises:
            WorkError: there is to be none.
        """
        if verdict.action == "fail":
            raise WorkError(verdict.code, verdict.message, again=True)
        if verdict.action == "forbidden":
            wait_s = self._gate.ramp.wait_s(asyncio.get_running_loop().time())
            raise WorkError(verdict.code, verdict.message, again=True, retry_s=max(wait_s, verdict.wait_s))
        wait_s = verdict.wait_s
        if number >= self._options.tries or wait_s > self._options.wait_s:
            times = f" ({number} tries)" if number > 1 else ""
            retry_s = wait_s if verdict.action == "limited" else 0.0
            raise WorkError(verdict.code, f"{verdict.message}{times}", again=True, retry_s=retry_s)
        if verdict.action == "again":  # a limit of use is waited for at the gate
            telling.pauses(f"{verdict.message}; asks again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)


def _or_fail(form: Form | None, verdict: Verdict) -> Form:
    if form is None:
        raise WorkError(verdict.code, verdict.message, again=True)
    return form


def _status_of(error: Any) -> int:
    """The status that an error inside an answer would have had."""
    if isinstance(error, dict):
        for name in ("status", "code", "status_code"):
            value = error.get(name)
            if isinstance(value, str) and value.isdecimal():
                value = int(value)
            if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
                return value
        kind = str(error.get("type", "")) + str(error.get("code", ""))
        if "rate_limit" in kind or "quota" in kind:
            return 429
        if "invalid_request" in kind or "context_length" in kind:
            return 400
    return 500
