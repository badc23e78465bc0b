"""Work that breaks whatever does it: the node goes on, the work is given up after its tries, everything else is delivered."""

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from protocol.records import AttemptFailed, SubtaskFailed
from tests.chaos.checker import judge
from tests.chaos.load import Asked, Load, mixed
from tests.chaos.swarm import WORK, Shape, agent_config, chaos_swarm, until
from tests.chaos.trial import quiet_logs

pytestmark = [pytest.mark.chaos_small, pytest.mark.timeout(200)]

TRIES = 3
FUNCTIONS = ("segfault", "devour", "spin", "flood")
PROGRAMS = {
    "crash": ["/bin/sh", "-c", "kill -SEGV $$"],
    "gorge": ["/usr/bin/tail", "/dev/zero"],
    "loop": ["/bin/sh", "-c", "while :; do :; done"],
    "spill": ["/bin/cat", "/dev/zero"],
}


def poisoned() -> str:
    """A node that offers all of it, with little memory and space for each."""
    parts = [agent_config(slots=4, queue=8)]
    parts += [
        f'[[agents]]\nname = "{name}"\nadapter = "python"\ncapability = "poison.{name}"\ntarget = "{WORK}:{name}"\n'
        for name in FUNCTIONS
    ]
    parts += [
        f'[[agents]]\nname = "{name}"\nadapter = "command"\ncapability = "poison.{name}"\nargv = {argv}\n'
        "timeout_s = 2\nmemory_mib = 256\noutput_mib = 8\n"
        for name, argv in PROGRAMS.items()
    ]
    parts.append("[agent.worker]\nmemory_mib = 512\noutput_mib = 8\ncpu_s = 4\n")
    return "".join(parts)


def goal(folder: Path, names: list[str]) -> Asked:
    """Poison beside honest work."""
    asked = mixed(random.Random(1), "beside poison", width=6, ms=(1, 5))
    steps: list[dict[str, Any]] = asked.plan["steps"]
    for name in names:
        params = {"text": name, "begun": str(folder / "begun")}
        steps.insert(
            0, {"id": name, "capability": f"poison.{name}", "params": params, "tries": TRIES, "deadline_s": 3}
        )
        asked.subtasks.add(name)
    asked.plan["deliver"] = ["all", *names]
    asked.outcome = "partial"
    return asked


def below(pid: int) -> list[psutil.Process]:
    """What a daemon has started and what still runs of it."""
    return [child for child in psutil.Process(pid).children(recursive=True) if child.is_running()]


@pytest.mark.parametrize("names", [list(FUNCTIONS), list(PROGRAMS)], ids=["functions", "programs"])
def test_poison_is_given_up_after_its_tries_and_its_nodes_go_on(names: list[str], tmp_path: Path):
    if names == list(PROGRAMS) and shutil.which("bwrap") is None:
        pytest.skip("needs bubblewrap")

    async def play() -> None:
        async with chaos_swarm(tmp_path, Shape(agents=2, agent=poisoned())) as chaos:
            people = Load(chaos, random.Random(1))
            await people.listen()
            pids = [node.process.pid for node in chaos.agents if node.process]
            asked = await people.do(goal(tmp_path, names))
            assert [node.process.pid for node in chaos.agents if node.process and node.alive] == pids

            def quiet() -> bool:
                return all(child.cpu_percent(0.05) < 50 for pid in pids for child in below(pid))

            await until("nothing of the poison runs any more", quiet, 20.0)
            await people.do(mixed(random.Random(2), "after poison", width=6, ms=(1, 5)))
            verdict, history = await judge(chaos, people)
            assert verdict.problems == []
            records = [record for message in history[asked.run] for record in message.records]
            for name in names:
                failures = [r for r in records if isinstance(r, AttemptFailed) and r.subtask == name]
                ends = [r for r in records if isinstance(r, SubtaskFailed) and r.subtask == name]
                assert len(ends) == 1, name
                assert 1 <= len(failures) <= TRIES, (name, [r.code for r in failures])
                assert ends[0].message, name

    with quiet_logs():
        asyncio.run(play())
