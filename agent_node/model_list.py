"""This device's models without a swarm: the shell behind `zwerm models`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from mesh.clock import SystemClock
from mesh.home import private_write

from .adapters import Place, factory_of
from .adapters.base import Job
from .config import AgentEntry
from .errors import AdapterError
from .local import NoSuchAgentError, configured
from .models.embedded import model_path, read_local_options
from .models.prices import known_price
from .models.settings import ChatOptions, UsdPrice, endpoint_of, read_options
from .secrets_file import read_secret

__all__ = ["listed", "price_rows", "prices_here", "read_default", "try_model", "write_default"]

_DEFAULT: Final = "model.json"
_IN_PROCESS: Final = "http://127.0.0.1:1/v1"
"""Stands for a model that this node loads itself when there is work."""
_QUESTION: Final = "Answer with the one word ready."


async def listed(home: Path, *, ask: bool) -> list[dict[str, Any]]:
    """Each agent's model, and, if `ask`, whether its server has it."""
    found = []
    for entry, options in _chats(home):
        price, source = price_of(options)
        state = "not asked"
        if ask:
            state = await _state(home, options)
        found.append(
            {
                "agent": entry.name,
                "model": options.model,
                "url": "" if options.url == _IN_PROCESS else options.url,
                "where": "local" if options.local else str(endpoint_of(options.url)),
                "kind": "local" if options.local else "cloud",
                "price": None if price is None else price.model_dump(),
                "price_from": source,
                "price_text": _price_text(price, source),
                "context": options.context,
                "state": state,
            }
        )
    return found


async def _state(home: Path, options: ChatOptions) -> str:
    if options.url == _IN_PROCESS:
        return "installed" if model_path(home, options.model).is_file() else "not installed"
    from .models.looking_http import ask_health

    try:
        key = read_secret(home, options.secret) if options.secret else ""
    except AdapterError as error:
        return error.message
    health = await ask_health(options.url, key)
    if not health.up:
        return f"down: {health.problem}"
    if health.models and options.model not in health.models:
        return f"up, without {options.model}"
    return "up"


async def try_model(home: Path, name: str) -> dict[str, Any]:
    """One question to an agent's model, as its adapter asks it.

    Raises:
        NoSuchAgentError: no agent of this name has a model.
        WorkError, AdapterError: it did not answer.
    """
    entry, options = _chat(home, name)
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="zwerm-test-") as scratch:
        adapter = factory_of(entry)(entry, Place(configured(home), Path(scratch), home=home))
        adapter.probe()
        job = Job("test", "model.test", {"question": _QUESTION}, Path(scratch))
        began = clock.monotonic()
        try:
            outcome = await adapter.run(job, lambda *_: None)
        finally:
            await adapter.close()
    used, [made] = outcome.used, outcome.outputs
    assert used is not None
    assert isinstance(made.content, bytes)
    return {
        "agent": name,
        "model": options.model,
        "answer": made.content.decode("utf-8", "replace")[:500],
        "wall_s": round(clock.monotonic() - began, 3),
        "tokens": used.tokens,
        "credits": used.money / 1_000_000,
    }


def read_default(home: Path) -> str:
    """The agent whose model plans; "" if none was chosen."""
    try:
        return str(json.loads((home / _DEFAULT).read_bytes())["agent"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def write_default(home: Path, name: str) -> None:
    """Choose it.

    Raises:
        NoSuchAgentError: no agent of this name has a model.
    """
    _chat(home, name)
    private_write(home / _DEFAULT, json.dumps({"schema": "zwerm.model/1", "agent": name}).encode() + b"\n")


def prices_here(home: Path) -> list[dict[str, Any]]:
    """What each agent's model costs."""
    return [_row(options.model, *price_of(options)) for _, options in _chats(home)]


def price_rows(model: str, url: str) -> dict[str, Any]:
    """What a model costs at a server, by the table."""
    price = known_price(model, url)
    return _row(model, price, "table" if price else "unknown")


def price_of(options: ChatOptions) -> tuple[UsdPrice | None, str]:
    """What an agent's model costs, and who says so."""
    if options.local:
        return UsdPrice(input=0.0, output=0.0, cached=0.0), "local"
    if options.price is not None:
        return options.price, "config.toml"
    price = known_price(options.model, options.url)
    return price, "table" if price else "unknown"


def _row(model: str, price: UsdPrice | None, source: str) -> dict[str, Any]:
    known = {"input": None, "cached": None, "output": None} if price is None else price.model_dump()
    if price is not None and known["cached"] is None:
        known["cached"] = known["input"]
    return {"model": model, **known, "from": source}


def _price_text(price: UsdPrice | None, source: str) -> str:
    if price is None:
        return "unknown"
    return "0 (local)" if source == "local" else f"${price.input:g} in, ${price.output:g} out"


def _chats(home: Path) -> list[tuple[AgentEntry, ChatOptions]]:
    source = str(home / "config.toml")
    found = []
    for entry in configured(home).agents:
        if entry.adapter == "chat":
            found.append((entry, read_options(entry.name, entry.options, source)))
        elif entry.adapter == "local":
            found.append((entry, read_local_options(entry.name, entry.options).chat(_IN_PROCESS)))
    return found


def _chat(home: Path, name: str) -> tuple[AgentEntry, ChatOptions]:
    found = {entry.name: (entry, options) for entry, options in _chats(home)}
    if name not in found:
        raise NoSuchAgentError(
            f"no agent {name!r} of this device has a model",
            f"Those that have: {', '.join(sorted(found)) or 'none'}.",
        )
    return found[name]
