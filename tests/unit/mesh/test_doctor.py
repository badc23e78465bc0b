"""What the doctor finds, by making it so: real homes, a real bus, real damage."""

import asyncio
import importlib.metadata
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import mesh.doctor as doctor
from mesh.doctor import OUR_PACKAGES, Finding, broken_plugins, examine, foreign_owners
from mesh.home import Home
from mesh.joining import join_swarm
from tests.support.members import MovedClock, found, invited, running

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def by_code(findings: list[Finding]) -> dict[str, Finding]:
    """What is not in order; each such finding says what to do."""
    bad = [finding for finding in findings if finding.level != "ok"]
    assert all(finding.code and finding.hint for finding in bad)
    return {finding.code: finding for finding in bad}


async def examined(home: Home) -> dict[str, Finding]:
    return by_code(await asyncio.to_thread(examine, home))


async def test_a_device_that_is_well_has_no_finding(tmp_path: Path):
    home = found(tmp_path / "hub")
    async with running(home):
        assert await examined(home) == {}


def test_a_device_without_a_swarm_is_told_so_and_that_is_no_error(tmp_path: Path):
    findings = by_code(examine(Home(tmp_path / "none")))
    assert [(code, finding.level) for code, finding in findings.items()] == [("W_NO_SWARM", "warning")]


def test_a_daemon_that_does_not_run_and_a_bus_that_cannot_be_reached_are_errors(tmp_path: Path):
    findings = by_code(examine(found(tmp_path / "hub")))
    assert {code: finding.level for code, finding in findings.items()} == {
        "E_NO_DAEMON": "error",
        "E_BUS_UNREACHABLE": "error",
    }


@pytest.mark.parametrize(
    "secret", [".", "keys/sign.key", "admin/root.key", "tokens/client.jwt", "nats/store.key"]
)
def test_secrets_that_others_can_read_are_errors(tmp_path: Path, secret: str):
    home = found(tmp_path / "hub")
    home.file(secret).chmod(0o755)
    finding = by_code(examine(home))["E_PERMISSIONS"]
    assert finding.level == "error"
    assert str(home.file(secret)) in finding.text


def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Usage(NamedTuple):
        free: int

    home = found(tmp_path / "hub")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(500 << 20))
    assert "500 MiB" in by_code(examine(home))["W_DISK"].text


def test_a_setting_that_means_nothing_is_an_error(tmp_path: Path):
    home = found(tmp_path / "hub")
    home.write("config.toml", b"mdsn = true\n")
    assert "mdsn" in by_code(examine(home))["E_SETTINGS"].text


def test_a_home_that_does_not_hold_together_is_an_error_and_not_a_crash(tmp_path: Path):
    for name, content in (("certificate.bin", b"junk"), ("charter.bin", b"\xc1"), ("node.json", b"{")):
        home = found(tmp_path / name)
        home.write(name, content)
        assert by_code(examine(home))["E_HOME"].level == "error"


async def test_a_clock_that_is_off_is_an_error_while_messages_still_pass(tmp_path: Path):
    home = found(tmp_path / "hub")
    async with running(home, clock=MovedClock(15.0)):
        finding = (await examined(home))["E_CLOCK"]
    assert "-15 s" in finding.text
    assert "NTP" in finding.hint


async def test_a_clock_that_is_so_far_off_that_nobody_answers_is_named_as_a_possible_reason(tmp_path: Path):
    home = found(tmp_path / "hub")
    async with running(home, clock=MovedClock(300.0)):
        finding = (await examined(home))["E_NO_ANSWER"]
    assert "clock" in finding.text
    assert "NTP" in finding.hint


def test_a_membership_that_ends_soon_is_a_warning_and_one_that_has_ended_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = found(tmp_path / "soon", clock=MovedClock(-5.5 * 86400))
    assert "36 h" in by_code(examine(home))["W_CERT"].text
    home = found(tmp_path / "ended", clock=MovedClock(-8 * 86400))
    assert "expired" in by_code(examine(home))["E_HOME"].text


async def test_a_device_that_was_removed_hears_it(tmp_path: Path):
    from mesh.client import connect_home
    from protocol.messages import RevokeNode

    hub = found(tmp_path / "hub")
    async with running(hub):
        nas = Home(tmp_path / "nas")
        await join_swarm(nas, (await invited(hub)).token, node_name="nas")
        async with connect_home(hub, role="admin") as swarm:
            await swarm.endpoint.call("enroll", RevokeNode(node="nas"), timeout_s=10)
        findings = await examined(nas)
    assert {"E_REFUSED", "E_NO_ANSWER", "E_REVOKED"} & set(findings)


def test_another_package_that_owns_one_of_our_names_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = importlib.metadata.packages_distributions()
    monkeypatch.setattr(
        doctor, "packages_distributions", lambda: {**real, "mesh": ["zwerm", "mesh-of-somebody"]}
    )
    assert foreign_owners() == {"mesh": ["mesh-of-somebody"]}
    assert "mesh-of-somebody" in by_code(examine(Home(tmp_path / "none")))["E_NAME_CLASH"].text


def test_here_nobody_else_owns_our_names():
    assert foreign_owners() == {}
    assert all((ROOT / name / "__init__.py").exists() for name in OUR_PACKAGES)


def test_a_missing_nats_server_is_a_warning_since_others_may_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ZWERM_NATS_SERVER", str(tmp_path / "nowhere"))
    finding = by_code(examine(Home(tmp_path / "none")))["E_NO_SERVER"]
    assert finding.level == "warning"


@pytest.mark.parametrize("group", doctor.PLUGIN_GROUPS)
def test_a_plugin_that_cannot_be_loaded_is_a_warning_that_names_it(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = importlib.metadata.entry_points

    def points(**wanted: Any) -> list[EntryPoint]:
        theirs = (
            [EntryPoint("theirs", "no_such_module_of_theirs:X", group)] if wanted["group"] == group else []
        )
        return [*real(**wanted), *theirs]

    monkeypatch.setattr(doctor, "entry_points", points)
    finding = by_code(examine(Home(tmp_path / "none")))["W_PLUGIN"]
    assert f"{group}:theirs" in finding.text
    assert "no_such_module_of_theirs" in finding.text


def test_every_plugin_of_our_own_loads():
    assert broken_plugins() == {}
