"""A bid says how its node is at that moment: of two equal nodes the busy one asks for more, and the work goes to the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.devices import Device, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

HELD = 5
"""Jobs that keep a node busy: one in its slot, the rest in its queue."""
WARM = 32
ROUNDS = 5
"""In each phase. Scores have a random part (the auction explores), so single rounds may go the other way; price, time and load may not."""


def settings(name: str) -> str:
    """Two nodes that differ in nothing but the work that can be given to one of them alone."""
    agents = "".join(
        f'[[agents]]\nname = "{agent}"\nadapter = "python"\ntarget = "tests.support.gated:shout"\n'
        f'capability = "{capability}"\nslots = 1\n'
        for agent, capability in (("shout", "test.shout"), ("hold", f"hold.{name}"))
    )
    return f"[agent]\ndocuments = false\nslots = 1\nqueue = 8\n{agents}"


class Bench:
    """Plans over one capability, with a gate of their own."""

    def __init__(self, hub: Device, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        for number in range(WARM):
            (self.files / f"{number:02}.txt").write_text(f"text {number}")
        self.open = folder / "open"
        self.open.touch()

    def arguments(self, capability: str, count: int, gate: Path) -> list[str | Path]:
        plan = self.folder / f"{capability}-{count}.yaml"
        params = {"gate": str(gate), "begun": str(self.folder / f"begun-{gate.name}")}
        step = {
            "id": "step",
            "capability": capability,
            "map": [f"{n:02}.txt" for n in range(count)],
            "params": params,
        }
        plan.write_text(json.dumps({"steps": [step]}))
        return ["run", "--plan", plan, "-i", self.files]

    def run(self, capability: str, count: int = 1) -> dict[str, Any]:
        """Do it and wait; the run in full."""
        summary = self.hub.json(*self.arguments(capability, count, self.open), "-o", self.folder / "out")
        return self.hub.json("runs", "show", summary["run"])

    def hold(self, name: str) -> Path:
        """Fill a node's slot and queue with jobs that end when the returned gate is opened."""
        gate = self.folder / f"gate-{name}"
        run = self.hub.json(*self.arguments(f"hold.{name}", HELD, gate), "--detach")["run"]

        def full() -> bool:
            begun = (self.folder / f"begun-{gate.name}").exists()
            subtasks = self.hub.json("runs", "show", run)["subtask_list"]
            return begun and all(subtask["status"] == "awarded" for subtask in subtasks)

        wait_for(f"{name} is full", full)
        return gate

    def release(self, gate: Path) -> None:
        """Let them end, and wait until nobody works."""
        gate.touch()

        def idle() -> bool:
            return all(run["outcome"] != "" for run in self.hub.json("runs", "ls")["runs"])

        wait_for("the held work is done", idle)


def test_the_award_goes_to_the_free_one_of_two_equal_nodes_and_back_when_the_load_moves(tmp_path: Path):
    with office(tmp_path, agents={"ada": settings("ada"), "bob": settings("bob")}) as (hub, _):
        bench = Bench(hub, tmp_path)
        warm = bench.run("test.shout", WARM)
        assert {subtask["attempts"][-1]["node_name"] for subtask in warm["subtask_list"]} == {"ada", "bob"}

        won = 0
        for busy, free in (("ada", "bob"), ("bob", "ada")):
            scores: dict[str, float] = {"ada": 0.0, "bob": 0.0}
            gate = bench.hold(busy)
            for _ in range(ROUNDS):
                [subtask] = bench.run("test.shout")["subtask_list"]
                [attempt] = subtask["attempts"]
                bids = {bid["node_name"]: bid for bid in attempt["bids"]}
                assert set(bids) == {"ada", "bob"}
                for what in ("price", "eta_ms"):
                    assert bids[busy][what] > bids[free][what], bids
                assert bids[busy]["load"] >= bids[free]["load"]
                assert bids[busy]["load"] == 1.0
                for name, bid in bids.items():
                    scores[name] += bid["score"]
                won += attempt["node_name"] == free
                assert "2 bids" in attempt["reason"]
            bench.release(gate)
            assert scores[free] > scores[busy]
        assert won >= 2 * ROUNDS - 2
        shown = hub.zwerm("runs", "show", warm["run"][-8:], "--bids")
        assert shown.stdout.count("* ada") + shown.stdout.count("* bob") == WARM


def test_when_both_are_equally_idle_both_get_work(tmp_path: Path):
    with office(tmp_path, agents={"ada": settings("ada"), "bob": settings("bob")}) as (hub, _):
        bench = Bench(hub, tmp_path)
        view = bench.run("test.shout", WARM)
        shares = [subtask["attempts"][-1]["node_name"] for subtask in view["subtask_list"]]
        assert min(shares.count("ada"), shares.count("bob")) >= 2, shares
