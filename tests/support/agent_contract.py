"""The functions of the adapters' contract tests; `agent_program` makes the same a program."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Any

from agent_node.functions import Job, JobFailed, Output

CHILD = "import os, sys, time; os.setsid(); sys.argv.append('zwerm-test-child'); time.sleep(600)"


def _child() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, "zwerm-test-child"])


def shout(job: Job) -> Output:
    return Output("shout.txt", job.inputs[0].text().upper())


def echo(job: Job) -> dict[str, Any]:
    return {
        "params": job.params,
        "inputs": [[given.name, given.text()] for given in job.inputs],
        "missing": [item["name"] for item in job.missing],
        "environment": sorted(os.environ),
    }


def refuse(job: Job) -> None:
    raise JobFailed("E_NO_TABLE", "there is no table in it")


def crash(job: Job) -> None:
    raise RuntimeError("\x1b[31mboom")


def sometimes(job: Job) -> str:
    if job.params["fail"]:
        raise RuntimeError("not this time")
    return "fine"


def several_steps(job: Job) -> str:
    for number in range(5):
        job.progress(f"{number}", number / 5)
        (job.dir / "out" / f"{number}").write_text("x" * 1000)
        time.sleep(0.15)
    return "done"


def waits_politely(job: Job) -> str:
    (job.dir / "out" / "pid").write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.02)
            job.progress()
    finally:
        (job.dir / "out" / "over").touch()


async def sleeper(job: Job) -> str:
    (job.dir / "out" / "pid").write_text("1")
    await asyncio.sleep(600)
    return "never"


def ignores_everything(job: Job) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    (job.dir / "out" / "child").write_text(str(_child().pid))
    while True:
        time.sleep(1)


def leaves_a_daemon(job: Job) -> Output:
    return Output("child", str(_child().pid))


def floods(job: Job) -> Output:
    path = job.dir / "out" / "big"
    with path.open("wb") as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))
    return Output("big", path)


def hoards(job: Job) -> None:
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def links_out(job: Job) -> Output:
    link = job.dir / "out" / "link"
    link.symlink_to("/etc/passwd")
    return Output("link", link)


def talks(job: Job) -> str:
    job.progress("one", 0.2)
    job.limited(30, "429")
    job.progress("two", 0.4)
    job.wait_for_person("Which of the two?")
    job.progress("three", 0.6)
    job.spend(tokens=900, money=5)
    path = job.dir / "out" / "draft"
    path.write_text(job.previous[0].text() + ", and more")
    job.partial(path, "draft.txt", "text/plain")
    path.write_text("overwritten")
    return "done"


def spends(job: Job) -> None:
    while True:
        job.spend(tokens=40)
        assert job.used["tokens"] <= 100


def quota(job: Job) -> None:
    raise JobFailed("E_LIMITED", "the quota is used up", retry=True, retry_s=60)
