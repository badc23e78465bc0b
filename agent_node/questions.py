"""What an agent's work may ask a person, and the door through which it asks. Plain data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Ask", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """An agent asks for leave to use a tool, with exactly these arguments."""

    agent: str
    capability: str
    tool: str
    title: str
    arguments: str
    run: str = ""


Ask: TypeAlias = Callable[[Question], Awaitable[bool | None]]
"""Asks a person: True and False are answers, None is that nobody gave one in time."""
