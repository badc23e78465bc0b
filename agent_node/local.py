"""This device's agents without a swarm: which there are, and one job done by hand. The shell behind `zwerm agents`."""

from __future__ import annotations

import json
import mimetypes
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mesh.clock import SystemClock
from mesh.config import load_config as load_daemon_config
from mesh.home import Home

from .adapters import LeftOut, Place, build
from .adapters.base import Adapter, InputPath, Job, Made
from .config import NodeConfig, load_config
from .errors import AgentError, ConfigError
from .history import History
from .policy import AgentSpec

__all__ = [
    "NoSuchAgentError",
    "Tried",
    "configured",
    "find_agent",
    "look",
    "measured",
    "parse_params",
    "try_job",
]


_TOLD_IN_WORDS: Final = ("acp", "headless")
_SMALL_TASK: Final = "Answer with the one word: ready"


class NoSuchAgentError(AgentError):
    """No agent of this device has that name or capability."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_NOT_FOUND", message, hint)


@dataclass(frozen=True, slots=True)
class Tried:
    """One job done by hand: by which agent, as what, its files (name, bytes), and what it took."""

    agent: str
    capability: str
    files: list[tuple[str, int]]
    wall_s: float
    cpu_s: float


def configured(home: Path) -> NodeConfig:
    """The agent part of the device's `config.toml`; the defaults when there is none.

    Raises:
        ConfigError: it says something that cannot be.
        BadSettings: the file cannot be read at all.
    """
    section = load_daemon_config(Home(home)).section("agent")
    return load_config(section, str(home / "config.toml"))


def look(home: Path, jobs: Path | None = None) -> tuple[list[Adapter], list[LeftOut]]:
    """The agents that this device offers, and those that it cannot."""
    return build(Place(configured(home), jobs or Path(tempfile.gettempdir()), home=home))


def find_agent(home: Path, name: str) -> Adapter:
    """The offered agent of this name.

    Raises:
        NoSuchAgentError: there is none, or it is left out (and why).
    """
    offered, left_out = look(home)
    for adapter in offered:
        if adapter.spec.name == name:
            return adapter
    for gone in left_out:
        if gone.name == name:
            raise NoSuchAgentError(f"{name} is not offered: {gone.error.message}", gone.error.hint)
    known = ", ".join(sorted(adapter.spec.name for adapter in offered)) or "none"
    raise NoSuchAgentError(f"this device has no agent {name!r}", f"It has: {known}.")


def measured(home: Path, spec: AgentSpec) -> list[dict[str, Any]]:
    """What the node has measured of an agent's capabilities: mean, standard error and success for an empty input."""
    try:
        history = History.load((home / "history.json").read_bytes())
    except OSError:
        history = History()
    rows: list[dict[str, Any]] = []
    for capability in sorted(spec.capabilities):
        estimate = history.estimate(capability, 0, spec.prior)
        rows.append(
            {
                "capability": capability,
                "samples": round(estimate.samples, 2),
                "wall_s": round(estimate.wall_s, 3),
                "error_s": round(estimate.error_s, 3),
                "success": round(history.success(capability), 3),
            }
        )
    return rows


def parse_params(text: str) -> dict[str, Any]:
    """A job's parameters from the command line.

    Raises:
        ConfigError: it is not one JSON object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"--params is not JSON: {error}", """Write for example --params '{"top": 5}'."""
        ) from None
    if not isinstance(value, dict):
        raise ConfigError("--params must be one JSON object", """Write for example --params '{"top": 5}'.""")
    return value


async def try_job(
    home: Path, what: str, files: Sequence[Path], params: dict[str, Any], output: Path | None
) -> Tried:
    """Do one job with the agent `what`, or the one that offers the capability `what`, and copy its files to `output`.

    Raises:
        NoSuchAgentError: nobody here offers it.
        WorkError: it failed.
        ConfigError: `output` is not empty, or cannot be written.
    """
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="zwerm-test-") as scratch:
        offered, left_out = look(home, Path(scratch))
        adapter = next(
            (one for one in offered if what in one.spec.capabilities or what == one.spec.name), None
        )
        if adapter is None:
            raise _nobody(what, offered, left_out)
        capability = what if what in adapter.spec.capabilities else min(adapter.spec.capabilities)
        if not params and adapter.spec.adapter in _TOLD_IN_WORDS:
            params = {"task": _SMALL_TASK}
        job = _job(Path(scratch), capability, files, params)
        began = clock.monotonic()
        try:
            outcome = adapter.instant(job) or await adapter.run(job, lambda *_: None)
        finally:
            await adapter.close()
        wall_s = clock.monotonic() - began
        listed = [(made.name, _size(made)) for made in outcome.outputs]
        if output is not None:
            _deliver(outcome.outputs, output)
    return Tried(adapter.spec.name, capability, listed, wall_s, outcome.cpu_s)


def _nobody(what: str, offered: Sequence[Adapter], left_out: Sequence[LeftOut]) -> NoSuchAgentError:
    for gone in left_out:
        if gone.name == what:
            return NoSuchAgentError(f"{what} is not offered: {gone.error.message}", gone.error.hint)
    known = sorted({name for one in offered for name in one.spec.capabilities})
    return NoSuchAgentError(f"no agent here offers {what!r}", f"Offered: {', '.join(known) or 'nothing'}.")


def _job(scratch: Path, capability: str, files: Sequence[Path], params: dict[str, Any]) -> Job:
    folder = scratch / "job"
    for path in (folder, folder / "in", folder / "out"):
        path.mkdir(mode=0o700)
    inputs: list[InputPath] = []
    for number, file in enumerate(files):
        path = folder / "in" / f"{number:04d}{file.suffix.lower()}"
        shutil.copyfile(file, path)
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        inputs.append(InputPath(file.name, path, media_type, path.stat().st_size))
    return Job("test", capability, params, folder, inputs)


def _size(made: Made) -> int:
    return len(made.content) if isinstance(made.content, bytes) else made.content.stat().st_size


def _deliver(outputs: Sequence[Made], folder: Path) -> None:
    for made in outputs:
        parts = [part for part in PurePosixPath(made.name).parts if part not in ("/", "..", ".")]
        path = folder.joinpath(*parts or ["output"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(made.content, bytes):
            path.write_bytes(made.content)
        else:
            shutil.copyfile(made.content, path)
