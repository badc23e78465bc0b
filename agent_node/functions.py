"""What a person writes to offer a Python function as a capability: `@capability`, `Job`, `Output`.

    @capability("text.shout", description="Write a text in capitals")
    def shout(job: Job) -> Output:
        return Output("shout.txt", job.inputs[0].text().upper())

Beside its inputs a job has `previous` (what earlier attempts left), `caps` (what it may use), and says `progress`, `spend`, `partial`,
`limited` and `wait_for_person`.

Rules. The function gets one `Job` and returns its outputs; what it raises becomes `failed`: a `JobFailed` says with which code and whether another try
makes sense, any other exception is retried elsewhere. Long work calls `job.progress` often: it renews the work's lease, and it is where a
cancelled job ends. Nothing here imports the rest of the swarm: this file is also what a worker process loads.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

__all__ = [
    "MARK",
    "Capability",
    "Given",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Output",
    "Outputs",
    "Word",
    "as_outputs",
    "capability",
]

MARK: Final = "__zwerm_capability__"
"""The attribute by which a decorated function is known."""


class JobFailed(Exception):
    """Raise it to end a job without a result. `code` looks like `E_NO_TABLE`; `retry`: another try could go otherwise, but not before `retry_s`.

    `E_LIMITED` with `retry_s` says that somebody's limit of use is reached.
    """

    def __init__(self, code: str, message: str, *, retry: bool = False, retry_s: float = 0.0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry = retry
        self.retry_s = retry_s


class JobCancelled(BaseException):
    """Raised by `Job.progress` when the job was cancelled. A BaseException, so that `except Exception` does not swallow it."""


@dataclass(frozen=True, slots=True)
class Given:
    """One input file: `name` as people know it, `path` where its bytes are."""

    name: str
    path: Path
    media_type: str = "application/octet-stream"

    def data(self) -> bytes:
        """Its content."""
        return self.path.read_bytes()

    def text(self, encoding: str = "utf-8") -> str:
        """Its content as text."""
        return self.path.read_text(encoding=encoding)

    def json(self) -> Any:
        """Its content as a JSON value."""
        return json.loads(self.path.read_bytes())


@dataclass(frozen=True, slots=True)
class Output:
    """One file that was made. `data` may also be the path of a file in the job's directory."""

    name: str
    data: bytes | str | Path
    media_type: str = ""


Outputs: TypeAlias = Output | bytes | str | dict[str, Any] | Sequence[Output] | None
"""What a capability may return. Bytes, text and dictionaries become one file: result.bin, result.txt, result.json."""


SPENT: Final = ("money", "tokens", "steps", "bytes_out", "children")
"""What can be spent; money in micro-credits."""
NO_BOUND: Final = 1 << 52
"""A cap of this much bounds nothing."""


@dataclass(frozen=True, slots=True)
class Word:
    """What a job says beside its steps: that it waits, what it has used so far, or a file of unfinished work."""

    state: str = "working"
    wait_s: float = 0.0
    note: str = ""
    used: dict[str, int] | None = None
    partial: Output | None = None


