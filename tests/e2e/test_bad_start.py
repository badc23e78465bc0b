"""Beginnings that go wrong: a port, a disk, an invite, a server that is not ours. Each says what, why and what next, and leaves nothing behind."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from mesh.output import EXIT_OF_CODE
from protocol.invite import Endpoint, Invite, decode_invite, encode_invite
from tests.support.devices import ROOT, Device, office

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

LOOPBACK = ["--bind", "loopback", "--no-service"]


def refused(device: Device, *arguments: str | Path, stdin: str | None = None) -> dict:
    """The error of a command that must fail: its exit code fits its error code, there is a hint, and no traceback."""
    done = device.zwerm(*arguments, "--json", stdin=stdin)
    assert "Traceback" not in done.stderr + done.stdout, done.stderr[-3000:]
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert done.returncode == EXIT_OF_CODE.get(error["code"], 1) != 0, done.stdout
    assert error["message"]
    assert error["hint"]
    assert {"code", "message", "hint"} <= set(error)
    return error


def traces(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def listening(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server((host, port)) as server:
        yield server


class Eavesdropper:
    """A server that answers as it was told, and keeps all that it is sent."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        self.heard: list[bytes] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                with contextlib.suppress(OSError):
                    connection.sendall(self.greeting)
                    self.heard.append(connection.recv(65536))


# --- init ----------------------------------------------------------------------------------------------------------------------


def test_a_port_that_was_asked_for_and_is_taken_is_named_and_nothing_is_left(tmp_path: Path):
    device = Device(tmp_path / "home")
    with listening() as other:
        port = other.getsockname()[1]
        error = refused(device, "init", "office", *LOOPBACK, "--port", str(port))
    assert error["code"] == "E_PORT_TAKEN"
    assert str(port) in error["message"]
    assert "another port" in error["hint"]
    assert traces(tmp_path) == []


def test_when_the_usual_port_is_taken_the_next_one_is_used_and_said(tmp_path: Path):
    device = Device(tmp_path / "home")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # taken already is as good
            stack.enter_context(listening(port=4747))
        done = device.zwerm("init", "office", *LOOPBACK)
    assert done.returncode == 0, done.stderr
    port = json.loads((device.home / "node.json").read_bytes())["bus_port"]
    assert 4747 < port < 4767
    assert re.search(rf"port 4747 is taken; the bus uses {port}", done.stderr)


def test_a_port_that_is_taken_when_the_daemon_starts_is_named(tmp_path: Path):
    device = Device(tmp_path / "home")
    assert device.zwerm("init", "office", *LOOPBACK, "--port", "0").returncode == 0
    port = json.loads((device.home / "node.json").read_bytes())["bus_port"]
    with listening(port=port):
        error = refused(device, "up", "--background", "--timeout", "20s")
    assert str(port) in error["message"]


def test_init_without_space_leaves_nothing_behind(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=64", "tmpfs", str(small)], check=True)
    try:
        (small / "ballast").write_bytes(bytes(48 * 1024))
        error = refused(Device(small / "home"), "init", "office", *LOOPBACK, "--port", "0")
        assert error["code"] == "E_DISK_FULL"
        assert str(small) in error["message"]
        assert "runs rm" not in error["hint"]
        assert traces(small) == ["ballast"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_init_where_nothing_can_be_written_says_where(tmp_path: Path):
    (tmp_path / "file").write_text("")
    error = refused(Device(tmp_path / "file" / "home"), "init", "office", *LOOPBACK, "--port", "0")
    assert str(tmp_path / "file") in error["message"]


def test_init_twice_changes_nothing(tmp_path: Path):
    device = Device(tmp_path / "home")
    assert device.zwerm("init", "office", *LOOPBACK, "--port", "0").returncode == 0
    before = {path: path.read_bytes() for path in device.home.rglob("*") if path.is_file()}
    error = refused(device, "init", "again", *LOOPBACK, "--port", "0")
    assert error["code"] == "E_BUSY"
    assert {path: path.read_bytes() for path in device.home.rglob("*") if path.is_file()} == before
    assert traces(tmp_path) == ["home"]


@pytest.mark.parametrize(
    "arguments",
    [["--bind", "nowhere"], ["--bind", "203.0.113.7"], ["--node-name", "a b"], ["--node-name", "x" * 65]],
    ids=str,
)
def test_a_name_or_an_address_that_cannot_be_is_refused(tmp_path: Path, arguments: list[str]):
    error = refused(Device(tmp_path / "home"), "init", "office", "--no-service", "--port", "0", *arguments)
    assert error["code"] == "E_SETTINGS"
    assert traces(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "Summarise this folder", "-i", "."],
        ["runs", "ls"],
        ["nodes"],
        ["invite"],
        ["up"],
        ["leave", "-y"],
        ["artifacts", "ls", "abcdef"],
    ],
    ids=" ".join,
)
def test_on_a_device_without_a_swarm_every_command_says_how_to_get_one(tmp_path: Path, arguments: list[str]):
    error = refused(Device(tmp_path / "home"), *arguments)
    assert error["code"] == "E_NO_SWARM"
    assert "zwerm init" in error["hint"]
    assert "zwerm join" in error["hint"]
    assert traces(tmp_path) == []


