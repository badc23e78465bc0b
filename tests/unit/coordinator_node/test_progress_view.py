"""What a person sees of a run while it happens."""

import io

from coordinator_node.progress_view import RunProgress
from mesh.output import Out
from protocol.messages import Event

OUT = Out(stdout=io.StringIO(), stderr=io.StringIO())


def event(kind: str, subtask: str = "", node_name: str = "", **data) -> Event:
    return Event(seq=1, at_ms=0, kind=kind, subtask=subtask, node_name=node_name, data=data)


def planned() -> RunProgress:
    progress = RunProgress(run="r", started=0.0)
    progress.take(
        event(
            "plan.adopted",
            subtasks=[["read-1", "doc.read"], ["read-2", "doc.read"], ["report", "report.assemble"]],
        ),
        1.0,
    )
    return progress


def test_each_kind_of_work_has_a_line_with_who_did_how_much():
    progress = planned()
    progress.take(event("subtask.awarded", "read-1", node_name="ada", attempt=1), 1.0)
    progress.take(event("subtask.accepted", "read-1", node_name="ada", wall_ms=12), 1.1)
    progress.take(event("subtask.awarded", "read-2", node_name="bob", attempt=1), 1.2)
    first, second, foot = progress.lines(OUT, 1.3)
    assert "doc.read" in first
    assert "1/2" in first
    assert "ada 1" in first
    assert "working: bob" in first
    assert "report.assemble" in second
    assert "33 %" in foot


def test_another_attempt_is_counted_and_said():
    progress = planned()
    progress.take(event("subtask.awarded", "read-1", node_name="ada", attempt=1), 1.0)
    line = progress.take(
        event("attempt.failed", "read-1", node_name="ada", code="E_LEASE", message="silent"), 2.0
    )
    assert "E_LEASE" in line
    progress.take(event("subtask.awarded", "read-1", node_name="bob", attempt=2), 2.0)
    assert "1 tried again" in progress.lines(OUT, 2.1)[-1]


def test_silence_is_shown_after_a_while():
    progress = planned()
    assert "nothing heard" not in progress.lines(OUT, 2.0)[-1]
    assert "nothing heard for 9 s" in progress.lines(OUT, 10.0)[-1]


def test_words_of_agents_cannot_move_the_cursor_and_lines_fit_the_screen():
    progress = planned()
    progress.take(event("subtask.awarded", "read-1", node_name="ada\x1b[2J", attempt=1), 1.0)
    progress.take(event("attempt.progress", "read-1", note="\x1b[31m" + "x" * 300), 1.0)
    for line in progress.lines(OUT, 1.0, width=60):
        assert "\x1b" not in line
        assert len(line) <= 64


def test_the_end_is_remembered_and_the_hint_to_cancel_goes():
    progress = planned()
    assert "Ctrl-C" in progress.lines(OUT, 1.0)[-1]
    progress.take(event("run.closed", outcome="failed"), 2.0)
    assert progress.closed == {"outcome": "failed"}
    assert "Ctrl-C" not in progress.lines(OUT, 2.0)[-1]


def test_the_live_line_says_the_cost_when_there_is_a_budget():
    progress = planned()
    assert "credits" not in progress.lines(OUT, 1.3)[-1]
    progress.take(event("run.opened", budget={"money": 5_000_000, "children": 32}), 1.0)
    progress.take(event("subtask.awarded", "read-1", node_name="ada", attempt=1, price=100_000), 1.0)
    progress.take(event("attempt.progress", "read-1", node_name="ada", used={"money": 60_000}), 1.0)
    assert "0.06 of 5 credits" in progress.lines(OUT, 1.3)[-1]
    progress.take(event("subtask.accepted", "read-1", node_name="ada", wall_ms=12, used={}), 1.1)
    assert "0.1 of 5 credits" in progress.lines(OUT, 1.3)[-1]
    line = progress.take(event("budget.noted", message="80 % of the money is used: 4 of 5"), 1.2)
    assert line.startswith("budget ")


def test_work_that_nobody_bids_for_says_who_was_asked_and_why_not():
    progress = planned()
    assert (
        progress.take(event("subtask.unbid", "read-1", asked=0, declines=[]), 1.0)
        == "no bid   read-1: no node here offers it"
    )
    full = event("subtask.unbid", "read-1", asked=2, declines=["ada: E_SLOTS", "bob: E_DISK_FULL"])
    assert progress.take(full, 1.0) == "no bid   read-1: 2 asked; ada: E_SLOTS; bob: E_DISK_FULL"
    assert (
        progress.take(event("subtask.unbid", "read-1", asked=1, declines=[]), 1.0)
        == "no bid   read-1: 1 asked"
    )
