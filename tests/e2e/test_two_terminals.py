"""What a person does by hand: init, invite, join, run, look, fetch, leave; with the real command, real processes, a real bus."""

import json
from pathlib import Path

import pytest

from agent_node.documents.samples import sample_files
from tests.support.devices import Device, join, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]


def test_two_devices_do_a_goal_together_and_everything_about_it_can_be_looked_up(tmp_path: Path):
    documents = tmp_path / "documents"
    documents.mkdir()
    for sample in sample_files():
        (documents / sample.name).write_bytes(sample.read_bytes())
    with office(tmp_path, agents={"nas": ""}, hub_agent=True) as (hub, devices):
        nodes = hub.json("nodes")["nodes"]
        assert {node["name"] for node in nodes} == {"hub", "nas"}

        done = hub.zwerm(
            "run",
            "Find every date and amount in these documents",
            "-i",
            documents,
            "-o",
            tmp_path / "out",
            "--json",
        )
        assert done.returncode == 0, done.stderr
        *events, summary = [json.loads(line) for line in done.stdout.splitlines()]
        assert summary["outcome"] == "done"
        assert {event["schema"] for event in events} == {"zwerm.event/1"}
        report = (tmp_path / "out" / "report.md").read_text()
        assert "quotation-printing.pdf" in report
        assert (tmp_path / "out" / "table.csv").read_text().startswith("document,")
        provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
        assert provenance["nodes"] == ["hub", "nas"]
        assert all(entry["bid"] for entry in provenance["subtasks"])

        # from the other device, which is only a worker and client
        nas = devices["nas"]
        run = summary["run"][-6:]
        assert nas.json("runs", "ls")["runs"][0]["run"] == summary["run"]
        shown = nas.json("runs", "show", run)
        assert shown["outcome"] == "done"
        files = nas.json("artifacts", "ls", run)["files"]
        assert {"report.md", "table.csv"} <= {entry["name"] for entry in files}
        assert nas.json("artifacts", "verify", run)["ok"]
        nas.json("artifacts", "get", run, "report.md", "-o", tmp_path / "elsewhere")
        assert (tmp_path / "elsewhere" / "report.md").read_text() == report

        status = nas.json("status")
        assert status["swarm"]["healthy"]
        doctor = nas.json("doctor")
        assert doctor["errors"] == 0

        left = nas.json("leave", "--wipe", "-y")
        assert left["told"]
        assert not nas.home.exists()

        def cut_off() -> bool:
            return all(
                node["name"] != "nas" or node["state"] == "gone" for node in hub.json("nodes")["nodes"]
            )

        wait_for("nas gone", cut_off)


def test_an_invite_is_good_once_and_every_wrong_one_says_what_to_do(tmp_path: Path):
    with office(tmp_path, agents={}) as (hub, _):
        token = hub.json("invite")["token"]
        first = Device(tmp_path / "first")
        assert first.zwerm("join", token, "--no-service").returncode == 0
        again = first.zwerm("join", token, "--no-service", "--json")
        assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (2, "E_BUSY")

        second = Device(tmp_path / "second")

        def refused(text: str) -> tuple[int, str]:
            done = second.zwerm("join", "-", "--no-service", "--json", stdin=text + "\n")
            error = json.loads(done.stdout)["error"]
            assert error["hint"], error
            assert not second.home.exists()
            return done.returncode, error["code"]

        assert refused(token) == (4, "E_INVITE_USED")
        typo = token[:40] + ("a" if token[40] != "a" else "b") + token[41:]
        assert refused(typo) == (2, "E_CHECKSUM")
        assert refused("hello") == (2, "E_PREFIX")
        assert refused(token[:-9])[0] == 2

        fresh = hub.json("invite", "--label", "for nobody")
        hub.json("invite", "revoke", fresh["invite"])
        assert refused(fresh["token"]) == (4, "E_INVITE_REVOKED")
        states = {entry["invite"]: entry["state"] for entry in hub.json("invite", "ls")["invites"]}
        assert sorted(states.values()) == ["revoked", "used"]

        open_invite = hub.json("invite")["token"]
        hub.stop()
        assert refused(open_invite) == (3, "E_BUS_UNREACHABLE")


def test_a_device_that_is_no_admin_cannot_invite(tmp_path: Path):
    with office(tmp_path, agents={}) as (hub, _):
        nas = join(hub, tmp_path / "nas")
        done = nas.zwerm("invite", "--json")
        assert done.returncode != 0
        assert "admin" in json.loads(done.stdout)["error"]["message"]


def test_without_a_bus_every_command_answers_soon_and_says_why(tmp_path: Path):
    with office(tmp_path, agents={}) as (hub, _):
        pass
    for arguments in (["nodes"], ["runs", "ls"], ["run", "Summarise this folder", "-i", str(tmp_path)]):
        done = hub.zwerm(*arguments, "--json", timeout_s=30)
        assert done.returncode == 3, done.stdout + done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "E_BUS_UNREACHABLE"
    status = json.loads(hub.zwerm("status", "--json").stdout)
    assert {problem["code"] for problem in status["problems"]} >= {"E_NO_DAEMON"}
