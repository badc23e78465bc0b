"""Shell: which agent programs are installed on this device, in which version, and how each is added. Starts each once, for its version."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .adapters.presets import PRESETS, Preset
from .errors import AgentError, plain
from .program_proc import environment

__all__ = ["CAPABILITY", "Found", "MissingProgramError", "default_entry", "detect"]

CAPABILITY: Final = "agent.task"
"""What an agent that was added without a word more is offered as: a task in words."""
_VERSION_S: Final = 20.0
_NUMBER: Final = re.compile(r"\d+\.\d+(\.\d+)?[\w.-]*")


class MissingProgramError(AgentError):
    """The program of a preset is not on this device."""

    def __init__(self, preset: Preset, program: str) -> None:
        super().__init__(
            "E_NOT_FOUND", f"{preset.title} is not installed: there is no program {program!r}", preset.install
        )


@dataclass(frozen=True, slots=True)
class Found:
    """One preset and what there is of it. `programs`: adapter -> path; `agents`: names of those that are configured with it."""

    preset: Preset
    programs: dict[str, str]
    version: str
    agents: list[str]


def detect(configured: dict[str, list[str]]) -> list[Found]:
    """All presets. `configured`: preset -> names of agents."""
    found = []
    for preset in PRESETS.values():
        programs: dict[str, str] = {}
        for adapter, words in (("acp", preset.acp), ("headless", preset.headless)):
            path = shutil.which(words[0]) if words else None
            if path is not None:
                programs[adapter] = str(Path(path).absolute())
        version = _version(preset, next(iter(programs.values()))) if programs else ""
        found.append(Found(preset, programs, version, configured.get(preset.name, [])))
    return found


def default_entry(preset: Preset, name: str, adapter: str) -> dict[str, Any]:
    """The `[[agents]]` entry for a preset on this device: with the whole path, since a service has another PATH than a person.

    Raises:
        MissingProgramError: it is not installed.
    """
    words = preset.acp if adapter == "acp" else preset.headless
    path = shutil.which(words[0])
    if path is None:
        raise MissingProgramError(preset, words[0])
    return {
        "name": name,
        "adapter": adapter,
        "preset": preset.name,
        "argv": [str(Path(path).absolute()), *words[1:]],
    }


def _version(preset: Preset, program: str) -> str:
    """What it says of its version; "" when it does not."""
    env = environment(Path.home(), preset.env, path=[str(Path(program).parent)])
    try:
        done = subprocess.run(  # noqa: S603 - a program that its owner installed, and words of our own
            [program, *preset.version],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_S,
            check=False,
            env=env,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    said = plain(done.stdout[:4000].decode("utf-8", "replace"))
    number = _NUMBER.search(said)
    return number.group() if number and done.returncode == 0 else ""
