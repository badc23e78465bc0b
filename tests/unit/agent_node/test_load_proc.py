"""How busy the device is, from the kernel's own counters."""

from __future__ import annotations

from pathlib import Path

from agent_node.load_proc import LoadMeter


def counters(path: Path, busy: int, idle: int) -> None:
    path.write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")


def test_load_is_the_share_of_time_that_was_used_since_last_time(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    counters(stat, 0, 0)
    meter = LoadMeter(stat)
    counters(stat, 50, 50)
    assert meter.measure() == 0.5
    counters(stat, 150, 50)
    assert meter.measure() == 0.75
    for _ in range(20):
        before = stat.read_text().split()
        counters(stat, int(before[1]), int(before[4]) + 100)
        last = meter.measure()
    assert last < 0.01


def test_no_time_between_two_measurements_changes_nothing(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    counters(stat, 0, 0)
    meter = LoadMeter(stat)
    counters(stat, 80, 20)
    assert meter.measure() == meter.measure() == 0.8


def test_without_counters_the_load_average_has_to_do(tmp_path: Path) -> None:
    for text in (None, "", "nonsense\n", "cpu 1 2\n"):
        stat = tmp_path / "stat"
        if text is not None:
            stat.write_text(text)
        assert 0.0 <= LoadMeter(stat).measure() <= 1.0


def test_this_machines_own_load_is_a_share() -> None:
    meter = LoadMeter()
    assert 0.0 <= meter.measure() <= 1.0
