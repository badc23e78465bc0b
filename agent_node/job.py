"""One piece of work as an adapter gets it, and what comes of it: plain data between the executor, the adapters and the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from protocol.messages import Usage
from protocol.messages.work import WorkState

__all__ = [
    "OUTPUTS_MAX",
    "OUTPUT_BYTES_MAX",
    "Emit",
    "InputPath",
    "Job",
    "Made",
    "More",
    "Outcome",
    "usage_of",
]

OUTPUT_BYTES_MAX: Final = 1 << 30
"""What the outputs of one job may have together, unless the owner says less."""
OUTPUTS_MAX: Final = 256
"""How many files one result may name (SPEC MSG-2)."""


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
    previous: list[InputPath] = field(default_factory=list)
    """What earlier attempts left unfinished."""
    caps: Usage | None = None
    """What it may use and no more; None: no bound."""
    run: str = ""
    """The run that it belongs to."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema that the first output must satisfy, if whoever asked said one."""


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
    used: Usage | None = None
    """What the agent counted of what it used; None: it does not count."""


@dataclass(frozen=True, slots=True)
class More:
    """What an adapter can say beside a step. `used` is the total so far; a `partial` file may be gone when `emit` has returned."""

    state: WorkState = "working"
    wait_s: float = 0.0
    used: Usage | None = None
    partial: Made | None = None


class Emit(Protocol):
    """How an adapter says that the work has moved: `step` only grows, or stays when only `more` is news."""

    def __call__(self, step: int, fraction: float, note: str, more: More | None = None, /) -> None:
        """Say it.

        Raises:
            WorkError: E_BUDGET, the work has used more than it may and must end.
        """
        ...


def usage_of(counted: Mapping[str, int]) -> Usage | None:
    """What a job counted, as the wire has it; None when it counted nothing."""
    return (
        Usage(**{kind: min(1 << 52, max(0, int(amount))) for kind, amount in counted.items()})
        if counted
        else None
    )
