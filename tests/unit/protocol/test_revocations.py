from __future__ import annotations

from typing import Any

import msgpack
import pytest

from protocol.certificate import read_certificate
from protocol.charter import next_charter, sign_charter, verify_chain
from protocol.codec import pack
from protocol.directory import Directory
from protocol.errors import Rejected
from protocol.limits import REVOKED_MAX
from protocol.objects import Kind, sign_object
from protocol.revocations import (
    NEXT_S,
    Revocations,
    Revoked,
    open_revocations,
    sign_revocations,
)
from protocol.signing import SigningKey, key_id
from tests.support.spec_tables import all_items, example
from tests.support.wire_world import NOW_S, SERIAL, Node, World, bus_text, seed

WORLD = World()
NODE = Node("nas")


def revoked(kind: str = "node", **changes: Any) -> Revoked:
    wide = kind in ("node", "issuer")
    fields = {"kind": kind, "id": seed("somebody")[: 16 if wide else 8], "at": NOW_S, **changes}
    return Revoked.model_validate(fields)


def a_list(*entries: Revoked, **changes: Any) -> Revocations:
    fields = {"n": 1, "issued": NOW_S, "next": NOW_S + NEXT_S, "revoked": list(entries), **changes}
    return Revocations.model_validate(fields)


def body_of(*entries: dict[str, Any]) -> bytes:
    return pack({"v": 1, "n": 1, "issued": NOW_S, "next": NOW_S + 1, "revoked": list(entries)})


