"""Shell: which files of this device an installed program needs, so that a sandbox can open these and no others.

Programs of Python environments need the environment and the Python that it was made from; programs of npm need the `node_modules` that they are in
and the Node that runs them. What the system's folders hold can be read in any sandbox. Counterparts: `sandbox_proc`, `adapters/agent_program`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

__all__ = ["folders_of"]

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_HEAD: Final = 256


def folders_of(program: Path) -> list[str]:
    """Folders outside the system's that the program is in or runs by. `program` is an absolute path that exists."""
    found: dict[str, None] = {}
    for path in (program, program.resolve()):
        for folder in _around(path):
            if not _of_the_system(folder):
                found[str(folder)] = None
    for runner in _runners(program):
        if not _of_the_system(runner):
            found[str(_root(runner))] = None
        if runner.is_symlink() and not _of_the_system(runner.resolve()):
            found[str(_root(runner.resolve()))] = None
    return list(found)


def _around(path: Path) -> list[Path]:
    """The environment that a program is installed in; else the folder that it is in."""
    for number, part in enumerate(path.parts):
        if part == "node_modules":
            return [Path(*path.parts[: number + 1])]
    environment = path.parent.parent
    settings = environment / "pyvenv.cfg"
    if settings.is_file():
        return [environment, *_base(settings)]
    return [path.parent]


def _base(settings: Path) -> list[Path]:
    """The Python that an environment was made from."""
    for line in settings.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "home":
            return [Path(value.strip()).parent]
    return []


def _runners(program: Path) -> list[Path]:
    """What a script's first line says that runs it."""
    try:
        with program.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return []
    if not head.startswith(b"#!"):
        return []
    words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    found = shutil.which(words[0]) if words else None
    return [Path(found)] if found else []


def _root(runner: Path) -> Path:
    return runner.parent.parent if runner.parent.name == "bin" else runner.parent


def _of_the_system(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in _SYSTEM)
