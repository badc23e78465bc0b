"""Dying on purpose: off by default, at the nth passing of a known point, by SIGKILL."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator_node.crash_proc import CRASH_AT, POINTS, Fuse
from mesh.errors import BadSettings

ROOT = Path(__file__).parents[3]


def test_the_process_ends_when_its_point_is_passed_for_the_nth_time():
    ends: list[str] = []
    fuse = Fuse("append.acked:2", lambda: ends.append("end"))
    for name in ("append.acked", "append.before", "say.Award"):
        fuse.passed(name)
    assert ends == []
    fuse.passed("append.acked")
    assert ends == ["end"]


@pytest.mark.parametrize("setting", ["nowhere", "append.acked:x", "append.acked:-1", ":2"])
def test_a_point_that_does_not_exist_is_refused_with_those_that_do(setting: str):
    with pytest.raises(BadSettings, match="no such point") as refused:
        Fuse(setting, lambda: None)
    assert "append.acked" in refused.value.hint


def _run(setting: str | None) -> int:
    code = "from coordinator_node.crash_proc import crash_point\ncrash_point('append.acked')\n"
    env = {key: value for key, value in os.environ.items() if key != CRASH_AT}
    if setting is not None:
        env[CRASH_AT] = setting
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=False).returncode


def test_nothing_happens_without_the_variable_and_a_kill_with_it():
    assert _run(None) == 0
    assert _run("append.before") == 0
    assert _run("append.acked") == -signal.SIGKILL


def test_every_point_is_somewhere_in_the_code():
    source = "".join(
        path.read_text() for path in (ROOT / "coordinator_node").glob("*.py") if path.name != "crash_proc.py"
    )
    for point in POINTS:
        when, _, what = point.partition(".")
        spelled = f'crash_point("{point}")' in source or f'crash_soon("{point}")' in source
        assert spelled or (f'crash_points("{when}"' in source and re.search(re.escape(what), source)), point
