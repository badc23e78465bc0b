"""Processes that are written down are ended by anybody who can read the list, and a process that merely has the number of one is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent_node.errors import WorkError
from agent_node.running_proc import Entry, Running, boot, entries, kill_entries, start_of, still_there
from agent_node.tree_proc import MARK_NAME
from tests.support.devices import wait_for

MARK = "0123456789abcdef"
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def parent(mark: str | None) -> tuple[subprocess.Popen[str], int]:
    env = {**os.environ, **({MARK_NAME: mark} if mark else {})}
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    process, child = parent(MARK)
    yield process, child
    kill_entries([Entry(MARK, "x", process.pid, start_of(process.pid), boot())])
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pid: int) -> bool:
    wait_for(f"{pid} is gone", lambda: not alive(pid))  # a busy kernel takes a moment to end what was killed
    return True


def test_what_was_entered_is_ended_with_children_that_left_its_session(tmp_path: Path, family) -> None:
    process, child = family
    running = Running(tmp_path / "running")
    running.begin(MARK, "docs")
    running.started(MARK, process.pid)
    [entry] = entries(tmp_path / "running")
    assert (entry.agent, entry.pid, entry.boot) == ("docs", process.pid, boot())
    assert still_there([entry]) == {process.pid, child}
    assert running.kill() == 2
    process.wait(10)
    assert gone(child)
    running.ended(MARK)
    running.ended(MARK)
    assert entries(tmp_path / "running") == []


def test_the_mark_is_enough_when_the_process_had_no_number_yet(family) -> None:
    process, child = family
    assert kill_entries([Entry(MARK, "docs")]) == 2
    process.wait(10)
    assert gone(child)


def test_a_process_that_only_has_the_number_of_one_that_was_entered_lives_on(tmp_path: Path) -> None:
    process, child = parent(None)
    try:
        start = start_of(process.pid)
        for entry in (
            Entry("f" * 16, "docs", process.pid, str(int(start) + 1), boot()),
            Entry("f" * 16, "docs", process.pid, start, "another boot"),
            Entry("f" * 16, "docs", process.pid, "", boot()),
            Entry("f" * 16, "docs", 1, start_of(1), boot()),
        ):
            assert still_there([entry]) == set()
            assert kill_entries([entry]) == 0
        assert process.poll() is None
        assert alive(child)
    finally:
        kill_entries([Entry("f" * 16, "docs", process.pid, start_of(process.pid), boot())])
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def test_a_start_ends_what_an_earlier_one_left_behind(tmp_path: Path, family) -> None:
    process, child = family
    folder = tmp_path / "running"
    Running(folder).begin(MARK, "docs")
    (folder / "broken.json").write_text("{")
    (folder / "foreign.json").write_text(json.dumps({"mark": 1}))
    assert Running(folder).end_left_over() == 2
    process.wait(10)
    assert gone(child)
    assert entries(folder) == []


def test_nothing_is_started_while_the_node_is_halted(tmp_path: Path) -> None:
    forbidden = tmp_path / "halt.local"
    running = Running(tmp_path / "running", forbidden_by=forbidden)
    forbidden.touch()
    with pytest.raises(WorkError) as caught:
        running.begin(MARK, "docs")
    assert (caught.value.code, caught.value.again) == ("E_HALTED", True)
    forbidden.unlink()
    running.halted = True
    with pytest.raises(WorkError):
        running.begin(MARK, "docs")
    running.halted = False
    running.begin(MARK, "docs")
    assert [entry.mark for entry in entries(tmp_path / "running")] == [MARK]
