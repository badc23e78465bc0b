"""Why an agent program came to nothing, as a typed failure that says what to do: from its end, its last words, or its error. Pure.

What goes to a buyer is the code and the message, so each message stands alone. Counterparts: `acp`, `headless` (meet the failures).
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from agent_node.errors import WorkError, plain

__all__ = ["ended_early", "nothing_made", "protocol_error", "says_that_it_failed", "stopped"]

_AUTH_REQUIRED: Final = -32000
_LOGIN: Final = re.compile(
    r"not logged in|log ?in (first|required)|auth(entication|orization)? ?(is )?(required|failed)|unauthori[sz]ed|"
    r"invalid api.?key|no api.?key|api.?key (is )?(missing|not)|\b401\b",
    re.IGNORECASE,
)
_LIMITED: Final = re.compile(
    r"\b429\b|rate.?limit|too many requests|quota|insufficient (funds|credits|balance)", re.IGNORECASE
)
_VERSION: Final = re.compile(
    r"(requires?|needs?|unsupported|minimum).{0,40}(node|python|version)|node:\w+ is unavailable|Unsupported engine",
    re.IGNORECASE,
)
_RETRY_S: Final = 60.0


def ended_early(
    who: str, status: int | None, tail: str, *, when: str, login: str, noise: str = ""
) -> WorkError:
    """The program ended, or closed its output, before it had answered. `status` None: it still runs."""
    said = f": {tail}" if tail else ""
    known = _known(who, f"{tail} {noise}", login)
    if known is not None:
        return known
    if status == 0:
        begins = f"; its output begins: {noise!r}" if noise else ""
        return WorkError(
            "E_AGENT_NONSENSE",
            f"{who} ended without an error and without an answer, {when}{begins}{said}. Check its command line: `zwerm agents test`",
            again=True,
        )
    how = _how(status)
    return WorkError("E_AGENT_DIED", f"{who} {how}, {when}{said}", again=True)


def protocol_error(who: str, method: str, code: int, message: str, data: object, *, login: str) -> WorkError:
    """The program answered with an error."""
    details = "" if data in (None, "", {}) else plain(json.dumps(data, ensure_ascii=False, default=str), 500)
    text = plain(f"{message} {details}".strip(), 800)
    if code == _AUTH_REQUIRED:
        return _not_logged_in(who, text, login)
    known = _known(who, text, login, retry_s=_retry_s(data))
    if known is not None:
        return known
    return WorkError("E_AGENT", f"{who} answered {method} with an error: {text}", again=True)


def says_that_it_failed(who: str, said: str, *, login: str) -> WorkError:
    """The program ended in good order and says that it failed."""
    known = _known(who, said, login)
    if known is not None:
        return known
    return WorkError("E_AGENT", f"{who} says that it failed: {plain(said, 800)}", again=True)


def stopped(who: str, reason: str, said: str) -> WorkError | None:
    """Why a turn that ended with this reason is no result; None: it is one. `said`: its text."""
    if reason == "end_turn":
        return None
    if reason == "refusal":
        why = f": {plain(said, 400)}" if said else ""
        return WorkError("E_REFUSED", f"{who} refused to do this work{why}", again=True)
    if reason in ("max_tokens", "max_turn_requests"):
        what = "tokens" if reason == "max_tokens" else "requests to its model"
        return WorkError(
            "E_AGENT_LIMIT",
            f"{who} used all the {what} that its own settings allow for one turn; make the work smaller, or allow it more",
            again=True,
        )
    if reason == "cancelled":
        return WorkError("E_CANCELLED", f"{who} says that its turn was cancelled", again=True)
    return WorkError(
        "E_AGENT_NONSENSE", f"{who} ended its turn for an unknown reason: {plain(reason, 80)!r}", again=True
    )


def nothing_made(who: str) -> WorkError:
    """It says that it is done, and there is neither a file nor a word."""
    return WorkError(
        "E_OUTPUT", f"{who} says that it is done, and made no file and gave no answer", again=True
    )


def _known(who: str, text: str, login: str, retry_s: float = _RETRY_S) -> WorkError | None:
    if _VERSION.search(text):
        return WorkError(
            "E_AGENT_VERSION",
            f"{who} does not work with what is installed here: {plain(text.strip(), 500)}",
            again=True,
        )
    if _LIMITED.search(text):
        return WorkError(
            "E_LIMITED", f"{who} met a limit of use: {plain(text.strip(), 500)}", again=True, retry_s=retry_s
        )
    if _LOGIN.search(text):
        return _not_logged_in(who, text, login)
    return None


def _not_logged_in(who: str, text: str, login: str) -> WorkError:
    todo = f"; its owner has to do: {login}" if login else ""
    return WorkError(
        "E_AGENT_LOGIN", f"{who} is not logged in ({plain(text.strip(), 300)}){todo}", again=True
    )


def _how(status: int | None) -> str:
    if status is None:
        return "closed its output"
    if -status in set(signal.Signals):
        return f"was ended by {signal.Signals(-status).name}"
    if status > 128 and status - 128 in set(signal.Signals):
        return f"was ended by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _retry_s(data: object) -> float:
    found: Any = data.get("retryAfter", data.get("retry_after")) if isinstance(data, Mapping) else None
    if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= 86_400:
        return float(found)
    return _RETRY_S
