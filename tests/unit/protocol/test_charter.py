from __future__ import annotations

import hashlib

import pytest

from protocol.charter import (
    Charter,
    CharterBody,
    IssuerGrant,
    charter_hash,
    found_charter,
    next_charter,
    sign_charter,
    verify_chain,
)
from protocol.errors import Rejected
from protocol.sealing import BoxKey
from protocol.signing import SigningKey
from tests.support.wire_world import NOW_S, World, seed

WORLD = World()
ROOT2 = SigningKey.from_seed(seed("second root"))
ROOT3 = SigningKey.from_seed(seed("third root"))


def code(chain: list[bytes], swarm_id: bytes = WORLD.swarm_id) -> str:
    with pytest.raises(Rejected) as caught:
        verify_chain(chain, swarm_id)
    return caught.value.code


def follow(head: Charter, *keys: SigningKey, **changes: object) -> bytes:
    return sign_charter(next_charter(head, **changes), keys)


@pytest.mark.requirement("CHA-1")
@pytest.mark.requirement("CHA-2")
def test_a_founded_swarm_has_one_root_and_a_lasting_id() -> None:
    charter = WORLD.charter
    assert (charter.name, charter.n, charter.swarm_id) == ("home", 0, WORLD.swarm_id)
    assert charter.swarm8 == WORLD.swarm_id[:8]
    assert charter.raw == WORLD.genesis
    assert charter.body.roots == [WORLD.root.public]
    assert (charter.body.k, charter.body.prev, charter.body.zones) == (1, bytes(32), ["lab"])
    assert charter.body.bus[0].url == "tls://127.0.0.1:4747"
    assert charter_hash(WORLD.genesis) == charter.hash


@pytest.mark.requirement("CHA-3")
def test_a_charter_follows_the_one_before() -> None:
    second = follow(WORLD.charter, WORLD.root, name="home2")
    head = verify_chain([WORLD.genesis, second], WORLD.swarm_id)
    assert (head.n, head.name, head.body.prev) == (1, "home2", WORLD.charter.hash)
    third = follow(head, WORLD.root, name="home3")
    assert verify_chain([WORLD.genesis, second, third], WORLD.swarm_id).n == 2
    assert code([WORLD.genesis, third]) == "E_CHAIN"
    assert code([WORLD.genesis, WORLD.genesis]) == "E_CHAIN"
    assert code([]) == "E_CHAIN"
    assert code([second]) == "E_SWARM"


@pytest.mark.requirement("CHA-5")
def test_a_root_rotation_needs_the_old_and_the_new_root() -> None:
    new = {"roots": [ROOT2.public]}
    both = follow(WORLD.charter, WORLD.root, ROOT2, **new)
    head = verify_chain([WORLD.genesis, both], WORLD.swarm_id)
    assert head.swarm_id == WORLD.swarm_id
    assert code([WORLD.genesis, follow(WORLD.charter, WORLD.root, **new)]) == "E_THRESHOLD"
    assert code([WORLD.genesis, follow(WORLD.charter, ROOT2, **new)]) == "E_THRESHOLD"
    # From then on the old root says nothing any more.
    assert code([WORLD.genesis, both, follow(head, WORLD.root, name="x")]) == "E_ISSUER"
    assert verify_chain([WORLD.genesis, both, follow(head, ROOT2, name="x")], WORLD.swarm_id).name == "x"


@pytest.mark.requirement("CHA-5")
def test_two_of_three_roots_are_two_different_ones() -> None:
    three = {"roots": [WORLD.root.public, ROOT2.public, ROOT3.public], "k": 2}
    second = follow(WORLD.charter, WORLD.root, ROOT3, **three)
    head = verify_chain([WORLD.genesis, second], WORLD.swarm_id)
    chain = [WORLD.genesis, second]
    assert code([*chain, follow(head, ROOT2, ROOT2, name="x")]) == "E_THRESHOLD"
    assert code([*chain, follow(head, ROOT2, name="x")]) == "E_THRESHOLD"
    assert verify_chain([*chain, follow(head, ROOT2, ROOT3, name="x")], WORLD.swarm_id).name == "x"


@pytest.mark.requirement("CHA-4")
def test_the_hash_of_a_charter_does_not_depend_on_who_signed() -> None:
    body = next_charter(WORLD.charter, roots=[WORLD.root.public, ROOT2.public])
    one, two = sign_charter(body, [WORLD.root]), sign_charter(body, [WORLD.root, ROOT2])
    assert one != two
    assert charter_hash(one) == charter_hash(two) != hashlib.sha256(one).digest()


