"""Shell: an agent that is a program of this device (Hermes, Kimi Code, OpenClaw, ...), as the adapters `acp` and `headless` both need it.

    [[agents]]
    name = "hermes"
    adapter = "acp"
    preset = "hermes"
    capability = "agent.task"

Rules. The command line is the owner's or the preset's, word for word; what a job says goes to the program as data, never as a word of its command.
It works in the job's folder: `in/` can be read, `out/` is handed over. In its sandbox it sees its own installation, its own settings (`state`) and
nothing else of the device; it may use the network unless its owner says `network = false`, since its model is mostly elsewhere. Its environment
is the preset's and the entry's, and nothing of the node's. Counterparts: `presets`, `sandbox_proc`, `program_proc`.
"""

from __future__ import annotations

import shutil
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError
from agent_node.history import Prior
from agent_node.job import Emit, Job, Made, More, Outcome
from agent_node.policy import AgentSpec
from agent_node.program_files import folders_of
from agent_node.program_proc import ProgramLimits, environment, running
from agent_node.sandbox_proc import INSIDE, check_sandbox, sandboxed
from protocol.messages import Usage

from . import Place, spec_of
from .made_files import collected, tail_of
from .presets import PRESETS, Preset, preset

__all__ = ["STDERR", "AgentProgram"]

STDERR: Final = "stderr"
_QUIET_S: Final = 180.0
"""How long an agent may think without a word, unless its owner says otherwise."""
_PRIOR: Final = Prior(20.0, 20.0)
_FILES: Final = 65_536
_PARTIAL_MOST: Final = 8


class AgentProgram:
    """What is common to both. `words` is the command of the preset that this adapter uses."""

    def __init__(self, entry: AgentEntry, place: Place, words: tuple[str, ...]) -> None:
        self.preset: Preset | None = preset(entry.preset)
        self._entry = entry
        self._place = place
        self._argv = [*(entry.argv or words)]
        self._boxed = entry.sandbox != "none"
        given = entry.model_fields_set
        quiet_s = entry.quiet_s if "quiet_s" in given else min(_QUIET_S, entry.timeout_s)
        self._limits = ProgramLimits(
            entry.timeout_s,
            # Node reserves far more than it uses, so a bound that nobody asked for would only stop it.
            (entry.memory_mib << 20) if "memory_mib" in given else 0,
            entry.output_mib << 20,
            _FILES,
        )
        self._network = entry.network if "network" in given else True
        untried = self.preset is not None and not self.preset.tested
        warning = f"zwerm's own tests have not tried {self.who}" if untried else ""
        self._spec = spec_of(entry, place, quiet_ms=round(quiet_s * 1000), prior=_PRIOR, warning=warning)

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    @property
    def who(self) -> str:
        """What it is called in messages."""
        return self.preset.title if self.preset is not None else self._entry.name

    @property
    def login(self) -> str:
        """What its owner does when it is not logged in."""
        return self.preset.login if self.preset is not None else ""

    def probe(self) -> None:
        """Check that the program is here, and that a sandbox can be made for it.

        Raises:
            AdapterError: why not, and what to do.
        """
        name = self._entry.preset
        if name is not None and self.preset is None:
            raise AdapterError(
                f"there is no preset {name!r}",
                f"Known: {', '.join(sorted(PRESETS))}. Or leave it out and give argv.",
            )
        if not self._argv:
            raise AdapterError(f"the preset {name!r} has no command for this adapter", "Give argv.")
        if shutil.which(self._argv[0]) is None:
            hint = f"Install it: {self.preset.install}" if self.preset is not None else "Install it"
            raise AdapterError(
                f"there is no program {self._argv[0]!r}",
                f"{hint}; or put its whole path into argv.",
            )
        if self._boxed:
            check_sandbox()

    def instant(self, job: Job) -> Outcome | None:
        """Never: a program is never instant."""
        return None

    async def close(self) -> None:
        """Nothing is kept running between jobs."""

    def folder(self, job: Job) -> Path:
        """The job's folder as the program sees it."""
        return INSIDE if self._boxed else job.dir

    @asynccontextmanager
    async def process(self, job: Job, *, stdout: IO[bytes] | int, line_bytes: int) -> AsyncIterator[Process]:
        """The running program; nothing of it runs when the block is over."""
        (job.dir / "work").mkdir(mode=0o700, exist_ok=True)
        program = self._program()
        opened = folders_of(program)
        preset_env = dict(self.preset.env) if self.preset is not None else {}
        env = environment(
            Path.home(),
            preset_env,
            self._entry.env,
            path=dict.fromkeys([str(program.parent), *_bins(opened)]),
        )
        argv = [str(program), *self._argv[1:]]
        if self._boxed:
            argv = sandboxed(
                argv,
                job.dir,
                env,
                network=self._network,
                readable=[*opened, *self._entry.readable],
                writable=self._state(),
                together=True,
            )
        with (job.dir / STDERR).open("xb") as stderr:
            async with running(
                argv,
                env,
                job.dir,
                self._limits,
                agent=self._spec.name,
                entered=self._place.running,
                stdout=stdout,
                stderr=stderr,
                line_bytes=line_bytes,
            ) as process:
                yield process

    def last_words(self, job: Job) -> str:
        """The end of what it said on its standard error."""
        return tail_of(job.dir / STDERR)

    def handed_over(self, job: Job, answer: str) -> list[Made]:
        """Its answer as `result.md`, unless it made that file itself, and its files."""
        besides = []
        if answer and not (job.dir / "out" / "result.md").is_file():
            besides.append(Made("result.md", answer.encode("utf-8", "replace"), "text/markdown"))
        return collected(job.dir / "out", None, self._limits.output_bytes, besides=besides)

    def keep_unfinished(self, job: Job, answer: str, used: Usage, step: int, emit: Emit) -> None:
        """Leave to the next attempt what there is of this one."""
        try:
            for made in self.handed_over(job, answer)[-_PARTIAL_MOST:]:
                emit(step, 0.0, "", More(used=used, partial=made))
        except (WorkError, OSError):
            return  # a help to the next attempt; why this one failed is what matters

    def _program(self) -> Path:
        """Where it is.

        Raises:
            WorkError: E_AGENT_MISSING, it has gone since it was offered.
        """
        found = shutil.which(self._argv[0])
        if found is None:
            raise WorkError(
                "E_AGENT_MISSING", f"the program of {self.who} is not on that device any more", again=True
            )
        return Path(found).absolute()

    def _state(self) -> list[str]:
        listed = self._entry.state
        if listed is None:
            listed = [str(Path(name).expanduser()) for name in (self.preset.state if self.preset else ())]
        return [path for path in listed if Path(path).exists()]


def _bins(folders: list[str]) -> list[str]:
    return [str(Path(folder) / "bin") for folder in folders if (Path(folder) / "bin").is_dir()]
