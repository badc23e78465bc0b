"""What an answer that is no answer means: whether to ask again, wait, leave the key alone for a while, or give up. Pure.

| status | meaning |
|---|---|
| 408, 409, 5xx | passing: ask again, after `Retry-After` or a growing pause |
| 429 | a limit of use: ask again after it, more slowly; but a quota that is used up is not asked again |
| 401, 402, 403 | the key is wrong, without money or without leave: nobody asks with it for a while |
| 3xx | never followed: the key and the files are for the host that the owner named |
| 400, 413, 422 | the request: too long for the model, or something that it does not know |

Words of a server are shown, cut short, without control characters, and without the key should it repeat it.
"""

from __future__ import annotations

import email.utils
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from agent_node.errors import plain

__all__ = ["Action", "Verdict", "judge", "pause_s", "retry_after", "said_by"]

Action = Literal["again", "limited", "forbidden", "simpler", "fail"]

_QUOTA: Final = ("exceeded_current_quota_error", "insufficient_quota", "billing_hard_limit_reached")
_CONTEXT: Final = (
    "context_length",
    "context length",
    "context size",
    "maximum context",
    "too long",
    "exceeds the available",
)
_FORMAT: Final = ("response_format", "json_schema", "json schema", "grammar", "schema")
_SAID_MAX: Final = 300
_PAUSE_MOST_S: Final = 30.0
_LIMIT_MOST_S: Final = 60.0
FORBIDDEN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a failure.

    `again`: after `wait_s`. `limited`: the same, and more slowly from now on. `forbidden`: not with this key for a while. `simpler`: ask for JSON in
    a simpler way. `fail`: never like this.
    """

    action: Action
    code: str
    message: str
    wait_s: float = 0.0


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    where: str,
    number: int,
    now: float,
    rng: random.Random,
    structured: bool = False,
    hide: str = "",
) -> Verdict:
    """What an HTTP answer with this status means.

    Args:
        status: of the answer, not 200.
        headers: of the answer, names in small letters.
        body: its first bytes.
        where: the server, for words.
        number: how often it was asked before, for growing pauses.
        now: seconds since 1970, for dates in `Retry-After`.
        rng: for pauses that differ.
        structured: a form of JSON was asked for, which some servers do not know.
        hide: what must not be repeated.
    """
    said, kinds = said_by(body, hide)
    words = f"{where} answered {status}{f': {said}' if said else ''}"
    told = retry_after(headers, now)
    if 300 <= status < 400:
        return Verdict(
            "fail", "E_REDIRECT", f"{where} sends elsewhere, and that is not followed; correct `url`"
        )
    if status == 429 and any(kind in kinds for kind in _QUOTA):
        return Verdict("forbidden", "E_QUOTA", f"{words}; its quota is used up", told or FORBIDDEN_S)
    if status == 429:
        wait = told if told is not None else pause_s(number, rng, first=1.0, most=_LIMIT_MOST_S)
        return Verdict("limited", "E_LIMITED", words, wait)
    if status == 402:
        return Verdict(
            "forbidden", "E_QUOTA", f"{words}; nothing is left on that account", told or FORBIDDEN_S
        )
    if status in (401, 403):
        more = (
            "the key is wrong or missing: `zwerm secrets set`, and `key` of the agent"
            if status == 401
            else "it may not"
        )
        return Verdict("forbidden", "E_MODEL_KEY", f"{words}; {more}", told or FORBIDDEN_S)
    if status in (408, 409) or status >= 500:
        wait = told if told is not None else pause_s(number, rng)
        return Verdict("again", "E_MODEL_BUSY", words, wait)
    lowered = said.lower()
    if status == 413 or any(word in lowered or word in kinds for word in _CONTEXT):
        return Verdict("fail", "E_CONTEXT", f"{words}; it is too long for this model")
    if structured and status in (400, 422, 501) and any(word in lowered for word in _FORMAT):
        return Verdict("simpler", "E_MODEL_REQUEST", words)
    if status == 404:
        return Verdict(
            "fail", "E_MODEL", f"{words}; correct `url` and `model` (`zwerm models ls` asks the server)"
        )
    return Verdict("fail", "E_MODEL_REQUEST", words)


def pause_s(number: int, rng: random.Random, *, first: float = 0.5, most: float = _PAUSE_MOST_S) -> float:
    """How long to wait before asking for the (number + 1)th time: growing, and never for all askers alike."""
    return min(most, first * 2.0 ** min(number, 10)) * (0.5 + rng.random() / 2)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """What `Retry-After` says, in seconds; None when it says nothing that makes sense."""
    text = headers.get("retry-after-ms", "")
    scale = 0.001
    if not text:
        text, scale = headers.get("retry-after", "").strip(), 1.0
    if not text:
        return None
    try:
        seconds = float(text) * scale
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def said_by(body: bytes | Any, hide: str = "") -> tuple[str, set[str]]:
    """What a server says went wrong, in its words, and the names that it gives it (type, code)."""
    error: Any = body
    if isinstance(body, bytes):
        text = body[:65_536].decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return _shown(text, hide), set()
        error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, str):
        return _shown(error, hide), set()
    if not isinstance(error, dict):
        return "", set()
    kinds = {
        str(error[name]).lower()
        for name in ("type", "code", "status")
        if isinstance(error.get(name), (str, int))
    }
    message = error.get("message") or error.get("detail") or ""
    return _shown(message if isinstance(message, str) else json.dumps(message), hide), kinds


def _shown(text: str, hide: str) -> str:
    if hide:
        text = text.replace(hide, "[key]")
    words = " ".join(plain(text).split())
    return words if len(words) <= _SAID_MAX else f"{words[:_SAID_MAX]} ..."