@pytest.mark.requirement("CHA-4")
def test_no_changed_byte_is_accepted() -> None:
    second = follow(WORLD.charter, WORLD.root, name="home2")
    for at in range(len(second)):
        assert code([WORLD.genesis, second[:at] + bytes([second[at] ^ 1]) + second[at + 1 :]])
    for size in range(0, len(second), 7):
        assert code([WORLD.genesis, second[:size]])


def test_what_cannot_be_is_not_drafted() -> None:
    for changes in (
        {"name": "two words"},
        {"k": 2},
        {"roots": []},
        {"motto": 1},
        {"issuers": [WORLD.grant, WORLD.grant]},
    ):
        with pytest.raises(Rejected) as caught:
            next_charter(WORLD.charter, **changes)
        assert caught.value.code == "E_SCHEMA"
    with pytest.raises(Rejected) as caught:
        found_charter(name="a.b", root=WORLD.root, issuers=[], bus=[])
    assert "name" in caught.value.message


@pytest.mark.requirement("CHA-6")
def test_an_issuer_with_a_bad_key_is_not_appointed() -> None:
    fields = WORLD.grant.model_dump()
    for wrong in ({"pub": bytes(32)}, {"box": bytes(32)}, {"roles": ["king"]}, {"max_ttl": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            IssuerGrant.model_validate({**fields, **wrong})


@pytest.mark.requirement("CHA-7")
def test_what_an_issuer_signed_counts_while_the_charter_says_so() -> None:
    issuer = WORLD.grant.id

    def outcome(charter: Charter, issued_s: int) -> str:
        try:
            return charter.issuer(issuer, issued_s).pub.hex()
        except Rejected as error:
            return error.code

    def head(**changes: object) -> Charter:
        return verify_chain([WORLD.genesis, follow(WORLD.charter, WORLD.root, **changes)], WORLD.swarm_id)

    good = WORLD.issuer.public.hex()
    assert outcome(WORLD.charter, NOW_S) == good
    assert outcome(WORLD.charter, WORLD.grant.exp - 1) == good
    assert outcome(WORLD.charter, WORLD.grant.exp) == "E_ISSUER"
    assert outcome(head(issuers=[]), NOW_S) == "E_ISSUER"
    dated = head(issuers=[], not_before_issue={issuer.hex(): NOW_S})
    assert outcome(dated, NOW_S - 1) == good
    assert outcome(dated, NOW_S) == "E_ISSUER"
    # Being named does not help against a date.
    assert outcome(head(not_before_issue={issuer.hex(): NOW_S}), NOW_S) == "E_ISSUER"
    # The grant that was stated last is the one that holds.
    narrow = head(issuers=[WORLD.grant.model_copy(update={"exp": NOW_S - 10})])
    assert outcome(narrow, NOW_S - 11) == good
    assert outcome(narrow, NOW_S - 10) == "E_ISSUER"
    with pytest.raises(Rejected):
        WORLD.charter.issuer(bytes(16), NOW_S)
    with pytest.raises(Rejected):
        WORLD.charter.issuer_key(bytes(16))
    assert WORLD.charter.issuer_key(issuer) == WORLD.issuer.public


def test_a_new_issuer_is_one_from_its_charter_on() -> None:
    key, box = SigningKey.from_seed(seed("new issuer")), BoxKey.from_seed(seed("new issuer box"))
    grant = WORLD.grant.model_copy(update={"pub": key.public, "box": box.public})
    second = follow(WORLD.charter, WORLD.root, issuers=[WORLD.grant, grant])
    head = verify_chain([WORLD.genesis, second], WORLD.swarm_id)
    assert head.issuer(grant.id, NOW_S).box == box.public
    with pytest.raises(Rejected):
        WORLD.charter.issuer(grant.id, NOW_S)


def test_a_long_chain_is_followed_to_its_head() -> None:
    chain, head = [WORLD.genesis], WORLD.charter
    for number in range(30):
        chain.append(follow(head, WORLD.root, name=f"home{number}"))
        head = verify_chain(chain, WORLD.swarm_id)
    assert head.n == 30
    assert isinstance(head.body, CharterBody)
