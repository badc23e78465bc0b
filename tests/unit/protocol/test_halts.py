from __future__ import annotations

from typing import Any

import pytest

from protocol.certificate import read_certificate
from protocol.directory import Directory
from protocol.errors import Rejected
from protocol.halts import HaltOrder, newer, open_halt, pack_halt, sign_halt, unpack_halt
from protocol.signing import SigningKey
from tests.support.spec_tables import all_items, example
from tests.support.wire_world import NOW_S, Node, World, bus_text, seed

WORLD = World()
ADMIN, WORKER = Node("chief"), Node("nas")
CERTIFICATE = WORLD.certificate(ADMIN, roles=("admin", "client"))


def order(**changes: Any) -> HaltOrder:
    fields = {"swarm": WORLD.swarm_id, "n": 1, "at": NOW_S, "on": True, **changes}
    return HaltOrder.model_validate(fields)


def code(raw: bytes, certificate: bytes = CERTIFICATE, directory: Directory | None = None) -> str:
    with pytest.raises(Rejected) as caught:
        open_halt(raw, certificate, WORLD.charter, directory)
    return caught.value.code


@pytest.mark.requirement("HLT-1")
def test_an_order_of_an_admin_comes_back_with_who_gave_it() -> None:
    made = order(why="a drill")
    opened = open_halt(sign_halt(made, ADMIN.sig), CERTIFICATE, WORLD.charter)
    assert opened.order == made
    assert opened.by.name == "chief"


@pytest.mark.requirement("HLT-1")
def test_whatever_is_wrong_with_an_order_has_its_own_code() -> None:
    raw = sign_halt(order(), ADMIN.sig)
    stranger = SigningKey.from_seed(seed("stranger"))
    assert code(b"") == "E_SHORT"
    assert code(raw, b"") == "E_SHORT"
    assert code(raw, raw) == "E_TYPE"
    assert code(sign_halt(order(), stranger)) == "E_ISSUER"
    assert code(raw[:-1] + bytes([raw[-1] ^ 1])) == "E_SIG"
    assert code(sign_halt(order(swarm=bytes(32)), ADMIN.sig)) == "E_SWARM"
    assert code(sign_halt(order(at=NOW_S - 3600), ADMIN.sig)) == "E_NOT_YET"
    assert code(sign_halt(order(at=NOW_S + 30 * 86_400), ADMIN.sig)) == "E_CERT_EXPIRED"
    worker = WORLD.certificate(WORKER)
    assert code(sign_halt(order(), WORKER.sig), worker) == "E_ROLE"


@pytest.mark.requirement("HLT-1")
def test_what_somebody_signed_who_had_been_put_out_does_not_count() -> None:
    directory = Directory()
    directory.put(read_certificate(CERTIFICATE), bus_text("chief"), NOW_S * 1000)
    directory.revoke(NOW_S * 1000, node=ADMIN.id)
    assert code(sign_halt(order(), ADMIN.sig), directory=directory) == "E_REVOKED"
    before = sign_halt(order(at=NOW_S - 1), ADMIN.sig)
    assert open_halt(before, CERTIFICATE, WORLD.charter, directory).order.n == 1


@pytest.mark.requirement("HLT-2")
def test_the_number_only_grows_and_of_two_with_one_number_the_one_that_stops_rules() -> None:
    assert newer(order(n=1), None)
    assert newer(order(n=2, on=False), order(n=1))
    assert not newer(order(n=1), order(n=2, on=False))
    assert newer(order(n=2), order(n=2, on=False))
    assert not newer(order(n=2, on=False), order(n=2))
    assert not newer(order(n=2), order(n=2))


@pytest.mark.requirement("HLT-2")
def test_what_is_stored_has_both_parts() -> None:
    raw = sign_halt(order(), ADMIN.sig)
    assert unpack_halt(pack_halt(raw, CERTIFICATE)) == (raw, CERTIFICATE)
    for wrong in (b"\x90", b"\x91\xc4\x00", b"\x80", b"\x92\x01\x02"):
        with pytest.raises(Rejected) as caught:
            unpack_halt(wrong)
        assert caught.value.code == "E_SCHEMA"


@pytest.mark.requirement("HLT-1")
def test_the_fields_of_an_order_are_those_of_the_specification() -> None:
    assert [one.name for one in all_items()["Halt order"]] == list(HaltOrder.model_fields)
    good = example("Halt order")
    assert HaltOrder.model_validate(good).model_dump() == good
    for one in all_items()["Halt order"]:
        for wrong in one.value.wrong():
            with pytest.raises(ValueError, match=one.name):
                HaltOrder.model_validate({**good, one.name: wrong})
