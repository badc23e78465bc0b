"""Adapter `chat`: a model behind an OpenAI-compatible endpoint: Ollama, llama.cpp, vLLM, LM Studio, Kimi, Hermes, OpenClaw.

    [[agents]]
    name = "qwen"
    adapter = "chat"
    capability = "text.summarize"
    options = { url = "http://127.0.0.1:11434/v1", model = "qwen3:8b", local = true, context = 32768 }

One piece of work is one question: its input files are text, and the answer is `result.md`, or `result.json` where the work says by a schema
what its result is; an answer that does not satisfy it is shown to the model again, twice. Counterparts: `models.settings` (the options), `models.asking` (the question).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError
from agent_node.models.answer import Answer
from agent_node.models.asking import Asker
from agent_node.models.client_http import ModelClient, require_library
from agent_node.models.prompt import Message, instructions, read_texts, task_message
from agent_node.models.request import first_form, json_of, reply_of
from agent_node.models.settings import ChatOptions, read_options
from agent_node.models.telling import Telling
from agent_node.models.tokens import BYTES_PER_TOKEN, MESSAGE_TOKENS, tokens_of
from agent_node.policy import AgentSpec
from agent_node.tariff import Tariff
from mesh.clock import SystemClock

from . import Place, spec_of
from .base import Emit, Job, Made, Outcome

__all__ = ["Chat", "from_entry", "make_chat"]

_QUIET_S: Final = 60.0
"""A server may read for so long before it says the first word."""
_REPAIRS: Final = 2
_TASK_TOKENS: Final = 400
"""The task's words and its marks; parameters are not known before."""
_THINKING: Final = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


def from_entry(entry: AgentEntry, place: Place) -> Chat:
    """The adapter for one `[[agents]]` of the configuration."""
    options = read_options(entry.name, entry.options)
    return make_chat(entry, options, place, secret_reader(place, options))


def make_chat(entry: AgentEntry, options: ChatOptions, place: Place, key: Callable[[], str]) -> Chat:
    """The adapter for an agent with these options; `key` is read for each request."""
    words = instructions(options.prompt, options.instructions)
    overhead = tokens_of(words) + _TASK_TOKENS + 2 * MESSAGE_TOKENS
    room = options.context - options.max_tokens - overhead
    if room <= 0:
        raise AdapterError(
            f"a context of {options.context:,} tokens has no room for work beside {options.max_tokens:,} of answer and {overhead:,} of instructions",
            "Raise `context` to what the model really has, or lower `max_tokens`.",
        )
    rates = usd_rates(options)
    tariff = Tariff(*(rates or (0, 0, 0)), written=options.max_tokens, overhead=overhead)
    quiet_s = entry.quiet_s if "quiet_s" in entry.model_fields_set else _QUIET_S
    spec = spec_of(
        entry,
        place,
        shared=False,
        slots=entry.slots or 4,
        quiet_ms=round(quiet_s * 1000),
        max_bytes=min(entry.max_input_mib << 20, room * BYTES_PER_TOKEN),
        unpriced=rates is None or entry.price == "unknown",
        tariff=tariff,
    )
    return Chat(spec, options, words, tariff, place, key, quiet_s=quiet_s, timeout_s=entry.timeout_s)


def usd_rates(options: ChatOptions) -> tuple[int, int, int] | None:
    """Micro-credits for a million tokens read, read from the server's memory, and written; None: unknown."""
    if options.local:
        return 0, 0, 0
    price = options.price
    if price is None:
        from agent_node.models.prices import known_price

        price = known_price(options.model, options.url)
    if price is None:
        return None
    cached = price.input if price.cached is None else price.cached
    read, known, written = (
        round(usd * options.credits_per_usd * 1_000_000) for usd in (price.input, cached, price.output)
    )
    return read, known, written


