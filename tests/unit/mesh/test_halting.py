"""What a device makes of orders to halt: only those that hold and are newer change anything, and everything else is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh.halt_file import (
    LOCAL,
    forget_local,
    local_mark,
    obeyed_mark,
    order_local,
    read_local,
    say_obeyed,
)
from mesh.halting import Halts
from mesh.home import Home
from protocol.errors import Rejected
from protocol.halts import HaltOrder, sign_halt
from tests.support.wire_world import NOW_S, Node, World

WORLD = World()
ADMIN, WORKER = Node("chief"), Node("nas")
ADMIN_CERTIFICATE = WORLD.certificate(ADMIN, roles=("admin",))


def order(n: int, *, on: bool = True, by: Node = ADMIN, why: str = "") -> bytes:
    return sign_halt(HaltOrder(swarm=WORLD.swarm_id, n=n, at=NOW_S, on=on, why=why), by.sig)


def take(halts: Halts, raw: bytes, certificate: bytes = ADMIN_CERTIFICATE) -> bool:
    return halts.take(raw, certificate, WORLD.charter)


@pytest.mark.requirement("HLT-2")
def test_a_newer_order_rules_and_an_older_one_changes_nothing_and_is_counted() -> None:
    halts = Halts()
    assert take(halts, order(2, why="fire"))
    assert halts.halted
    assert halts.why == "chief halted the swarm: fire"
    assert not take(halts, order(1, on=False))
    assert not take(halts, order(2, on=False))
    assert halts.halted
    assert halts.counts == {"E_STALE": 2}
    assert not take(halts, order(2, why="fire"))
    assert halts.counts == {"E_STALE": 2}
    assert take(halts, order(3, on=False))
    assert not halts.halted
    assert halts.why == ""


@pytest.mark.requirement("HLT-1")
@pytest.mark.requirement("HLT-2")
def test_a_forged_order_changes_nothing_and_is_counted() -> None:
    halts = Halts()
    for raw, certificate, code in (
        (order(9, by=WORKER), WORLD.certificate(WORKER), "E_ROLE"),
        (order(9, by=WORKER), ADMIN_CERTIFICATE, "E_ISSUER"),
        (order(9)[:-1] + b"\0", ADMIN_CERTIFICATE, "E_SIG"),
        (b"", b"", "E_SHORT"),
    ):
        with pytest.raises(Rejected) as caught:
            take(halts, raw, certificate)
        assert caught.value.code == code
    assert not halts.halted
    assert halts.counts == {"E_ROLE": 1, "E_ISSUER": 1, "E_SIG": 1, "E_SHORT": 1}


@pytest.mark.requirement("HLT-4")
def test_an_order_is_carried_out_at_once_where_nothing_works_and_otherwise_when_the_worker_says_so() -> None:
    idle, busy = Halts(), Halts()
    busy.has_workers = True
    told: list[str] = []
    idle.on_obeyed(lambda: told.append("idle"))
    busy.on_obeyed(lambda: told.append("busy"))
    take(idle, order(4))
    take(busy, order(4))
    assert told == ["idle"]
    assert (idle.obeyed, busy.obeyed, busy.pending) == (4, 0, True)
    busy.carried_out(3)
    assert told == ["idle", "busy"]
    assert (busy.obeyed, busy.stopped, busy.pending) == (4, 3, False)


def test_the_owner_of_a_device_halts_it_beside_the_swarm() -> None:
    halts = Halts()
    changes: list[bool] = []
    halts.subscribe(lambda: changes.append(halts.halted))
    halts.set_local("too warm")
    halts.set_local("too warm")
    assert halts.why == "the owner of this device halted it: too warm"
    take(halts, order(1))
    halts.set_local(None)
    assert halts.halted
    take(halts, order(2, on=False))
    assert changes == [True, True, True, False]


def test_a_local_order_is_a_file_that_holds_until_it_is_removed_even_when_it_is_damaged(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    assert (read_local(home), local_mark(home), obeyed_mark(home)) == (None, "", "none")
    mark = order_local(home, "too warm", 1.0)
    assert (read_local(home), local_mark(home)) == ("too warm", mark)
    say_obeyed(home)
    assert obeyed_mark(home) == mark
    home.file(LOCAL).write_bytes(b"{")
    assert read_local(home) == ""
    assert forget_local(home)
    assert not forget_local(home)
    assert read_local(home) is None
    say_obeyed(home)
    assert obeyed_mark(home) == ""
