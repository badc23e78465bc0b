"""What a run costs while it happens, for the live line: folded from the events that a watcher gets. Pure; a screen's figure, the journal's are in `runs show`."""

from __future__ import annotations

from typing import Any, Final

from .budget import KINDS
from .budget_text import amount_text

__all__ = ["Cost"]

_SHOWN: Final = ("money", "tokens")
_ENDINGS: Final = ("subtask.accepted", "attempt.failed", "result.rejected")


class Cost:
    """What was spent so far, of which budget."""

    def __init__(self) -> None:
        self.limit: dict[str, int] = {}
        self.spent: dict[str, int] = dict.fromkeys(KINDS, 0)
        self._price: dict[str, int] = {}
        self._running: dict[str, dict[str, int]] = {}

    def take(self, kind: str, subtask: str, data: dict[str, Any]) -> str:
        """Fold one event; a line about it if it says something of the budget."""
        if kind == "run.opened":
            self.limit = {name: int(amount) for name, amount in dict(data.get("budget") or {}).items()}
        elif kind == "subtask.awarded":
            self._price[subtask] = int(data.get("price", 0))
        elif kind == "attempt.progress":
            self._running[subtask] = _amounts(data)
        elif kind in _ENDINGS:
            self._running.pop(subtask, None)
            used = _amounts(data)
            used["money"] = used.get("money") or self._price.get(subtask, 0)
            for name, amount in used.items():
                self.spent[name] += amount
        elif kind == "child.closed":
            for name, amount in _amounts(data).items():
                self.spent[name] += amount
        elif kind == "budget.noted":
            return f"budget   {data.get('message', '')}"
        return ""

    def text(self) -> str:
        """For the foot of the live view; empty where nothing is bounded."""
        parts = []
        for kind in _SHOWN:
            if kind not in self.limit:
                continue
            now = self.spent[kind] + sum(used.get(kind, 0) for used in self._running.values())
            amount = amount_text(kind, now).split()
            parts.append(f"{amount[0]} of {amount_text(kind, self.limit[kind])}")
        return ", ".join(parts)


def _amounts(data: dict[str, Any]) -> dict[str, int]:
    used = data.get("used")
    if not isinstance(used, dict):
        return {}
    return {kind: int(used[kind]) for kind in KINDS if isinstance(used.get(kind), int)}
