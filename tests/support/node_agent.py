"""The agent of `examples/node-js`, as a device of a test: joined by a real invite, started, stopped and killed as a process of its own."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.devices import ROOT, Device, wait_for

MAIN = ROOT / "examples" / "node-js" / "main.mjs"
GATED = ROOT / "tests" / "support" / "gated.mjs"


class NodeAgent:
    """One home of the Node agent, and its process."""

    def __init__(self, home: Path) -> None:
        node = shutil.which("node")
        assert node is not None, "this test needs Node.js 20 or later: `apt install nodejs`"
        self._node = node
        self.home = home
        self.name = home.name
        self.log = home.with_name(f"{home.name}.log")
        self.process: subprocess.Popen[bytes] | None = None

    def does(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command of it, and wait."""
        return subprocess.run(
            [self._node, MAIN, *map(str, words), "--home", self.home],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    def join(self, token: str) -> None:
        done = self.does("join", "--name", self.name, stdin=token + "\n")
        assert done.returncode == 0, done.stderr
        assert token not in done.stdout + done.stderr

    def up(self, *words: str | Path) -> None:
        """Start it, and wait until it offers its capability."""
        self.log.write_text("")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._node, MAIN, "run", *map(str, words), "--home", self.home],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def serving() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            return " offers " in self.said()

        wait_for(f"{self.name} serves", serving)

    def said(self) -> str:
        """All that the process wrote since it was started."""
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def close(self) -> None:
        """Nothing of it runs any more."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)


@contextlib.contextmanager
def joined(hub: Device, home: Path) -> Iterator[NodeAgent]:
    """A Node agent that joined the hub's swarm; not started."""
    agent = NodeAgent(home)
    try:
        agent.join(hub.json("invite")["token"])
        yield agent
    finally:
        agent.close()


def listed(hub: Device, name: str) -> dict[str, object]:
    """A device as `zwerm nodes` shows it; empty when it does not."""
    nodes = hub.json("nodes", ok=False).get("nodes", [])
    return next((node for node in nodes if node["name"] == name), {})


def recorded(path: Path) -> list[dict[str, str]]:
    """The envelopes that a `--record` file has."""
    return [json.loads(line) for line in path.read_text().splitlines()]
