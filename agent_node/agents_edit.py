"""Adding and removing `[[agents]]` in the text of a `config.toml`, with everything else in it, comments too, left as its owner wrote it. Pure.

An entry is added as text at the end, which is where an array of tables may always go on. One is removed by taking out its lines. Either way the new
text is read again, and unless it says exactly what was meant the change is refused. Counterpart: `commands_agents`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from .errors import AgentError

__all__ = ["EditError", "added", "removed"]

_HEADER: Final = re.compile(r"^\s*\[")
_AGENTS: Final = re.compile(r"^\s*\[\[\s*agents\s*\]\]\s*(#.*)?$")
_BELOW: Final = re.compile(r"^\s*\[\[?\s*agents\s*\.")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


class EditError(AgentError):
    """The file cannot be changed by itself without changing more than was meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_CONFIG", message, hint)


def added(text: str, entry: Mapping[str, Any]) -> str:
    """The file with one more agent.

    Raises:
        EditError: there is one of that name, or the file is written in a way that cannot be gone on with.
    """
    before = _read(text)
    listed = before.get("agents", [])
    if any(one.get("name") == entry["name"] for one in listed):
        raise EditError(
            f"there is an agent {entry['name']!r} already",
            f"Choose another name: --name, or remove it first: zwerm agents rm {entry['name']}",
        )
    lines = ["[[agents]]", *(f"{_key(name)} = {_value(value)}" for name, value in entry.items())]
    start = text if not text or text.endswith("\n") else text + "\n"
    result = start + ("\n" if start else "") + "\n".join(lines) + "\n"
    return _checked(result, {**before, "agents": [*listed, dict(entry)]}, lines)


def removed(text: str, name: str) -> str:
    """The file without this agent.

    Raises:
        EditError: there is none of that name, or it cannot be taken out alone.
    """
    before = _read(text)
    listed = before.get("agents", [])
    kept = [one for one in listed if one.get("name") != name]
    if len(kept) == len(listed):
        known = ", ".join(str(one.get("name")) for one in listed) or "none"
        raise EditError(f"the configuration has no agent {name!r}", f"It has: {known}.")
    wanted = {**before, "agents": kept}
    if not kept:
        del wanted["agents"]
    lines = text.splitlines(keepends=True)
    number = next(at for at, one in enumerate(listed) if one.get("name") == name)
    starts = [at for at, line in enumerate(lines) if _AGENTS.match(line)]
    if number >= len(starts):
        raise _by_hand([])
    start = starts[number]
    end = next(
        (
            at
            for at in range(start + 1, len(lines))
            if _HEADER.match(lines[at]) and not _BELOW.match(lines[at])
        ),
        len(lines),
    )
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1  # what stands before the next heading belongs to that
    while start > 0 and not lines[start - 1].strip() and (end == len(lines) or not lines[end].strip()):
        start -= 1
    return _checked("".join(lines[:start] + lines[end:]), wanted, [])


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EditError(f"config.toml: {error}", "Correct the file first.") from None


def _checked(text: str, wanted: dict[str, Any], lines: list[str]) -> str:
    try:
        if tomllib.loads(text) == wanted:
            return text
    except tomllib.TOMLDecodeError:
        pass
    raise _by_hand(lines)


def _by_hand(lines: list[str]) -> EditError:
    what = ":\n\n" + "\n".join(lines) if lines else "."
    return EditError(
        "config.toml is written in a way that cannot be changed safely", f"Change it by hand{what}"
    )


def _key(name: str) -> str:
    return name if _BARE.match(name) else _string(name)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return _string(value) if isinstance(value, str) else repr(value)
