"""An event as a line: in columns, on one line, with nothing in it that could move a cursor."""

import io

from coordinator_node.events_view import event_line
from mesh.output import Out
from protocol.messages import Event

PLAIN = Out(stdout=io.StringIO(), stderr=io.StringIO())


def event(**changes) -> Event:
    fields = {"seq": 7, "at_ms": 0, "kind": "subtask.accepted", "subtask": "read-01", "node_name": "ada"}
    return Event(**{**fields, **changes})


def test_a_line_says_number_kind_place_and_what_there_is_to_say():
    data = {"attempt": 2, "outputs": ["a.json", "b.json"], "message": "well done", "code": ""}
    line = event_line(PLAIN, event(data=data), "10:00:00.000")
    assert line.split() == [
        "10:00:00.000", "7", "subtask.accepted", "read-01", "@ada", "attempt=2", "outputs=[a.json,", "b.json]", "well", "done",
    ]  # fmt: skip


def test_a_volatile_event_has_no_number_and_a_run_is_named_where_there_are_several():
    line = event_line(PLAIN, event(kind="attempt.started", volatile=True), "now", "abc234")
    assert line.split()[:4] == ["now", "abc234", "~", "attempt.started"]


def test_long_lists_are_cut_and_files_are_named():
    files = [{"name": f"{number}.md", "bytes": 1} for number in range(9)]
    line = event_line(
        PLAIN, event(data={"deliverables": files, "used": {"money": 5, "x": []}, "no": {}}), "now"
    )
    assert "[0.md, 1.md, 2.md, 3.md, and 5 more]" in line
    assert "used={money:5}" in line
    assert "no=" not in line


def test_words_of_agents_stay_on_their_line_and_move_nothing():
    evil = event(subtask="a\x1b[2J", node_name="b\x07", data={"note": "one\ntwo\x1b[31m", "x": "y\u202e"})
    line = event_line(PLAIN, evil, "now")
    assert not {"\n", "\x1b", "\x07", "\u202e"} & set(line)


def test_colours_only_where_they_are_wanted():
    assert "\x1b" not in event_line(PLAIN, event(), "now")
    assert "\x1b[32m" in event_line(Out(colour=True), event(), "now")


def test_numbers_are_short_and_what_is_as_usual_is_not_said() -> None:
    data = {"step": 2, "fraction": 1 / 60, "state": "working", "wait_ms": 0}
    line = event_line(PLAIN, event(kind="attempt.progress", volatile=True, data=data), "now")
    assert line.endswith("step=2 fraction=0.0167")
    line = event_line(
        PLAIN, event(kind="attempt.progress", data=data | {"state": "limited", "wait_ms": 5}), "now"
    )
    assert "state=limited wait_ms=5" in line
