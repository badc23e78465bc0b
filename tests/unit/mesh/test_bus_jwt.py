"""Bus credentials: what a token says, and when it is refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import bus_jwt
from mesh.errors import TokenRefused
from mesh.nkeys import NKey

NOW = 1_800_000_000.0
OPERATOR, ACCOUNT, SCOPE, USER = (
    NKey.from_seed_bytes(kind, bytes([n]) * 32) for n, kind in enumerate("OAAU", start=1)
)


def user_token(**changes):
    options = {"account": ACCOUNT.public, "now": NOW, "exp": NOW + 60, **changes}
    return bus_jwt.user_token(SCOPE, USER.public, "laptop", **options)


def test_a_scoped_user_carries_no_permission_of_its_own():
    claims = bus_jwt.read_token(user_token(), now=NOW, kind="user")
    assert claims["nats"] == {"type": "user", "issuer_account": ACCOUNT.public, "version": 2}
    assert (claims["iss"], claims["sub"], claims["exp"]) == (SCOPE.public, USER.public, int(NOW + 60))


def test_a_user_signed_by_the_account_itself_names_no_issuer_account():
    token = bus_jwt.user_token(ACCOUNT, USER.public, "x", account=ACCOUNT.public, now=NOW, exp=None)
    assert "issuer_account" not in bus_jwt.read_token(token)["nats"]
    assert "exp" not in bus_jwt.read_token(token)


def test_an_expired_token_is_refused_from_its_second_on():
    token = user_token()
    bus_jwt.read_token(token, now=NOW + 59.9)
    with pytest.raises(TokenRefused) as caught:
        bus_jwt.read_token(token, now=NOW + 60)
    assert "expired" in caught.value.message
    assert caught.value.code == "E_REFUSED"
    assert bus_jwt.expiry(token) == NOW + 60


def test_a_token_of_another_kind_is_refused():
    with pytest.raises(TokenRefused):
        bus_jwt.read_token(user_token(), kind="account")


@given(position=st.integers(min_value=0), byte=st.integers(1, 255))
def test_no_changed_byte_is_accepted(position, byte):
    token = user_token()
    head, payload, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=="))
    raw[position % len(raw)] ^= byte
    changed = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        bus_jwt.read_token(f"{head}.{changed}.{signature}", now=NOW)


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "....", "é.é.é", "e30.e30.e30", "e30.bnVsbA.AA"])
def test_what_is_no_token_is_refused(text):
    with pytest.raises(TokenRefused):
        bus_jwt.read_token(text)


def test_a_token_that_names_another_algorithm_is_refused():
    _, payload, signature = user_token().split(".")
    header = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"none"}').rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        bus_jwt.read_token(f"{header}.{payload}.{signature}")


def test_a_token_too_long_for_the_connect_line_is_refused_when_it_is_made():
    permissions = {"pub": {"allow": [f"s.x.{n}.{USER.public}" for n in range(60)]}}
    with pytest.raises(TokenRefused):
        user_token(permissions=permissions)


def test_a_scope_without_subjects_allows_nothing():
    scope = bus_jwt.user_scope(SCOPE.public, "mute", publish=(), subscribe=())
    assert scope["template"]["pub"] == {"deny": [">"]}
    assert scope["template"]["sub"] == {"deny": [">"]}
    assert "resp" not in scope["template"]


def test_an_account_lists_its_revocations_and_services():
    token = bus_jwt.account_token(
        OPERATOR,
        ACCOUNT.public,
        "SWARM",
        now=NOW,
        revocations={USER.public: 5},
        exports=[{"name": "x", "subject": "x", "type": "service"}],
        limits={"conn": 3},
    )
    body = bus_jwt.read_token(token, kind="account")["nats"]
    assert body["revocations"] == {USER.public: 5}
    assert body["limits"]["conn"] == 3
    assert body["limits"]["subs"] == -1
    assert "disk_storage" not in body["limits"]
    assert body["exports"][0]["subject"] == "x"


def test_every_token_has_an_id_of_its_own():
    ids = {bus_jwt.read_token(user_token(exp=NOW + n))["jti"] for n in range(1, 5)}
    assert len(ids) == 4


def test_expiry_of_junk_is_a_clear_error():
    for junk in ("", "x", "a.!.c", "a." + base64.b64encode(json.dumps([]).encode()).decode() + ".c"):
        with pytest.raises(TokenRefused):
            bus_jwt.expiry(junk)