class Chat:
    """One model."""

    def __init__(
        self,
        spec: AgentSpec,
        options: ChatOptions,
        words: str,
        tariff: Tariff,
        place: Place,
        key: Callable[[], str],
        *,
        quiet_s: float,
        timeout_s: float,
    ) -> None:
        self._spec = spec
        self._options = options
        self._words = words
        self._tariff = tariff
        self._timeout_s = timeout_s
        self._key = key
        most = options.at_once or spec.slots
        self._client = ModelClient(options.url, silence_s=quiet_s, connections=most)
        gate = place.gates.of(str(self._client.where), options.key, most)
        rng = random.Random(spec.name)  # noqa: S311 - for the length of pauses
        self._asker = Asker(options, self._client, gate, self._key, SystemClock().now, rng)

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    def probe(self) -> None:
        """Check that the library is here and the key is kept. Nobody is asked: a server may come later."""
        require_library()
        self._key()

    def instant(self, job: Job) -> Outcome | None:
        """Never: a model is never instant."""
        return None

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Ask the model."""
        loop = asyncio.get_running_loop()
        telling = Telling(emit, self._tariff, job.caps, loop.time, self._options.wait_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                made = await self._made(job, telling)
        except TimeoutError:
            error = WorkError(
                "E_TIMEOUT", f"{self._options.model} was not done after {self._timeout_s:g} s", again=True
            )
            error.used = telling.used
            raise error from None
        except WorkError as error:
            error.used = telling.used
            raise
        return Outcome([made], used=telling.used)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _made(self, job: Job, telling: Telling) -> Made:
        schema = job.output_schema
        task = task_message(job, read_texts(job.inputs), self._spec.description, schema)
        messages: list[Message] = [
            {"role": "system", "content": self._words},
            {"role": "user", "content": task},
        ]
        form = first_form(self._options, schema)
        repairs = 0
        while True:
            answer = await self._asker.ask(messages, form, schema, telling)
            text = _text_of(answer, telling, self._options)
            if schema is None:
                return Made("result.md", text.encode("utf-8"), "text/markdown")
            value, wrong = checked(text, schema)
            if not wrong:
                data = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8")
                return Made("result.json", data, "application/json")
            if repairs == _REPAIRS:
                raise WorkError(
                    "E_OUTPUT",
                    f"{self._options.model} gave no answer of the form asked for: {wrong}",
                    again=True,
                )
            repairs += 1
            messages = [
                *messages[:2],
                reply_of(answer, thought=self._options.kimi),
                {
                    "role": "user",
                    "content": f"That is not of the form asked for: {wrong}\nAnswer again, with the JSON value alone.",
                },
            ]


def secret_reader(place: Place, options: ChatOptions) -> Callable[[], str]:
    """A function that reads the key of an agent when it is called; "" where it has none."""
    from agent_node.secrets_file import read_secret

    if not options.secret:
        return lambda: ""
    home = place.home or Path("/nonexistent")
    return lambda: read_secret(home, options.secret)


def checked(text: str, schema: dict[str, Any]) -> tuple[Any, str]:
    """The JSON value in a text, and what is wrong with it; "" if nothing is."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = json_of(text)
    except ValueError as problem:
        return None, f"it is not JSON ({problem})"
    registry: Registry[Any] = Registry()
    try:
        error: ValidationError | None = next(
            Draft202012Validator(schema, registry=registry).iter_errors(value), None
        )
    except (Unresolvable, RecursionError) as unusable:
        return value, f"it cannot be checked ({type(unusable).__name__})"
    if error is None:
        return value, ""
    place = "/".join(map(str, error.absolute_path))[:200]
    return value, f"at {place or 'the top'}: {error.message[:300]}"


def _text_of(answer: Answer, telling: Telling, options: ChatOptions) -> str:
    """What a complete answer says.

    Raises:
        WorkError: it is not an answer to be delivered.
    """
    text = _THINKING.sub("", answer.text).strip()
    if answer.finish == "length":
        if text:
            telling.leaves(Made("result.md", text.encode("utf-8"), "text/markdown"))
        raise WorkError(
            "E_LENGTH",
            f"the answer of {options.model} was longer than {options.max_tokens:,} tokens; raise `max_tokens`, or ask for less at a time",
            again=True,
        )
    if answer.finish == "content_filter":
        raise WorkError(
            "E_MODEL_REFUSED",
            f"the server of {options.model} withheld the answer (content filter)",
            again=True,
        )
    if not text and answer.called:
        raise WorkError(
            "E_MODEL_TOOL",
            f"{options.model} wanted to call {answer.called[0]!r}, and it has no tools here",
            again=True,
        )
    if not text:
        raise WorkError("E_EMPTY", f"{options.model} answered nothing", again=True)
    return text
