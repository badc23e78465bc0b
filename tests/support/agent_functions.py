"""Capabilities that tests offer: each does something that real functions do, well or badly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent_node.functions import Job, JobFailed, Output


def shout(job: Job) -> Output:
    """Capitals of the first input."""
    job.progress("reading", 0.5)
    return Output("shout.txt", job.inputs[0].text().upper(), "text/plain")


def echo(job: Job) -> dict[str, object]:
    """What the job was given."""
    return {
        "params": job.params,
        "inputs": [[given.name, given.text()] for given in job.inputs],
        "missing": [item["name"] for item in job.missing],
        "environment": sorted(os.environ),
        "home": os.environ.get("HOME", ""),
        "dir": str(job.dir),
        "pid": os.getpid(),
    }


def refuse(job: Job) -> None:
    """An input that cannot be used."""
    raise JobFailed("E_NO_TABLE", "there is no table in it")


def crash(job: Job) -> None:
    """A defect."""
    raise RuntimeError("\x1b[31mboom")


def steps(job: Job) -> str:
    """Work that shows its steps until it is cancelled or told to be done by a file."""
    gate = Path(job.params["gate"])
    count = 0
    while not gate.exists():
        count += 1
        job.progress(f"step {count}", 0.1)
        time.sleep(0.02)
    return f"{count}"


def deaf(job: Job) -> None:
    """Work that hears neither the request to stop nor SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(job.params["started"]).write_text(str(os.getpid()))
    job.progress("deaf", 0.0)
    while True:
        time.sleep(1)


def parent(job: Job) -> None:
    """Work that starts a process which leaves its session, and then hangs."""
    child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
    Path(job.params["started"]).write_text(f"{os.getpid()} {child.pid}")
    job.progress("parent", 0.0)
    while True:
        time.sleep(1)


def litter(job: Job) -> dict[str, int]:
    """Work that ends and leaves a process behind."""
    child = subprocess.Popen([sys.executable, "-c", "import os, time; os.setsid(); time.sleep(600)"])
    return {"child": child.pid, "pid": os.getpid()}


def hoard(job: Job) -> None:
    """Work that wants more memory than it may have."""
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def flood(job: Job) -> Output:
    """Work that writes a gigabyte."""
    path = job.dir / "out" / "big"
    with path.open("wb") as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
    return Output("big", path)


def brim(job: Job) -> None:
    """Work that meets a full disk."""
    Path("/dev/full").write_text("no room")


def burn(job: Job) -> None:
    """Work that uses processor time without end."""
    while True:
        pass


def escape(job: Job) -> Output:
    """A result that points out of the job's directory."""
    link = job.dir / "out" / "link"
    link.symlink_to("/etc/hostname")
    return Output("hostname", link)


async def slowly(job: Job) -> str:
    """An asynchronous function."""
    import asyncio

    await asyncio.sleep(0)
    job.progress("woke", 1.0)
    return "done"


WAITING = threading.Event()
"""Lets `wait_in_thread` end."""


def wait_in_thread(job: Job) -> str:
    """Work in a thread that takes until it is let go."""
    job.progress("waiting", 0.0)
    WAITING.wait(20)
    return "let go"


def babble(job: Job) -> None:
    """Work that writes into every pipe it finds, the node's too."""
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue


def swell(job: Job) -> int:
    """Work that leaves its process fat."""
    kept = bytearray(80 << 20)
    globals()["KEPT"] = kept
    return Output("pid", str(os.getpid()))  # type: ignore[return-value]


def leave(job: Job) -> None:
    """Work that ends its own process."""
    os._exit(3)


def exits(job: Job) -> None:
    """Work that calls exit, as scripts do."""
    sys.exit("enough")


def snoop(job: Job) -> dict[str, str]:
    """Work that looks and reaches around."""
    import socket

    def tried(do: Callable[[], object]) -> str:
        try:
            do()
        except OSError as error:
            return type(error).__name__
        return "allowed"

    return {
        "read": tried(lambda: Path(job.params["secret"]).read_text()),
        "write": tried(lambda: Path(job.params["secret"]).with_name("new").write_text("x")),
        "list": tried(lambda: list(Path(job.params["secret"]).parent.iterdir())),
        "passwd": tried(lambda: Path("/etc/passwd").read_text()),
        "environ": tried(lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes()),
        "connect": tried(lambda: socket.create_connection(("127.0.0.1", job.params["port"]), 2).close()),
        "signal": tried(lambda: os.kill(os.getppid(), 0)),
        "own": tried(lambda: (job.dir / "out" / "mine").write_text("x")),
        "shell": tried(lambda: subprocess.run(["/bin/true"], check=True)),
        "child": subprocess.run(
            ["/bin/cat", job.params["secret"]], capture_output=True, check=False
        ).stdout.decode(),
    }


def unfinished(job: Job) -> None:
    """Work that keeps what it has, waits for a person, and then comes to nothing."""
    before = job.previous[0].text() if job.previous else ""
    job.spend(tokens=10)
    job.partial(before + "more ", "draft.txt", "text/plain")
    job.wait_for_person("Shall I go on?")
    while not Path(job.params["gate"]).exists():
        time.sleep(0.01)
    job.progress("yes", 0.5)
    raise JobFailed("E_LIMITED", "the quota is used up", retry=True, retry_s=60)


def spendthrift(job: Job) -> None:
    """Work that uses tokens without end."""
    while True:
        job.spend(tokens=7)


def large(job: Job) -> Output:
    """An output of 1,000 bytes."""
    return Output("large.bin", bytes(1000))


def frugal(job: Job) -> None:
    """Work that uses 40 tokens."""
    job.spend(tokens=40)
