"""What comes while a coordinator's lease is out: in which order it is decided afterwards."""

from __future__ import annotations

from coordinator_node.orders import AnswersReceived, HaltChanged, NodeLost, Tick
from coordinator_node.waiting import HELD_MAX, Waiting

_GONE = NodeLost("n", "silent")


def test_an_order_to_halt_goes_before_all_that_came_before_it_and_the_newest_counts() -> None:
    waiting = Waiting()
    for event in (_GONE, HaltChanged(True), Tick(), HaltChanged(True, "space"), HaltChanged(False)):
        waiting.put(event)
    assert waiting.take() == [HaltChanged(False), HaltChanged(True, "space"), _GONE, Tick()]
    assert waiting.take() == []


def test_an_order_to_halt_that_comes_now_goes_before_what_waits_still() -> None:
    waiting = Waiting()
    assert not waiting.overtaken_by(HaltChanged(True))
    waiting.put(_GONE)
    assert not waiting.overtaken_by(Tick())
    assert waiting.overtaken_by(HaltChanged(True))
    assert waiting.take() == [HaltChanged(True), _GONE]


def test_bids_are_not_kept_and_the_rest_only_up_to_a_bound() -> None:
    waiting = Waiting()
    waiting.put(AnswersReceived("r", "n", "U", [], b""))
    assert len(waiting) == 0
    for _ in range(HELD_MAX + 1):
        waiting.put(_GONE)
    waiting.put(HaltChanged(True))
    assert len(waiting) == HELD_MAX + 1
    assert waiting.take()[0] == HaltChanged(True)
