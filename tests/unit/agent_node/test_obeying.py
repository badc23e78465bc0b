"""What a node does about orders to halt, without a process to end."""

from __future__ import annotations

from agent_node.events import Awarded, Event, HaltAsked, HaltLifted, Tick
from agent_node.obeying import Obedience
from mesh.halting import Halts


class Node:
    def __init__(self) -> None:
        self.halts = Halts()
        self.did: list[Event | str] = []
        self.obedience = Obedience(
            self.halts,
            self.did.append,
            lambda on: self.did.append(f"forbid {on}"),
            lambda turn: self.did.append(f"end {turn}"),
        )


def test_a_halt_forbids_and_is_told_to_the_core_before_anything_is_ended() -> None:
    node = Node()
    node.halts.set_local("fire")
    halted = HaltAsked("the owner of this device halted it: fire")
    assert node.did == ["forbid True", halted, "end 1"]
    assert node.halts.pending
    node.obedience.ended(1, 3)
    assert (node.halts.pending, node.halts.stopped) == (False, 3)
    node.halts.set_local(None)
    assert node.did[3:] == ["forbid False", HaltLifted()]
    assert not node.halts.pending


def test_the_end_of_an_earlier_halt_is_not_the_end_of_this_one() -> None:
    node = Node()
    node.halts.set_local("one")
    node.halts.set_local(None)
    node.halts.set_local("two")
    assert not node.obedience.holds(1)
    node.obedience.ended(1, 3)
    assert node.halts.pending
    assert node.did[-1] == "end 3"
    node.obedience.ended(3, 0)
    assert not node.halts.pending


def test_awards_wait_while_it_is_not_known_whether_the_swarm_is_halted_and_then_follow_the_order() -> None:
    node = Node()
    award = Awarded("run", [])
    assert not node.obedience.defers(award)
    node.halts.set_sure(False)
    assert node.obedience.defers(award)
    assert not node.obedience.defers(Tick())
    node.halts.set_local("")
    node.halts.set_sure(True)
    assert node.did == ["forbid True", HaltAsked("the owner of this device halted it"), "end 1", award]


def test_a_node_that_starts_under_a_halt_obeys_before_it_works() -> None:
    halts = Halts()
    halts.set_local("")
    did: list[object] = []
    obedience = Obedience(halts, did.append, did.append, did.append)
    assert did == []
    obedience.begin()
    assert did == [True, HaltAsked("the owner of this device halted it"), 1]
