"""Shell: which model servers there are: those that agents of this device name, and, when asked, those at the usual ports of this device."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from .client_http import Broken, ModelClient, Refused
from .failures import said_by

__all__ = ["USUAL", "Health", "ask_health", "detect"]

USUAL: Final = (("ollama", 11434), ("llama.cpp", 8080), ("vllm", 8000), ("lm-studio", 1234))
"""Programs that serve models on a person's own device, and the port that each has if nobody chose another."""
_LOOK_S: Final = 3.0
_MODELS_MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of itself."""

    up: bool
    models: tuple[str, ...] = ()
    problem: str = ""


async def ask_health(url: str, key: str = "") -> Health:
    """Ask a server which models it has; a failure is an answer, too."""
    client = ModelClient(url, silence_s=_LOOK_S, connections=1)
    try:
        async with asyncio.timeout(2 * _LOOK_S):
            value = await client.get("/models", key)
    except Refused as refused:
        said, _ = said_by(refused.body, key)
        return Health(up=False, problem=f"it answered {refused.status}{f': {said}' if said else ''}")
    except (Broken, ValueError) as broken:
        return Health(up=False, problem=str(broken))
    except TimeoutError:
        return Health(up=False, problem="it did not answer in time")
    finally:
        await client.close()
    return Health(up=True, models=_names(value))


async def detect(ports: tuple[tuple[str, int], ...] = USUAL) -> list[tuple[str, str, Health]]:
    """Look at the usual ports of this device, and at nothing else: (program, address, what it says) of those that answer."""
    urls = [(name, f"http://127.0.0.1:{port}/v1") for name, port in ports]
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask_health(url)) for _, url in urls]
    return [
        (name, url, task.result()) for (name, url), task in zip(urls, asked, strict=True) if task.result().up
    ]


def _names(value: Any) -> tuple[str, ...]:
    listed = value.get("data") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        return ()
    names = [entry.get("id") for entry in listed[:_MODELS_MOST] if isinstance(entry, dict)]
    return tuple(name[:200] for name in names if isinstance(name, str))
