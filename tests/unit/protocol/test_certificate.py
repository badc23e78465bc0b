from __future__ import annotations

import pytest

from protocol.certificate import issue, read_certificate, verify_certificate
from protocol.codec import pack, unpack
from protocol.errors import Rejected
from protocol.fields import ROLES
from protocol.objects import FRAME_BYTES, Kind, read_head, sign_object
from protocol.signing import SigningKey
from tests.support.wire_world import NOW_S, SERIAL, Node, World, seed

WORLD = World()
NODE = Node("laptop")


def code(raw: bytes, now_s: float = NOW_S, **more: bool) -> str:
    with pytest.raises(Rejected) as caught:
        verify_certificate(raw, WORLD.charter, now_s, **more)
    return caught.value.code


def forged(**over: object) -> bytes:
    """A certificate that the issuer itself signed, with fields of our choice."""
    good = WORLD.certificate(NODE)
    fields = unpack(good[FRAME_BYTES : read_head(good).body_end])
    return sign_object(Kind.CERTIFICATE, pack({**fields, **over}), WORLD.issuer)


@pytest.mark.requirement("CERT-1")
def test_an_issued_certificate_says_what_was_asked_for() -> None:
    raw = WORLD.certificate(
        NODE,
        roles=("agent", "client"),
        capabilities=["text.extract"],
        zones=[1],
        clearance=2,
        invite=b"invite01",
    )
    made = verify_certificate(raw, WORLD.charter, NOW_S)
    assert (made.swarm, made.serial, made.name, made.node) == (WORLD.swarm_id, SERIAL, "laptop", NODE.id)
    assert (made.sig, made.box, made.bus) == (NODE.sig.public, NODE.box.public, NODE.bus.public)
    assert (made.roles, made.capabilities, made.zones, made.clearance) == (
        ["agent", "client"],
        ["text.extract"],
        [1],
        2,
    )
    assert (made.not_before, made.expires) == (NOW_S - 30, NOW_S - 30 + 7 * 86_400)
    assert (made.invite, made.issuer, made.charter) == (b"invite01", WORLD.grant.id, 0)
    assert read_certificate(raw) == made
    body = unpack(raw[FRAME_BYTES : read_head(raw).body_end])
    assert list(body) == [
        "v",
        "sw",
        "ser",
        "sig",
        "box",
        "bus",
        "nm",
        "ro",
        "cap",
        "zn",
        "cl",
        "nbf",
        "exp",
        "inv",
        "iss",
        "ch",
    ]


@pytest.mark.requirement("CERT-6")
def test_a_certificate_never_goes_beyond_the_issuers_grant() -> None:
    year = verify_certificate(WORLD.certificate(NODE, ttl_s=365 * 86_400), WORLD.charter, NOW_S)
    assert year.expires - year.not_before == WORLD.grant.max_ttl
    day = verify_certificate(WORLD.certificate(NODE, ttl_s=86_400), WORLD.charter, NOW_S)
    assert day.expires - day.not_before == 86_400
    end = WORLD.grant.exp - 3600
    last = verify_certificate(WORLD.certificate(NODE, now_s=end), WORLD.charter, end)
    assert last.expires == WORLD.grant.exp
    for wrong in ({"roles": ("agent", "observer")}, {"zones": [2]}):
        with pytest.raises(Rejected) as caught:
            WORLD.certificate(NODE, **wrong)
        assert caught.value.code == "E_GRANT"


def test_somebody_who_is_no_issuer_issues_nothing() -> None:
    with pytest.raises(Rejected) as caught:
        issue(
            WORLD.charter,
            NODE.sig,
            serial=SERIAL,
            sig=NODE.sig.public,
            box=NODE.box.public,
            bus=NODE.bus.public,
            name="x",
            roles=["admin"],
            now_s=NOW_S,
        )
    assert caught.value.code == "E_ISSUER"


