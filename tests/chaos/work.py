"""The work that is done while things are killed: functions that a worker process (or a thread) of a node runs."""

from __future__ import annotations

import ctypes
import hashlib
import os
import time
from pathlib import Path

from agent_node.functions import Job, Output


def made_of(text: str) -> str:
    """What `echo` makes of a text: every result can be told from every other, and checked."""
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()}\n"


def echo(job: Job) -> Output:
    """Short work with a result of its own."""
    time.sleep(job.params.get("ms", 0) / 1000)
    return Output("echo.txt", made_of(job.params["text"]), "text/plain")


def join(job: Job) -> Output:
    """All inputs behind each other."""
    return Output("all.txt", "".join(sorted(given.text() for given in job.inputs)), "text/plain")


def hold(job: Job) -> Output:
    """Says that it began, makes progress until the gate is open, then ends with a result."""
    with Path(job.params["begun"]).open("a") as begun:
        begun.write(f"{job.params['text']} {os.getpid()}\n")
    gate = Path(job.params["gate"])
    while not gate.exists():
        job.progress("waiting", 0.1)
        time.sleep(0.1)
    return Output("echo.txt", made_of(job.params["text"]), "text/plain")


# --- poison ---


def segfault(job: Job) -> None:
    """Dies as broken native code does."""
    _count(job)
    ctypes.string_at(0)


def devour(job: Job) -> None:
    """Wants more memory than there is."""
    _count(job)
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def spin(job: Job) -> None:
    """Never ends and never makes progress."""
    _count(job)
    while True:
        pass


def flood(job: Job) -> None:
    """Writes without an end."""
    _count(job)
    with (job.dir / "flood").open("wb") as file:
        while True:
            file.write(b"\0" * (1 << 20))


def _count(job: Job) -> None:
    with Path(job.params["begun"]).open("a") as begun:
        begun.write(f"{job.params['text']} {os.getpid()}\n")
