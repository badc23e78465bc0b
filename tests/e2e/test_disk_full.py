"""A node whose disk is full: it says so, goes on when there is room, and nothing that it did is lost or done twice."""

import contextlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_node.errors import OutboxFull
from agent_node.events import AttemptKey, Took
from agent_node.outbox_file import OutboxFile, encode, parse
from tests.support.devices import Device, everybody_up, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.netns, pytest.mark.timeout(120)]
"""`netns`, as mounting needs root too."""

SETTINGS = (
    '[agent]\ndocuments = false\nslots = 2\nqueue = 8\n[[agents]]\nname = "shout"\nadapter = "python"\n'
    'target = "tests.support.gated:shout"\ncapability = "test.shout"\nslots = 2\n'
)
FILES = 8


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, this large, at `folder`; what is there goes onto it."""
    aside = folder.with_name(f"{folder.name}.aside")
    folder.mkdir(exist_ok=True)
    folder.rename(aside)
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)], check=True)
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True, symlinks=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for step in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * step)
    return ballast


def test_a_record_that_met_a_full_disk_leaves_nothing_behind_wherever_it_was_cut(tmp_path: Path):
    rng = random.Random(8)
    with small_disk(tmp_path / "disk", "64k") as disk:
        file = OutboxFile(disk / "outbox.log")
        assert file.open() == []
        kept: list[Took] = []
        for turn in range(50):
            ballast = disk / "ballast"
            ballast.write_bytes(b"\0" * rng.randrange(0, 40_000))
            full: OutboxFull | None = None
            while full is None:
                batch = [
                    Took(AttemptKey("r" * 26, f"{turn}-{n}-{'x' * rng.randrange(200)}", 1, 1))
                    for n in range(rng.randrange(1, 60))
                ]
                try:
                    file.append(batch)
                except OutboxFull as error:
                    full = error
                else:
                    kept += batch
            assert "by itself" in full.hint
            data = file.path.read_bytes()
            assert parse(data) == (kept, len(data))
            with contextlib.suppress(OutboxFull):
                file.rewrite(kept)  # needs room for both; the old one stays
            assert parse(file.path.read_bytes())[0] == kept
            ballast.unlink()
            if len(data) > 30_000:
                kept = kept[-3:]
                file.rewrite(kept)
            more = [Took(AttemptKey("r" * 26, f"after-{turn}", 1, 1))]
            file.append(more)
            file.sync()
            kept += more
        file.close()
        assert OutboxFile(disk / "outbox.log").open() == kept
        assert len(b"".join(map(encode, kept))) < 64 << 10


def plan(folder: Path, name: str, count: int) -> tuple[list[str | Path], Path]:
    """Arguments of a run over so many files, and the gate that its work waits at."""
    gate, files = folder / f"gate-{name}", folder / f"files-{name}"
    files.mkdir()
    for number in range(count):
        (files / f"{number}.txt").write_text(f"text {number}")
    path = folder / f"{name}.yaml"
    path.write_text(
        f"steps:\n  - {{id: shout, capability: test.shout, map: inputs,"
        f" params: {{gate: '{gate}', begun: '{folder / f'begun-{name}'}'}}}}\n"
    )
    return ["run", "--plan", path, "-i", files], gate


def began(folder: Path, name: str) -> list[str]:
    path = folder / f"begun-{name}"
    return path.read_text().splitlines() if path.exists() else []


def test_a_node_with_a_full_disk_says_so_and_goes_on_when_there_is_room_and_nothing_is_lost(tmp_path: Path):
    with office(tmp_path, agents={"ada": SETTINGS}) as (hub, devices):
        ada: Device = devices["ada"]
        ada.stop()
        with small_disk(ada.home, "24m") as disk:
            ada.up()
            try:
                everybody_up(hub, {"ada", "hub"})
                arguments, gate = plan(tmp_path, "one", FILES)
                run = hub.json(*arguments, "--detach")["run"]
                wait_for("two at work", lambda: len(began(tmp_path, "one")) == 2)
                assert ada.process is not None
                before = ada.process.pid

                ballast = fill(disk)
                gate.touch()
                asked, open_gate = plan(tmp_path, "two", 1)
                open_gate.touch()
                second = hub.json(*asked, "--detach")["run"]

                def refused() -> bool:
                    return "its disk is full" in json.dumps(hub.json("runs", "show", run))

                wait_for("ada says that its disk is full", refused)
                for each in (run, second):
                    assert hub.json("runs", "show", each)["outcome"] == ""
                assert os.statvfs(disk).f_bavail < 64
                ballast.unlink()

                for each in (run, second):
                    wait_for(f"run {each} ends", lambda each=each: hub.json("runs", "show", each)["outcome"])
                    shown = hub.json("runs", "show", each)
                    assert shown["outcome"] == "done", shown["message"]
                    for subtask in shown["subtask_list"]:
                        accepted = [one for one in subtask["attempts"] if one["status"] == "accepted"]
                        assert len(accepted) == 1, subtask
                assert ada.process.poll() is None
                assert ada.process.pid == before
            finally:
                ada.stop()