@dataclass(slots=True)
class Job:
    """One piece of work."""

    capability: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: list[Given] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    """Files that the work must do without: `name`, `code`, `message`."""
    dir: Path = field(default_factory=Path)
    """A private directory, deleted afterwards."""
    report: Callable[[str, float], None] | None = None
    previous: list[Given] = field(default_factory=list)
    """Files that earlier attempts at this work left unfinished."""
    caps: dict[str, int] | None = None
    """What this job may use of each kind, and no more; None: no bound."""
    used: dict[str, int] = field(default_factory=dict)
    """What it has said that it used."""
    tell: Callable[[Word], None] | None = None

    def progress(self, note: str = "", fraction: float = 0.0) -> None:
        """One more step is done; `fraction` of the whole, 0 to 1. If the job said that it waits, it works again.

        Raises:
            JobCancelled: nobody wants the result any more.
            JobFailed: `E_BUDGET`, it may not make so many steps.
        """
        if self.caps is not None or self.used:
            self._count({"steps": 1})
        if self.report is not None:
            self.report(note, fraction)

    def spend(self, *, money: int = 0, tokens: int = 0, steps: int = 0, children: int = 0) -> None:
        """Say BEFORE it is spent what is going to be spent; money is in micro-credits.

        Raises:
            JobFailed: `E_BUDGET`, that would be more than the job may use; nothing was counted, and nothing may be spent.
            JobCancelled: nobody wants the result any more.
        """
        self._count({"money": money, "tokens": tokens, "steps": steps, "children": children})
        if self.tell is not None:
            self.tell(Word(used=dict(self.used)))

    def left(self, kind: str) -> int | None:
        """How much of a kind (`tokens`, say) may still be spent; None: no bound."""
        most = (self.caps or {}).get(kind, NO_BOUND)
        return None if most >= NO_BOUND else max(0, most - self.used.get(kind, 0))

    def partial(self, data: bytes | str | Path, name: str, media_type: str = "") -> None:
        """Keep what is there of the work so far: if this attempt fails, the next one gets it in `previous`. The same name replaces.

        Raises:
            JobCancelled: nobody wants the result any more.
        """
        if self.tell is not None:
            self.tell(Word(partial=Output(name, data, media_type)))

    def limited(self, wait_s: float, note: str = "") -> None:
        """The job waits about `wait_s` seconds for somebody's limit of use to pass, until its next `progress`."""
        if self.tell is not None:
            self.tell(Word("limited", max(0.0, wait_s), note))

    def wait_for_person(self, question: str) -> None:
        """The job waits for a person, who has to answer `question`, until its next `progress`."""
        if self.tell is not None:
            self.tell(Word("person", 0.0, question))

    def _count(self, more: dict[str, int]) -> None:
        for kind, amount in more.items():
            if amount < 0:
                raise ValueError(f"{kind}: nothing can be given back")
            room = self.left(kind)
            if room is not None and amount > room:
                asked = f"{amount:,} {kind} more, and {room:,} of {(self.caps or {})[kind]:,} are left"
                # Another attempt could have more set aside for it; what it may have in all is not ours to know.
                raise JobFailed("E_BUDGET", f"the work would use {asked}", retry=True)
        for kind, amount in more.items():
            if amount:
                self.used[kind] = self.used.get(kind, 0) + amount


@dataclass(frozen=True, slots=True)
class Capability:
    """What `@capability` attaches to a function."""

    name: str
    description: str = ""
    mode: str = "process"
    slots: int | None = None
    quiet_s: float = 10.0
    asynchronous: bool = False


Function = TypeVar("Function", bound=Callable[..., Any])


def capability(
    name: str,
    *,
    description: str = "",
    mode: str = "process",
    slots: int | None = None,
    quiet_s: float = 10.0,
) -> Callable[[Function], Function]:
    """Offer a function under the name `name`, e.g. `text.shout`.

    Args:
        name: lower-case words joined by dots.
        description: one sentence for people and planners; the function's docstring when left out.
        mode: `process` (its own process, the default), `thread`, or `inline` (in the node's loop: only for what ends at once).
        slots: how many may run at once; the node's own number when left out.
        quiet_s: the longest time between two calls of `job.progress`.
    """

    def decorate(function: Function) -> Function:
        words = description or (inspect.getdoc(function) or "").split("\n", 1)[0]
        asynchronous = inspect.iscoroutinefunction(function)
        setattr(function, MARK, Capability(name, words[:200], mode, slots, quiet_s, asynchronous))
        return function

    return decorate


def as_outputs(returned: Outputs) -> list[Output]:
    """What a function returned, as a list of files.

    Raises:
        JobFailed: `E_OUTPUT`, it returned something else.
    """
    if returned is None:
        return []
    if isinstance(returned, Output):
        return [returned]
    if isinstance(returned, bytes):
        return [Output("result.bin", returned)]
    if isinstance(returned, str):
        return [Output("result.txt", returned, "text/plain; charset=utf-8")]
    if isinstance(returned, dict):
        text = json.dumps(
            returned, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )
        return [Output("result.json", text + "\n", "application/json")]
    if isinstance(returned, Iterable):
        made = list(returned)
        if all(isinstance(output, Output) for output in made):
            return made
    raise JobFailed("E_OUTPUT", f"the function returned {type(returned).__name__}, which is no output")
