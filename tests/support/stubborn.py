"""Work that does not want to end: it starts processes that leave its group and its parent, ignores every polite signal, and says who they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent_node.functions import Job, Output

_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def toil(folder: Path, name: str, progress) -> None:
    """Until the file `gate` is in the folder; `pids` gets a line for each process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN) if name == "program" else None
    child = subprocess.Popen([sys.executable, "-c", _SLEEPER], start_new_session=True)
    with (folder / "pids").open("a") as file:
        file.write(f"{name} {os.getpid()}\n{name} {child.pid}\n")
    while not (folder / "gate").exists():
        time.sleep(0.02)
        progress()
    child.kill()


def hang(job: Job) -> Output:
    """As a Python function."""
    toil(Path(job.params["folder"]), "function", lambda: None)
    return Output("done.txt", "done")


if __name__ == "__main__":
    toil(Path(sys.argv[1]), "program", lambda: print(".", end="", flush=True))