def code(raw: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        open_revocations(raw, WORLD.charter)
    return caught.value.code


@pytest.mark.requirement("REV-1")
def test_a_list_that_an_issuer_signed_comes_back() -> None:
    made = a_list(revoked(why="sold"), revoked("serial"), revoked("invite"), revoked("issuer"))
    assert open_revocations(sign_revocations(made, WORLD.issuer), WORLD.charter) == made


@pytest.mark.requirement("REV-1")
def test_whatever_is_wrong_with_a_list_has_its_own_code() -> None:
    raw = sign_revocations(a_list(revoked()), WORLD.issuer)
    stranger = SigningKey.from_seed(seed("stranger"))
    assert code(b"") == code(raw[:60]) == "E_SHORT"
    assert code(raw[:-1]) == code(raw + b"\0") == "E_LEN"
    assert code(WORLD.certificate(NODE)) == "E_TYPE"
    assert code(sign_revocations(a_list(), stranger)) == "E_ISSUER"
    assert code(raw[:-1] + bytes([raw[-1] ^ 1])) == "E_SIG"
    assert code(raw[:30] + bytes([raw[30] ^ 1]) + raw[31:]) == "E_SIG"
    assert code(sign_object(Kind.REVOCATIONS, b"\xc1", WORLD.issuer)) == "E_BODY"
    assert code(sign_object(Kind.REVOCATIONS, pack({}), WORLD.issuer)) == "E_SCHEMA"


@pytest.mark.requirement("REV-1")
def test_an_issuer_that_was_withdrawn_ends_no_membership() -> None:
    head = WORLD.charter
    withdrawn = sign_charter(
        next_charter(head, not_before_issue={key_id(WORLD.issuer.public).hex(): NOW_S}), [WORLD.root]
    )
    charter = verify_chain([WORLD.genesis, withdrawn], WORLD.swarm_id)
    before = a_list(issued=NOW_S - 1)
    assert open_revocations(sign_revocations(before, WORLD.issuer), charter) == before
    with pytest.raises(Rejected) as caught:
        open_revocations(sign_revocations(a_list(), WORLD.issuer), charter)
    assert caught.value.code == "E_ISSUER"
    late = sign_revocations(a_list(issued=WORLD.grant.exp), WORLD.issuer)
    assert code(late) == "E_ISSUER"


@pytest.mark.requirement("REV-2")
@pytest.mark.parametrize("kind", ["node", "serial", "invite", "issuer"])
def test_an_id_has_the_size_of_its_kind(kind: str) -> None:
    size = 16 if kind in ("node", "issuer") else 8
    for wrong in (size - 1, size + 1, 24 - size):
        entry = {"kind": kind, "id": bytes(wrong), "at": 1}
        assert code(sign_object(Kind.REVOCATIONS, body_of(entry), WORLD.issuer)) == "E_SCHEMA"


@pytest.mark.requirement("REV-2")
@pytest.mark.parametrize("item", ["Revocations", "Revoked"])
def test_the_fields_of_a_list_are_those_of_the_specification(item: str) -> None:
    model = {"Revocations": Revocations, "Revoked": Revoked}[item]
    good = {**example(item), "kind": "serial"} if item == "Revoked" else {**example(item), "revoked": []}
    assert model.model_validate(good)
    assert list(model.model_fields) == [one.name for one in all_items()[item]]
    for one in all_items()[item]:
        assert model.model_fields[one.name].is_required() == one.required
        if one.required:
            with pytest.raises(ValueError, match=one.name):
                model.model_validate({key: value for key, value in good.items() if key != one.name})
        else:
            assert model.model_fields[one.name].default == one.default
        for wrong in one.value.wrong():
            with pytest.raises(ValueError, match=one.name):
                model.model_validate({**good, one.name: wrong})
    with pytest.raises(ValueError, match="more"):
        model.model_validate({**good, "more": 1})


@pytest.mark.requirement("REV-2")
def test_a_list_as_long_as_it_may_be_is_signed_and_read() -> None:
    entries = [revoked("serial", id=number.to_bytes(8, "big")) for number in range(REVOKED_MAX)]
    full = a_list(*entries)
    assert open_revocations(sign_revocations(full, WORLD.issuer), WORLD.charter) == full
    one_more = msgpack.packb({**full.model_dump(), "revoked": [revoked().model_dump()] * (REVOKED_MAX + 1)})
    assert code(sign_object(Kind.REVOCATIONS, one_more, WORLD.issuer)) == "E_BODY"
    with pytest.raises(Rejected) as caught:
        full.with_entries([revoked()], NOW_S)
    assert (caught.value.code, bool(caught.value.hint)) == ("E_LONG", True)


@pytest.mark.requirement("REV-3")
def test_the_next_list_has_everything_of_the_one_before_once() -> None:
    first = a_list(revoked(why="sold"))
    second = first.with_entries([revoked(why="again"), revoked("serial")], NOW_S + 10.7)
    assert (second.n, second.issued, second.next) == (2, NOW_S + 10, NOW_S + 10 + NEXT_S)
    assert second.revoked == [revoked(why="sold"), revoked("serial")]
    assert second.with_entries([], NOW_S + 20).revoked == second.revoked


@pytest.mark.requirement("REV-4")
@pytest.mark.parametrize("known", [True, False], ids=["met before", "met after"])
@pytest.mark.parametrize("kind", ["node", "serial", "invite", "issuer"])
def test_an_entry_ends_what_it_names_from_its_second_on(kind: str, known: bool) -> None:
    invite = seed("invite")[:8]
    certificate = read_certificate(WORLD.certificate(NODE, invite=invite))
    ids = {"node": NODE.id, "serial": SERIAL, "invite": invite, "issuer": key_id(WORLD.issuer.public)}
    directory = Directory()
    entry = revoked(kind, id=ids[kind], at=NOW_S + 5)
    if not known:
        a_list(entry).apply(directory)
    member = directory.put(certificate, bus_text("nas"), NOW_S * 1000)
    if known:
        assert not member.revoked
        a_list(entry).apply(directory)
    assert member.revoked
    assert member.current.revoked_ms == (NOW_S + 5) * 1000


@pytest.mark.requirement("REV-4")
def test_an_entry_touches_nobody_else() -> None:
    directory = Directory()
    member = directory.put(read_certificate(WORLD.certificate(NODE)), bus_text("nas"), NOW_S * 1000)
    a_list(revoked(), revoked("serial"), revoked("invite"), revoked("issuer")).apply(directory)
    assert not member.revoked