@pytest.mark.requirement("CERT-3")
@pytest.mark.parametrize(
    "name",
    ["", "a b", "a.b", "*", ">", "a\n", "a\x00", "\u202ea", "\u00a0", "$(x)", "a/b", "x" * 65],
    ids=repr,
)
def test_a_name_that_could_be_more_than_a_name_is_refused(name: str) -> None:
    assert code(forged(nm=name)) == "E_SCHEMA"


@pytest.mark.parametrize("name", ["laptop", "Zoë-2", "日本", "a_b", "x" * 64])
def test_names_of_people_are_welcome(name: str) -> None:
    assert verify_certificate(forged(nm=name), WORLD.charter, NOW_S).name == name


@pytest.mark.requirement("CERT-4")
def test_there_are_nine_roles() -> None:
    assert len(ROLES) == len(set(ROLES)) == 9
    assert code(forged(ro=["wizard"])) == "E_SCHEMA"


@pytest.mark.requirement("CERT-2")
def test_the_three_keys_of_a_node_are_three() -> None:
    assert code(forged(bus=NODE.sig.public)) == "E_SCHEMA"
    assert code(forged(box=NODE.bus.public)) == "E_SCHEMA"


@pytest.mark.requirement("CERT-5")
def test_a_certificate_is_good_from_its_beginning_to_its_end() -> None:
    raw = WORLD.certificate(NODE)
    end = NOW_S - 30 + 7 * 86_400
    assert verify_certificate(raw, WORLD.charter, end - 0.001)
    assert code(raw, end) == "E_CERT_EXPIRED"
    assert verify_certificate(raw, WORLD.charter, end, allow_expired=True)
    assert verify_certificate(raw, WORLD.charter, NOW_S - 60)
    assert code(raw, NOW_S - 61) == "E_NOT_YET"
    assert code(raw, NOW_S - 61, allow_expired=True) == "E_NOT_YET"


@pytest.mark.requirement("CERT-5")
def test_the_tests_come_in_their_order() -> None:
    ladder = [
        ("E_SCHEMA", {"nm": "*"}),
        ("E_SWARM", {"sw": bytes(32)}),
        ("E_KEY", {"sig": bytes(32)}),
        ("E_ISSUER", {"iss": bytes(16)}),
        ("E_GRANT", {"ro": ["observer"]}),
        ("E_NOT_YET", {"nbf": NOW_S + 31}),
    ]
    for place, (wanted, _) in enumerate(ladder):
        over = {key: value for _, change in ladder[place:] for key, value in change.items()}
        assert code(forged(**over)) == wanted
    stranger = SigningKey.from_seed(seed("stranger"))
    assert code(sign_object(Kind.CERTIFICATE, b"junk", stranger)) == "E_ISSUER"
    assert code(sign_object(Kind.HALT, b"junk", stranger)) == "E_TYPE"
    assert code(sign_object(Kind.CERTIFICATE, b"junk", WORLD.issuer)[:-1] + b"\xff") == "E_SIG"
    assert code(sign_object(Kind.CERTIFICATE, b"junk", WORLD.issuer)) == "E_BODY"


def test_no_changed_byte_is_accepted() -> None:
    raw = WORLD.certificate(NODE)
    for at in range(len(raw)):
        assert code(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


@pytest.mark.requirement("BODY-7")
@pytest.mark.parametrize(
    "over",
    [
        {"cl": True},
        {"cl": "1"},
        {"cl": 1.0},
        {"ser": "serial01"},
        {"ro": "agent"},
        {"x": 1},
        {"name": "laptop"},
        {"v": 2},
    ],
    ids=repr,
)
def test_a_value_of_another_type_and_an_unknown_key_are_refused(over: dict[str, object]) -> None:
    assert code(forged(**over)) == "E_SCHEMA"


def test_a_certificate_can_be_read_without_being_believed() -> None:
    raw = WORLD.certificate(NODE)
    assert read_certificate(raw[:-1] + b"\xff").name == "laptop"
    with pytest.raises(Rejected) as caught:
        read_certificate(WORLD.genesis)
    assert caught.value.code == "E_TYPE"
