"""Takeover: how long a run is without an owner after kill -9 of the process that owned it, with real processes on a real, secured bus.

The hub has the bus and a coordinator, `east` is another one. Again and again a run is begun that `east` owns, `east` is killed in the middle, and the time
from the kill to the record `run.owned` of the hub is taken (both from the clock of this one machine). The run has as many subtasks as is asked for, most of
them done, so that there is a journal to read.

    python -m bench.takeover [KILLS [SUBTASKS]]
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KILLS = 20
SUBTASKS = 200
_WAIT_S = 180.0
_AGENT = """
[agent]
documents = false
slots = 4
noop = true
[[agents]]
name = "gated"
adapter = "python"
target = "tests.support.gated:shout"
capability = "test.shout"
slots = 4
"""


def _zwerm(home: Path, *arguments: str, stdin: str | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "mesh", *arguments, "--home", str(home), "--json"],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def _until(check: Callable[[], Any]) -> Any:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError("it took too long")


@contextlib.contextmanager
def _up(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    (home / "daemon.json").unlink(missing_ok=True)
    with (home / "bench.log").open("ab") as log:
        arguments = ["up", "--home", str(home), "--with-parent", str(os.getpid())]
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            _until((home / "daemon.json").exists)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def _join(hub: Path, home: Path, role: str, settings: str) -> None:
    token = _zwerm(hub, "invite", "--role", role)["token"]
    _zwerm(home, "join", "-", "--node-name", home.name, "--no-service", stdin=token + "\n")
    (home / "config.toml").write_text(f"mdns = false\n{settings}")


def _runs(hub: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _zwerm(hub, "runs", "ls")["runs"]
    return found


def _owned_at(hub: Path, run: str) -> float:
    """When the run was taken, in Unix seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "events", run, "--home", str(hub), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    taken = [event["at_ms"] for event in events if event.get("kind") == "run.owned"]
    return float(taken[-1]) / 1000 if taken else 0.0


def takeover(kills: int = KILLS, subtasks: int = SUBTASKS) -> dict[str, Any]:
    """The times, in seconds."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(prefix="zwerm-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        hub, east, ada = (folder / place for place in ("hub", "east", "ada"))
        _zwerm(
            hub,
            "init",
            "bench",
            "--node-name",
            "hub",
            "--bind",
            "loopback",
            "--port",
            "0",
            "--no-service",
            "--no-agent",
        )
        (hub / "config.toml").write_text("mdns = false\nartifacts_mib = 256\njournal_mib = 256\n")
        stack.enter_context(_up(hub))
        _join(hub, east, "coordinator", "")
        _join(hub, ada, "agent", _AGENT)
        stack.enter_context(_up(ada))
        inputs = folder / "inputs"
        inputs.mkdir()
        files = min(subtasks, 500)
        for at in range(files):
            (inputs / f"f{at}.txt").write_text(f"{at}")
        node = ""
        for number in range(kills):
            with _up(east) as process:
                _until(lambda: any(entry["name"] == "east" for entry in _zwerm(hub, "nodes")["nodes"]))
                node = next(
                    entry["node"] for entry in _zwerm(hub, "nodes")["nodes"] if entry["name"] == "east"
                )
                gate = folder / f"gate{number}"
                chain = range(max(1, subtasks // files))
                steps: list[dict[str, Any]] = [
                    {"id": f"s{at}", "capability": "demo.noop", "map": f"s{at - 1}" if at else "inputs"}
                    for at in chain
                ]
                params = {"gate": str(gate), "begun": str(folder / "begun")}
                steps.append(
                    {"id": "last", "capability": "test.shout", "inputs": ["f0.txt"], "params": params}
                )
                plan = folder / "plan.yaml"
                plan.write_text(json.dumps({"goal": "measure", "steps": steps}))
                known = {entry["run"] for entry in _runs(hub)}
                mine = ""
                clients = []
                while not mine:  # which coordinator is asked is drawn by lot
                    arguments = [
                        "run",
                        "--plan",
                        str(plan),
                        "-i",
                        str(inputs),
                        "-o",
                        str(folder / f"out{number}"),
                    ]
                    clients.append(
                        subprocess.Popen(
                            [sys.executable, "-m", "mesh", *arguments, "--json", "--home", str(ada)],
                            stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL,
                        )
                    )
                    fresh = _until(
                        lambda known=known: [entry for entry in _runs(hub) if entry["run"] not in known]
                    )
                    known |= {entry["run"] for entry in fresh}
                    mine = next((entry["run"] for entry in fresh if entry["owner"] == node), "")
                _until(
                    lambda mine=mine: any(
                        entry["run"] == mine and entry["counts"]["accepted"] >= subtasks
                        for entry in _runs(hub)
                    )
                )
                os.kill(process.pid, signal.SIGKILL)
                killed = time.time()
                process.wait(10)
                taken = _until(lambda mine=mine: _owned_at(hub, mine))
                took.append(taken - killed)
                gate.touch()
                for client in clients:
                    client.wait(120)
                    assert client.returncode == 0, "a run did not end as it should"
                print(f"takeover {number + 1}: {took[-1]:.2f} s", file=sys.stderr, flush=True)
    took.sort()
    return {
        "takeover_kills": kills,
        "takeover_p50_s": round(took[len(took) // 2], 2),
        "takeover_p99_s": round(took[min(len(took) - 1, int(len(took) * 0.99))], 2),
        "takeover_max_s": round(took[-1], 2),
    }


if __name__ == "__main__":
    print(json.dumps(takeover(*map(int, sys.argv[1:])), indent=1))