def test_a_config_file_that_is_wrong_is_named_with_its_key(tmp_path: Path):
    device = Device(tmp_path / "home")
    assert device.zwerm("init", "office", *LOOPBACK, "--port", "0").returncode == 0
    for text, place in [
        ("slots = = 1\n", "line 1"),
        ("mdsn = true\n", "mdsn"),
        ("[agent]\nslot = 2\n", "slot"),
    ]:
        (device.home / "config.toml").write_text(text)
        error = refused(device, "up", "--background", "--timeout", "20s")
        assert "config.toml" in error["message"]
        assert place in error["message"]


# --- invites -------------------------------------------------------------------------------------------------------------------


def test_an_invite_for_too_short_or_too_long_is_refused_with_the_bounds(tmp_path: Path):
    device = Device(tmp_path / "home")
    assert device.zwerm("init", "office", *LOOPBACK, "--port", "0").returncode == 0
    for ttl in ("30s", "8d", "-1h", "soon", "nan", "0"):
        error = refused(device, "invite", "--ttl", ttl)
        assert error["code"] == "E_USAGE"
    for uses in ("0", "1001", "many"):
        assert refused(device, "invite", "--uses", uses)["code"] == "E_USAGE"


def test_an_expired_invite_is_refused_here_and_also_by_the_swarm(tmp_path: Path):
    with office(tmp_path, agents={}) as (hub, _):
        made = decode_invite(hub.json("invite")["token"])
        now = int(time.time())
        joiner = Device(tmp_path / "joiner")
        old = encode_invite(made._replace(expiry=now - 7200))
        error = refused(joiner, "join", "-", "--no-service", stdin=old)
        assert error["code"] == "E_INVITE_EXPIRED"
        assert "2 h ago" in error["message"] or "120 min ago" in error["message"]
        assert not joiner.home.exists()


def test_an_invite_of_another_swarm_at_the_same_address_sends_nothing(tmp_path: Path):
    with office(tmp_path, agents={}) as (hub, _):
        made = decode_invite(hub.json("invite")["token"])
        joiner = Device(tmp_path / "joiner")
        before = hub.json("invite", "ls")["invites"]

        other_pin = encode_invite(made._replace(bus_pin=bytes(16)))
        error = refused(joiner, "join", "-", "--no-service", stdin=other_pin)
        assert error["code"] == "E_PIN"
        assert "Nothing was sent" in error["hint"]

        other_swarm = encode_invite(made._replace(swarm_id=bytes(32)))
        error = refused(joiner, "join", "-", "--no-service", stdin=other_swarm)
        assert error["code"] == "E_FOREIGN"

        forged = encode_invite(made._replace(secret=bytes(16)))
        error = refused(joiner, "join", "-", "--no-service", stdin=forged)
        assert error["code"] in ("E_INVITE_UNKNOWN", "E_PROOF", "E_NO_ANSWER")

        unknown = encode_invite(made._replace(invite_id=bytes(8)))
        error = refused(joiner, "join", "-", "--no-service", stdin=unknown)
        assert error["code"] in ("E_INVITE_UNKNOWN", "E_NO_ANSWER")

        assert hub.json("invite", "ls")["invites"] == before
        assert not joiner.home.exists()
        assert [name for name in traces(tmp_path) if "new" in name] == []
        # and the real one is still good
        assert joiner.zwerm("join", "-", "--no-service", stdin=encode_invite(made)).returncode == 0


@pytest.mark.parametrize(
    "greeting",
    [b"", b'INFO {"server_id":"X","version":"2.11.0","max_payload":1048576}\r\n', b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 64],
    ids=["nothing", "a NATS server without TLS", "another service", "noise"],
)  # fmt: skip
def test_a_server_that_does_not_speak_our_tls_learns_nothing_about_the_invite(
    tmp_path: Path, greeting: bytes
):
    joiner = Device(tmp_path / "joiner")
    with Eavesdropper(greeting) as server:
        invite = Invite(
            flags=1,
            expiry=int(time.time()) + 3600,
            invite_id=b"inviteid",
            secret=b"secretsecretsecr",
            swarm_id=bytes(range(32)),
            bus_pin=bytes(16),
            endpoints=(Endpoint(1, "127.0.0.1", server.port),),
        )
        error = refused(joiner, "join", "-", "--no-service", "--timeout", "50s", stdin=encode_invite(invite))
        assert error["code"] in ("E_BUS_UNREACHABLE", "E_PIN")
        heard = b"".join(server.heard)
    assert heard  # it was spoken to
    for secret in (invite.secret, invite.invite_id, invite.swarm_id, b"CONNECT"):
        assert secret not in heard
    assert traces(tmp_path) == [name for name in traces(tmp_path) if name.startswith(".joiner.join-")]


def test_a_node_whose_bus_is_away_waits_and_says_so_and_stops_when_told(tmp_path: Path):
    with office(tmp_path, agents={"ada": ""}) as (hub, devices):
        ada = devices["ada"]
        hub.stop()
        ada.stop()
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh", "up", "--home", str(ada.home)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said.startswith("Waiting")
            assert "trying again" in said
        finally:
            process.terminate()
            rest, _ = process.communicate(timeout=30)
        assert process.returncode in (0, 130), rest
        assert "Traceback" not in rest
