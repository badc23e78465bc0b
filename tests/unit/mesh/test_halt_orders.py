"""What a device takes in of orders to halt, and how an admin's order gets its number."""

from __future__ import annotations

import pytest

from mesh.halt_orders import Giver, Orders
from mesh.halting import Halts
from protocol.halts import open_halt
from protocol.messages import Halt, Heartbeat
from tests.support.wire_world import NOW_S, Node, World

WORLD = World()
ADMIN = Node("chief")
CERTIFICATE = WORLD.certificate(ADMIN, roles=("admin",))


class Device:
    def __init__(self) -> None:
        self.halts = Halts()
        self.kept: list[bytes] = []
        self.told: list[str] = []
        self.orders = Orders(
            self.halts, lambda: WORLD.charter, lambda: None, self.kept.append, self.told.append
        )


def giver(*, on: bool) -> Giver:
    return Giver(WORLD.charter, ADMIN.sig, CERTIFICATE, on=on, why="fire")


def word(n: int, *, halted: bool) -> Heartbeat:
    return Heartbeat(load=0.0, slots_used=0, slots=1, halted=halted, halt=n)


@pytest.mark.requirement("HLT-2")
def test_news_is_kept_and_what_is_known_or_kept_is_not_kept_again() -> None:
    device, one = Device(), giver(on=True)
    item = one.sign(NOW_S)
    device.orders.said(item)
    device.orders.said(item)
    device.orders.answered(one.stored())
    assert (device.halts.halted, device.kept) == (True, [one.stored()])
    restarted = Device()
    restarted.orders.restored(device.kept[0])
    assert (restarted.halts.halted, restarted.kept) == (True, [])


def test_what_does_not_hold_changes_nothing_and_is_told() -> None:
    device = Device()
    device.orders.answered(b"\xc1")
    device.orders.said(Halt(halt=b"x", certificate=CERTIFICATE))
    assert not device.halts.halted
    assert device.kept == []
    assert len(device.told) == 2
    assert sum(device.halts.counts.values()) == 2


@pytest.mark.requirement("HLT-3")
def test_a_connection_that_moves_makes_the_store_be_asked_before_work_is_taken() -> None:
    device = Device()
    device.orders.moved()
    assert not device.halts.sure
    device.orders.answered(None)
    assert device.halts.sure
    device.orders.moved()
    device.orders.unanswered()
    assert device.halts.sure


@pytest.mark.requirement("HLT-2")
def test_an_order_gets_a_higher_number_than_all_that_its_giver_knows_of() -> None:
    first, second = giver(on=True), giver(on=False)
    first.sign(NOW_S)
    second.known(first.stored())
    second.known(b"rubbish")
    item = second.sign(NOW_S)
    assert open_halt(item.halt, item.certificate, WORLD.charter).order.n == second.n == 2
    second.overtaken()
    second.sign(NOW_S)
    assert second.n == 3


def test_a_lift_with_the_number_of_a_halt_that_it_did_not_know_of_is_given_again_once() -> None:
    halt, lift = giver(on=True), giver(on=False)
    device = Device()
    device.orders.said(halt.sign(NOW_S))
    device.orders.said(lift.sign(NOW_S))
    assert device.halts.halted
    assert not halt.contradicted(word(1, halted=True))
    assert not lift.contradicted(word(2, halted=True))
    assert not lift.contradicted(word(1, halted=False))
    assert lift.contradicted(word(1, halted=True))
    lift.overtaken()
    device.orders.said(lift.sign(NOW_S))
    assert not device.halts.halted
    # Who is still halted now was halted by its owner.
    assert not lift.contradicted(word(2, halted=True))
