"""How long the command takes to answer, as a whole process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 9


def _command() -> list[str]:
    installed = Path(sys.executable).with_name("zwerm")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "mesh"]


def startup() -> dict[str, float]:
    """Median wall time of `zwerm --version` and `zwerm --help`; beside it a Python that does nothing, to show the machine's own share."""
    figures: dict[str, float] = {}
    for name, arguments in (
        ("version", [*_command(), "--version"]),
        ("help", [*_command(), "--help"]),
        ("python", [sys.executable, "-c", "pass"]),
    ):
        times = []
        for run in range(RUNS + 1):
            started = time.perf_counter()
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
            if run:
                times.append((time.perf_counter() - started) * 1000)
        figures[f"{name}_ms"] = round(statistics.median(times), 1)
        figures[f"{name}_ms_max"] = round(max(times), 1)
    return figures
