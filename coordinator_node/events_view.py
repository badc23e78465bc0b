"""An event as a line for people: when, which run, what, where, and what is to be said about it. Pure; `commands_events` prints."""

from __future__ import annotations

from typing import Any

from mesh.output import Out, clean
from protocol.messages import Event

__all__ = ["event_line"]

_WORDS = ("message", "reason", "note", "hint")
"""Entries of an event's data that are sentences: they stand at the end, without their name."""
_STYLE = {
    "run.opened": "bold",
    "run.closed": "bold",
    "subtask.accepted": "green",
    "subtask.failed": "red",
    "attempt.failed": "yellow",
    "attempt.refused": "yellow",
    "result.rejected": "yellow",
    "subtask.unbid": "yellow",
    "run.paused": "yellow",
    "budget.noted": "yellow",
}
_LIST_MAX = 4
_USUAL = (("state", "working"), ("wait_ms", 0))
_NOTHING: tuple[Any, ...] = ("", [], {}, None)


def event_line(out: Out, event: Event, time: str, run: str = "") -> str:
    """One line, in columns; `run` where events of several runs are told. A volatile event has no number of its own: `~`."""
    number = "~" if event.volatile else str(event.seq)
    kind = out.paint(f"{event.kind:<18}", "dim" if event.volatile else _STYLE.get(event.kind, "bold"))
    where = " ".join(
        part
        for part in (clean(event.subtask), f"@{clean(event.node_name)}" if event.node_name else "")
        if part
    )
    parts = [
        out.paint(time, "dim"),
        *([run] if run else []),
        f"{number:>5}",
        kind,
        f"{where:<24}",
        _about(event.data),
    ]
    return "  ".join(parts).rstrip()


def _about(data: dict[str, Any]) -> str:
    plain = [
        f"{key}={_value(value)}"
        for key, value in data.items()
        if key not in _WORDS and value not in _NOTHING and (key, value) not in _USUAL
    ]
    words = [clean(str(data[key])) for key in _WORDS if data.get(key)]
    return "  ".join([" ".join(plain), *words]).strip().replace("\n", " ")


def _value(value: Any) -> str:
    if isinstance(value, list):
        shown = [_value(entry) for entry in value[:_LIST_MAX]]
        more = [f"and {len(value) - _LIST_MAX} more"] if len(value) > _LIST_MAX else []
        return f"[{', '.join([*shown, *more])}]"
    if isinstance(value, dict):
        if "name" in value:
            return _value(value["name"])
        shown = [
            f"{clean(str(key))}:{_value(entry)}" for key, entry in value.items() if entry not in _NOTHING
        ]
        return f"{{{' '.join(shown)}}}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return clean(str(value))
