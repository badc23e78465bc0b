"""What can go wrong on a node that sells work, with a code for programs and words for people.

Two kinds. `ConfigError` and `AdapterError` stop an agent from being offered at all and are shown to the node's owner. `WorkError` ends one
attempt and travels to the buyer as `failed`: its code and message are all that anybody learns, so each must stand alone.
"""

from __future__ import annotations

import re
import unicodedata

from protocol.errors import ZwermError
from protocol.messages import Usage

__all__ = [
    "CODE",
    "AdapterError",
    "AgentError",
    "ConfigError",
    "OutboxError",
    "OutboxFull",
    "WorkError",
    "plain",
]

CODE = re.compile(r"[EW]_[A-Z0-9_]{1,40}\Z")
"""What a failure's code looks like on the wire (SPEC MSG-2)."""
_TEXT_MAX = 2000


class AgentError(ZwermError):
    """Base of everything in this package that has a name."""


class ConfigError(AgentError):
    """A configuration file of this node says something that cannot be: names the file, the key and what is allowed."""

    def __init__(self, message: str, hint: str = "Correct the file and start the node again.") -> None:
        super().__init__("E_CONFIG", message, hint)


class AdapterError(AgentError):
    """An agent cannot be offered on this device: its program, its function or its sandbox is missing."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("E_ADAPTER", message, hint)


class OutboxError(AgentError):
    """The file of unacknowledged results cannot be opened or written."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__("E_OUTBOX", message, hint)


class OutboxFull(OutboxError):
    """There is no room for it on the disk now; nothing of it was written."""


class WorkError(AgentError):
    """One attempt ended without a result. `again`: another try, perhaps elsewhere, could go otherwise, though not before `retry_s`."""

    def __init__(self, code: str, message: str, *, again: bool, hint: str = "", retry_s: float = 0.0) -> None:
        if not CODE.match(code):
            message, code = f"{code}: {message}", "E_WORK"
        super().__init__(code, plain(message), hint)
        self.again = again
        self.retry_s = retry_s
        self.used: Usage | None = None
        """What the agent counted before it ended, if it counts."""


def plain(text: str, limit: int = _TEXT_MAX) -> str:
    """`text` without control characters, escape sequences or direction marks, at most `limit` characters (its end is kept).

    Output of programs goes to other people's terminals; it must not be able to move their cursor.
    """
    kept = "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co") else "\ufffd"
        for char in text
    )
    return kept if len(kept) <= limit else "…" + kept[len(kept) - limit + 1 :]
