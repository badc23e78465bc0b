"""Watchers live through kill -9 of the bus and of the coordinator: what they print is 1 to n, without a gap and without a double."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.devices import ROOT, Device, office, wait_for
from tests.support.gated import offered

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

AGENT = offered(2)


class Watching:
    """`zwerm events ... --json` in a process of its own."""

    def __init__(self, device: Device, path: Path, *arguments: str) -> None:
        self.path = path
        with path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mesh", "events", *arguments, "--json", "--home", str(device.home)],
                stdout=out,
                stderr=subprocess.PIPE,
                cwd=ROOT,
            )

    def events(self) -> list[dict[str, Any]]:
        """The events that it has printed so far."""
        return [line for line in self._lines() if line["schema"] == "zwerm.event/1"]

    def begun(self) -> bool:
        """Whether it has said that from here on it tells everything of all runs."""
        return any(line["schema"] == "zwerm.watching/1" for line in self._lines())

    def _lines(self) -> list[dict[str, Any]]:
        """Without the line that it is writing."""
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def numbers(self) -> list[int]:
        return [event["seq"] for event in self.events() if not event["volatile"]]

    def saw(self, kind: str) -> bool:
        return any(event["kind"] == kind for event in self.events())

    def end(self) -> None:
        """It ends by itself, with the run."""
        _, errors = self.process.communicate(timeout=90)
        assert self.process.returncode == 0, errors.decode()[-2000:] + self.path.read_text()[-500:]

    def kill(self) -> None:
        """Whatever happened: nothing is left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=30)
        assert b"Traceback" not in errors
        return self.process.returncode


def bus_of(hub: Device) -> psutil.Process | None:
    """The bus that the hub runs."""
    assert hub.process is not None
    return next(
        (child for child in psutil.Process(hub.process.pid).children() if "nats-server" in child.name()), None
    )


def kill_bus(hub: Device) -> None:
    """kill -9 of the bus; the hub starts another."""
    first = bus_of(hub)
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)

    def another() -> bool:
        found = bus_of(hub)
        return found is not None and found.pid != first.pid

    wait_for("another bus", another)


def test_watchers_see_every_event_once_through_kills_of_the_bus_and_the_coordinator(tmp_path: Path):
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (documents / name).write_text(name)
    gates = [tmp_path / "first-gate", tmp_path / "second-gate"]
    begun = [tmp_path / "first-begun", tmp_path / "second-begun"]
    first, second = (
        {
            "id": f"step-{number}",
            "capability": "test.shout",
            "map": "inputs",
            "params": {"gate": str(gates[number]), "begun": str(begun[number])},
        }
        for number in (0, 1)
    )
    plan = {"goal": "shout twice", "steps": [first, {**second, "after": "step-0"}]}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))

    def at_work(number: int) -> bool:
        return begun[number].exists()

    with office(tmp_path, agents={"ada": AGENT, "bob": AGENT}) as (hub, devices), ExitStack() as stack:

        def watching(device: Device, file: str, *arguments: str) -> Watching:
            made = Watching(device, tmp_path / file, *arguments)
            stack.callback(made.kill)
            return made

        ada, bob = devices["ada"], devices["bob"]
        everything = watching(bob, "all.jsonl")
        wait_for("who watches all runs has begun", everything.begun)
        run = ada.json("run", "--plan", tmp_path / "plan.yaml", "-i", documents, "--detach")["run"]
        watcher = watching(ada, "first.jsonl", run, "-f")
        wait_for("the watcher sees an award", lambda: watcher.saw("subtask.awarded"))
        wait_for("work has begun", lambda: at_work(0))
        kill_bus(hub)
        gates[0].touch()
        wait_for("the watcher sees a result", lambda: watcher.saw("subtask.accepted"))
        wait_for("the second step has begun", lambda: at_work(1))
        at = watcher.numbers()[-3]
        late = watching(bob, "late.jsonl", run[-8:], "-f", "--after", str(at))
        wait_for("the late watcher is there", late.numbers)
        hub.kill()
        hub.up()
        kill_bus(hub)
        gates[1].touch()
        for one in (watcher, late):
            one.end()
        n = hub.json("runs", "show", run)["records"]
        assert watcher.numbers() == list(range(1, n + 1))
        assert late.numbers() == list(range(at + 1, n + 1))
        assert watcher.events()[-1]["kind"] == "run.closed"
        assert watcher.events()[-1]["data"]["outcome"] == "done"
        wait_for("who watches all runs has seen the end", lambda: everything.saw("run.closed"))
        assert everything.stop() == 130
        assert everything.numbers() == list(range(1, n + 1))
        # The same objects from every door, and again from the journal, when all is over.
        durable = [event for event in watcher.events() if not event["volatile"]]
        assert [event for event in everything.events() if not event["volatile"]] == durable
        again = ada.zwerm("events", run[-6:], "--json")
        assert [json.loads(line) for line in again.stdout.splitlines()] == durable


def test_a_program_does_with_the_sdk_what_its_example_says(tmp_path: Path):
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "note.txt").write_text("The meeting is on 3 May 2024. It costs 12 EUR. Bring a pen.")
    with office(tmp_path, agents={"ada": ""}) as (_, devices):
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "summarise.py"), str(documents), str(tmp_path / "out")],
            env={**os.environ, "ZWERM_HOME": str(devices["ada"].home), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        numbers = [int(line.split()[0]) for line in lines if line.split()[0].isdigit()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert (tmp_path / "out" / "report.md").exists()
        assert str(tmp_path / "out" / "provenance.json") in lines
