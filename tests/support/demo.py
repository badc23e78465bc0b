"""A `zwerm demo` in a process of its own, watched by its events: where it is, which processes belong to it, and what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.support.devices import ROOT, wait_for

DEMO_NODES = {"ada", "bob", "cyd"}


class Demo:
    """One running demo. Its throwaway state goes below `temporary`, so that what it leaves can be seen."""

    def __init__(self, output: Path, temporary: Path, *arguments: str | Path) -> None:
        temporary.mkdir(exist_ok=True)
        self.output = output
        self.temporary = temporary
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mesh", "demo", "--json", "-o", str(output), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, into: list[str]) -> None:
        with stream:
            for line in stream:
                into.append(line)  # noqa: PERF402 - others read the list meanwhile

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """The events so far, all or of one kind."""
        found = [json.loads(line) for line in self.lines]
        return [event for event in found if not kind or event.get("kind") == kind]

    def wait_until(self, what: str, check: Callable[[], Any]) -> Any:
        """Wait for something to be true while the demo still runs."""

        def true_and_running() -> Any:
            found = check()
            assert found or self.process.poll() is None, f"{what}: the demo ended first\n{self.said()}"
            return found

        return wait_for(what, true_and_running, 60.0)

    def end(self, timeout_s: float = 90.0) -> int:
        """Wait for its end; the exit code, once all of its output was read."""
        code = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(30)
        return code

    def said(self) -> str:
        """The end of what it printed, for messages of failing tests."""
        return "".join(self.lines[-5:])[-3000:] + "".join(self.errors[-20:])

    @property
    def summary(self) -> dict[str, Any]:
        """Its last document."""
        found: dict[str, Any] = json.loads(self.lines[-1])
        return found

    def states(self) -> list[Path]:
        """The throwaway state directories that exist."""
        return sorted(self.temporary.glob("zwerm-demo-*"))

    def members(self) -> list[psutil.Process]:
        """Every process that works in the throwaway state: daemons, workers, the bus, the run's client."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.temporary) in " ".join(process.cmdline()) and process.pid != self.process.pid:
                    found.append(process)
        return found

    def node(self, name: str) -> psutil.Process:
        """The daemon of one node."""
        [home] = [state / name for state in self.states()]
        for process in self.process_tree():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "mesh.daemon_main" in words and str(home) in words:
                    return process
        raise AssertionError(f"no daemon of {name}")

    def process_tree(self) -> list[psutil.Process]:
        """All processes below the demo's own."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextlib.contextmanager
def running_demo(output: Path, temporary: Path, *arguments: str | Path) -> Iterator[Demo]:
    """A demo that is surely gone afterwards, with everything that belongs to it."""
    demo = Demo(output, temporary, *arguments)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                demo.process.wait(40)
            demo.process.kill()
        demo.end(10)
        for process in demo.members():
            with contextlib.suppress(psutil.Error):
                process.kill()
