"""One turn of an agent that speaks the Agent Client Protocol: what its messages mean for a job. A core: plain objects in, plain objects out.

Rules. Agents differ and none is believed: what is missing, null or of another type is left out, and only what is understood counts. Texts go on
without control characters. Leave is chosen by the `kind` of an option and never by its place; leave for ever is never given, since it would
outlive the job in the agent's own settings. Counterparts: `acp` (moves the bytes), `program_failures` (says why a turn came to nothing).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent_node.errors import WorkError, plain
from protocol.messages import Usage

__all__ = ["Asked", "Said", "Turn", "asked", "micro", "outcome"]

TEXT_MOST: Final = 8 << 20
"""Characters that one answer may have."""
_SAY_EVERY: Final = 160
"""Characters of text after which progress is said, if no line has ended before."""
_NOTE_MOST: Final = 160
_MOST: Final = 1 << 52


@dataclass(frozen=True, slots=True)
class Said:
    """Progress: what to show of it."""

    note: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Asked:
    """An agent asks for leave to use a tool: its words for it, and the exact arguments."""

    tool: str
    title: str
    arguments: str
    """As one line of JSON with sorted keys, so that its hash names them."""
    options: tuple[tuple[str, str], ...]
    """(kind, id) of what may be answered."""


@dataclass(slots=True)
class Turn:
    """Everything that is known of one turn so far."""

    text: list[str] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    """Title by the id of the call."""
    tokens: int = 0
    money: int = 0
    """Millionths of a credit; a dollar that a program names is a credit."""
    fraction: float = 0.0
    noise: int = 0
    """Lines that were no message."""
    length: int = 0
    first_noise: str = ""
    _quiet: int = 0
    _tail: str = ""
    _context: int = 0

    @property
    def used(self) -> Usage:
        """What it has used: the first answer is a step, and so is each use of a tool."""
        return Usage(
            tokens=min(_MOST, self.tokens or self._context),
            money=min(_MOST, self.money),
            steps=max(1, len(self.tools)),
        )

    @property
    def answer(self) -> str:
        """All of its text that belongs to the answer."""
        return "".join(self.text).strip()

    def update(self, update: Mapping[str, Any]) -> Said | None:
        """Take a `session/update`; returns what to say of it, if anything.

        Raises:
            WorkError: E_OUTPUT_LIMIT, it says without end.
        """
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                return self._spoke(_text(update.get("content")), heard=True)
            case "agent_thought_chunk":
                return self._spoke(_text(update.get("content")), heard=False)
            case "tool_call":
                return self._tool(update)
            case "tool_call_update":
                return self._tool(update)
            case "plan":
                return self._plan(update.get("entries"))
            case "usage_update":
                self._context = max(self._context, _count(update.get("used")))
                cost = update.get("cost")
                if isinstance(cost, Mapping) and cost.get("currency", "USD") == "USD":
                    self.money = max(self.money, micro(cost.get("amount")))
                return Said("", self.fraction)
        return None

    def ended(self, reply: Mapping[str, Any]) -> str:
        """Take the answer to `session/prompt`; returns why the turn ended."""
        usage = reply.get("usage")
        if isinstance(usage, Mapping):
            total = _count(usage.get("totalTokens"))
            parts = sum(_count(usage.get(name)) for name in ("inputTokens", "outputTokens", "thoughtTokens"))
            self.tokens = max(self.tokens, total, parts)
        return str(reply.get("stopReason", ""))

    def noticed(self, line: bytes) -> None:
        """A line was no message."""
        if not self.noise:
            self.first_noise = plain(line[:120].decode("utf-8", "replace"), 120)
        self.noise += 1

    def _spoke(self, text: str, *, heard: bool) -> Said | None:
        self.length += len(text)
        if self.length > TEXT_MOST:
            raise WorkError(
                "E_OUTPUT_LIMIT",
                f"the agent said more than {TEXT_MOST:,} characters and was ended; ask it to write files",
                again=False,
            )
        first = self._quiet == 0 and not self.text
        self._tail = (self._tail + text[-2 * _NOTE_MOST :])[-2 * _NOTE_MOST :]
        if heard:
            self.text.append(text)
        self._quiet += len(text)
        if not text or not (first or "\n" in text or self._quiet >= _SAY_EVERY):
            return None
        self._quiet = 0
        last = self._tail.strip().rpartition("\n")[2]
        return Said(plain(last if heard else f"thinks: {last}", _NOTE_MOST), self.fraction)

    def _tool(self, update: Mapping[str, Any]) -> Said | None:
        name = str(update.get("toolCallId") or "")
        title = update.get("title")
        if name and (name not in self.tools or title):
            self.tools[name] = one_line(title or update.get("kind") or "a tool")
        status = update.get("status")
        if not name or (update.get("sessionUpdate") == "tool_call_update" and status is None and not title):
            return None
        words = {"completed": "done: ", "failed": "failed: "}.get(str(status), "")
        return Said(plain(f"{words}{self.tools[name]}", _NOTE_MOST), self.fraction)

    def _plan(self, entries: object) -> Said | None:
        if not isinstance(entries, list):
            return None
        steps = [entry for entry in entries if isinstance(entry, Mapping)]
        done = sum(1 for entry in steps if entry.get("status") == "completed")
        now = next((entry for entry in steps if entry.get("status") == "in_progress"), None)
        if steps:
            self.fraction = max(self.fraction, min(0.99, done / len(steps)))
        note = one_line(now.get("content")) if now is not None else f"{done} of {len(steps)} steps done"
        return Said(plain(note, _NOTE_MOST), self.fraction)


def asked(params: Mapping[str, Any], known: Mapping[str, str]) -> Asked:
    """What a `session/request_permission` asks for. `known`: titles of calls that were announced before."""
    call = params.get("toolCall")
    call = call if isinstance(call, Mapping) else {}
    given = call.get("rawInput")
    if given is None:
        given = {name: call[name] for name in ("content", "locations") if call.get(name)}
    listed = params.get("options")
    options = tuple(
        (str(option.get("kind", "")), str(option["optionId"]))
        for option in (listed if isinstance(listed, list) else [])
        if isinstance(option, Mapping) and isinstance(option.get("optionId"), str)
    )
    title = call.get("title") or known.get(str(call.get("toolCallId"))) or call.get("kind") or "a tool"
    return Asked(
        one_line(call.get("kind") or "other"),
        one_line(title),
        json.dumps(given, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str),
        options,
    )


def outcome(asked: Asked, *, allow: bool) -> tuple[dict[str, Any], bool]:
    """The answer to a request for leave, and whether leave is given: only where leave for this once is on offer."""
    want = "allow_once" if allow else "reject_once"
    chosen = next((name for kind, name in asked.options if kind == want), None)
    if allow and chosen is None:
        return outcome(asked, allow=False)
    if chosen is None:
        return {"outcome": {"outcome": "cancelled"}}, False
    return {"outcome": {"outcome": "selected", "optionId": chosen}}, allow


def micro(dollars: object) -> int:
    """An amount of money in millionths, never less than it is; 0 for what is none."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars <= 1e9:
        return 0
    return -int(-(dollars * 1_000_000) // 1)


def one_line(value: object) -> str:
    """A text of somebody else in one line."""
    return plain(" ".join(str(value)[:1000].split()), 300)


def _text(content: object) -> str:
    if isinstance(content, Mapping) and isinstance(content.get("text"), str):
        return str(content["text"])
    return ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0
