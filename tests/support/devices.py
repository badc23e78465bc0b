"""Real devices for end-to-end tests: each a home of its own, driven by the `zwerm` command in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 40.0


def wait_for(what: str, check: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """The first true result of `check`; fails when it stays false."""
    end = time.monotonic() + timeout_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.05)


class Device:
    """One device: a home, and the daemon that a test starts, stops and kills."""

    def __init__(self, home: Path, *, inside: Sequence[str] = ()) -> None:
        """`inside` is a command that runs another one, e.g. in a network namespace."""
        self.home = home
        self.inside = list(inside)
        self.name = home.name
        self.process: subprocess.Popen[bytes] | None = None

    def zwerm(
        self,
        *arguments: str | Path,
        stdin: str | None = None,
        timeout_s: float = 60.0,
        wrapper: Sequence[str] = (),
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command on this device, perhaps through another program, and wait for it."""
        return subprocess.run(
            [
                *self.inside,
                *wrapper,
                sys.executable,
                "-m",
                "mesh",
                *map(str, arguments),
                "--home",
                str(self.home),
            ],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=ROOT,
            env={**os.environ, "CI": "true", **env},
            check=False,
        )

    def json(self, *arguments: str | Path, ok: bool = True) -> dict[str, Any]:
        """The last JSON document that a command prints."""
        done = self.zwerm(*arguments, "--json")
        assert not ok or done.returncode == 0, (
            f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        document: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return document

    def up(self) -> None:
        """Start the daemon and wait until it serves."""
        status = self.home / "daemon.json"
        status.unlink(missing_ok=True)
        with (self.home / "test.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.inside,
                    sys.executable,
                    "-m",
                    "mesh",
                    "up",
                    "--home",
                    str(self.home),
                    "--with-parent",
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

        def serving() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.home / "test.log").read_text()
            return status.exists()

        wait_for(f"{self.name} serves", serving)

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Stop as Ctrl-C would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(25)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
                raise AssertionError(
                    f"{self.name} did not stop:\n{(self.home / 'test.log').read_text()[-2000:]}"
                ) from None


@contextlib.contextmanager
def office(
    tmp_path: Path, *, agents: dict[str, str], hub_agent: bool = False, hub_config: str = ""
) -> Iterator[tuple[Device, dict[str, Device]]]:
    """A swarm of a hub and agent devices (name -> its `[agent]` settings), all up and known to each other."""
    hub = Device(tmp_path / "hub")
    devices: dict[str, Device] = {}
    try:
        arguments = [
            "init",
            "office",
            "--node-name",
            "hub",
            "--bind",
            "loopback",
            "--port",
            "0",
            "--no-service",
        ]
        done = hub.zwerm(*arguments, *([] if hub_agent else ["--no-agent"]))
        assert done.returncode == 0, done.stderr
        (hub.home / "config.toml").write_text(
            f"mdns = false\nartifacts_mib = 256\njournal_mib = 64\n{hub_config}"
        )
        hub.up()
        for name, settings in agents.items():
            devices[name] = join(hub, tmp_path / name, settings)
            devices[name].up()
        everybody_up(hub, {*agents, "hub"})
        yield hub, devices
    finally:
        for device in [*devices.values(), hub]:
            device.stop()


def join(hub: Device, home: Path, settings: str = "", *, role: str = "agent") -> Device:
    """A new device that joined the hub's swarm by an invite for this role (its daemon is not started)."""
    token = hub.json("invite", "--role", role)["token"]
    device = Device(home)
    done = device.zwerm("join", "-", "--node-name", home.name, "--no-service", stdin=token + "\n")
    assert done.returncode == 0, done.stderr
    (home / "config.toml").write_text(f"mdns = false\n{settings}")
    return device


def everybody_up(hub: Device, names: set[str]) -> None:
    """Wait until the hub's coordinator lists all of them as up."""

    def up() -> bool:
        nodes = hub.json("nodes", ok=False).get("nodes", [])
        return names <= {node["name"] for node in nodes if node["state"] == "up"}

    wait_for(f"{', '.join(sorted(names))} up", up)
