"""One piece of work as an adapter gets it, and what comes of it: plain data between the executor, the adapters and the workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

__all__ = ["OUTPUTS_MAX", "OUTPUT_BYTES_MAX", "Emit", "InputPath", "Job", "Made", "Outcome"]

OUTPUT_BYTES_MAX: Final = 1 << 30
"""What the outputs of one job may have together, unless the owner says less."""
OUTPUTS_MAX: Final = 256
"""How many files one result may name (SPEC MSG-2)."""

Emit: TypeAlias = Callable[[int, float, str], None]


@dataclass(frozen=True, slots=True)
class InputPath:
    """One input on the local disk. `name` came from outside and is never used as a path."""

    name: str
    path: Path
    media_type: str
    size: int


@dataclass(slots=True)
class Job:
    """One piece of work. `id` is unique on this node; `dir` is private, exists (with `in/` and `out/` in it), and is deleted afterwards."""

    id: str
    capability: str
    params: dict[str, Any]
    dir: Path
    inputs: list[InputPath] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Made:
    """One output: its bytes, or an ordinary file below the job's directory."""

    name: str
    content: bytes | Path
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was made, and the processor time that it took."""

    outputs: list[Made] = field(default_factory=list)
    cpu_s: float = 0.0
