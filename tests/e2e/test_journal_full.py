"""The journal takes no byte more while everything else of the bus goes on: runs stand still, everybody who asks is told, nobody takes them, and they go on when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from mesh.bus_nats import NatsBus
from mesh.client import connect_home
from mesh.config import load_config
from mesh.errors import DiskFull
from mesh.home import Home
from mesh.workspace_nats import ensure_streams
from protocol.ids import new_run_id
from tests.e2e.test_kills import AGENT, begun, finish, outputs, provenance, start_run, world
from tests.support.devices import Device, everybody_up, join, office, wait_for

__all__ = ["world"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ONE_BY_ONE = AGENT.replace("slots = 1\n[[agents]]", "slots = 1\nqueue = 0\n[[agents]]", 1)
RENEWALS = 20
"""Of two leases together, one each 0.75 s: more than twice their length."""


async def fill(hub: Device) -> None:
    """Leave no room in the journal, by a run that nobody can read."""
    async with connect_home(Home(hub.home), role="coordinator") as desk:
        run, last = new_run_id(1_000_000_000.0, os.urandom(10)), 0
        for size in (32_000, 600, 60, 1):
            with contextlib.suppress(DiskFull):
                while True:
                    last = await desk.endpoint.journal.append(run, os.urandom(size), expected=last)


async def enlarge(hub: Device, journal: int) -> None:
    """As a restart with another `journal_mib` does."""
    home = Home(hub.home)
    async with connect_home(home, role="enroller") as enroller:
        sizes = replace(load_config(home).workspace_sizes(), journal=journal)
        await ensure_streams(cast("NatsBus", enroller.endpoint.bus), sizes)


async def revisions(hub: Device) -> dict[str, int]:
    """Node -> how often its lease was renewed, counted by the board."""
    async with connect_home(Home(hub.home), role="coordinator") as desk:
        keys = await desk.endpoint.kv.keys("owner")
        found = {key: await desk.endpoint.kv.get(key) for key in keys}
        return {key: entry.revision for key, entry in found.items() if entry is not None}


def test_a_full_journal_makes_runs_read_only_and_says_so_while_leases_hold_and_all_goes_on_with_room(
    world: Path,
):
    with office(world, agents={"ada": ONE_BY_ONE}) as (hub, _):
        hub.stop()
        config = hub.home / "config.toml"
        config.write_text(config.read_text().replace("journal_mib = 64", "journal_mib = 1"))
        hub.up()
        east = join(hub, world / "east", role="coordinator")
        east.up()
        try:
            everybody_up(hub, {"hub", "ada", "east"})
            process = start_run(hub, world, "out")
            wait_for("the first is at work", lambda: begun(world))
            [run] = hub.json("runs", "ls")["runs"]
            assert run["read_only"] == ""
            asyncio.run(fill(hub))

            def told() -> str:
                problems = hub.json("status", ok=False)["problems"]
                return next((one["message"] for one in problems if one["code"] == "E_DISK_FULL"), "")

            assert "nothing is begun until there is room" in wait_for("status says it", told)
            wait_for("the run says it", lambda: hub.json("runs", "show", run["run"])["read_only"])
            assert "read-only" in hub.zwerm("runs", "ls").stdout
            refused = hub.zwerm("run", "--plan", world / "plan.yaml", "-i", world / "documents")
            assert refused.returncode != 0
            assert "E_DISK_FULL" in refused.stderr
            assert "journal_mib" in refused.stderr

            (world / "gate").touch()  # its end cannot be written, so nothing comes behind it
            before = asyncio.run(revisions(hub))
            assert len(before) == 2

            def renewed() -> bool:
                now = asyncio.run(revisions(hub))
                return all(now[key] >= before[key] + RENEWALS for key in before)

            wait_for("the leases are renewed all the time", renewed)
            shown = hub.json("runs", "show", run["run"])
            assert (shown["owner"], shown["epoch"], shown["outcome"]) == (run["owner"], 1, "")
            assert len(begun(world)) == 1

            asyncio.run(enlarge(hub, 16 << 20))
            assert finish(process)["outcome"] == "done"
            assert outputs(world, "out") == ["ONE", "THREE", "TWO"]
            for subtask in provenance(world, "out"):
                assert [attempt["status"] for attempt in subtask["attempts"]] == ["accepted"]
            shown = hub.json("runs", "show", run["run"])
            assert (shown["owner"], shown["epoch"], shown["read_only"]) == (run["owner"], 1, "")
            wait_for("status says nothing more", lambda: not told())
        finally:
            east.stop()
