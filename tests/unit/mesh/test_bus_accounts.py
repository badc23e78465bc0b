"""The bus's authority: minting, revoking, and what its table promises."""

from __future__ import annotations

import os

import pytest

from mesh import bus_jwt
from mesh.bus import covers
from mesh.bus_accounts import ME, PERMISSIONS, ROLES, BusAuthority, found_accounts, permission_for
from mesh.errors import KeyFormat, TokenRefused
from mesh.nkeys import NKey
from mesh.workspace import STREAMS

NOW = 1_800_000_000.0
USER = NKey.from_seed_bytes("U", b"\x05" * 32).public


@pytest.fixture(scope="module")
def authority() -> BusAuthority:
    return found_accounts("home", os.urandom, NOW)


def test_every_role_has_a_row_and_every_row_is_about_its_own_member(authority):
    assert set(PERMISSIONS) == set(ROLES)
    assert set(authority.role_seeds) == set(ROLES)
    for role in ROLES:
        assert f"_I.{USER}.>" in permission_for(role, USER).subscribe


def test_no_template_but_the_members_own_key_is_ever_used():
    for permission in PERMISSIONS.values():
        for subject in (*permission.publish, *permission.subscribe):
            assert "{{" not in subject.replace(ME, "")


def test_nobody_but_coordinators_reads_bids_and_work():
    for role, permission in PERMISSIONS.items():
        reads = any(
            covers(allowed, f"s.{word}.{'a' * 26}.{USER}")
            for allowed in permission.subscribe
            for word in ("bid", "work")
        )
        assert reads is (role == "coordinator")


def test_no_role_may_create_a_consumer_or_delete_a_stream():
    for permission in PERMISSIONS.values():
        for subject in permission.publish:
            for stream in STREAMS:
                for forbidden in (
                    f"$JS.API.CONSUMER.CREATE.{stream}",
                    f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.x",
                    f"$JS.API.STREAM.DELETE.{stream}",
                    f"$JS.API.STREAM.MSG.DELETE.{stream}",
                    f"$JS.API.STREAM.RESTORE.{stream}",
                ):
                    assert not covers(subject, forbidden)


def test_sender_named_subjects_can_be_written_by_that_sender_alone():
    for permission in PERMISSIONS.values():
        for subject in permission.publish:
            if subject.startswith(("s.bid.", "s.work.", "s.hb.", "s.offer.", "s.req.", "s.art.")):
                assert ME in subject


def test_a_minted_user_is_signed_by_its_roles_key_and_expires(authority):
    for role in ROLES:
        token = authority.mint_user(role, USER, "laptop", now=NOW, exp=NOW + 5)
        claims = bus_jwt.read_token(token, now=NOW, kind="user")
        assert claims["iss"] == NKey.from_seed(authority.role_seeds[role]).public
        account = authority.sys_public if role in {"bus", "registrar"} else authority.swarm_public
        assert claims["nats"]["issuer_account"] == account
        assert claims["exp"] == NOW + 5


def test_what_cannot_be_minted_is_refused_with_a_reason(authority):
    with pytest.raises(TokenRefused):
        authority.mint_user("root", USER, "x", now=NOW, exp=None)
    with pytest.raises(TokenRefused):
        authority.mint_user("agent", USER, "x", now=NOW, exp=NOW)
    for wrong in ("*", ">", "U", authority.swarm_public):
        with pytest.raises(KeyFormat):
            authority.mint_user("agent", wrong, "x", now=NOW, exp=None)
        with pytest.raises(KeyFormat):
            authority.revoke("nobody", NOW)


def test_a_revocation_is_in_a_newer_token_of_the_account_and_survives_the_file(authority):
    revoked = authority.revoke(USER, NOW)
    again = BusAuthority.from_json(revoked.to_json())
    assert again == revoked
    before, after = (bus_jwt.read_token(one.swarm_token) for one in (authority, again))
    assert after["nats"]["revocations"] == {USER: int(NOW)}
    assert after["iat"] > before["iat"]
    assert after["nats"]["signing_keys"] == before["nats"]["signing_keys"]
    assert authority.revocations == {}


def test_two_revocations_in_one_second_give_tokens_of_growing_age(authority):
    once = authority.revoke(USER, NOW)
    other = NKey.from_seed_bytes("U", b"\x06" * 32).public
    twice = once.revoke(other, NOW)
    assert bus_jwt.read_token(twice.swarm_token)["iat"] > bus_jwt.read_token(once.swarm_token)["iat"]
    assert set(twice.revocations) == {USER, other}
    assert set(twice.forgive(USER, NOW).revocations) == {other}


def test_an_earlier_revocation_never_shortens_a_later_one(authority):
    assert authority.revoke(USER, NOW).revoke(USER, NOW - 100).revocations[USER] == int(NOW)


def test_a_credential_made_right_after_the_revocation_is_good(authority):
    revoked = authority.revoke(USER, NOW)
    token = revoked.mint_user("agent", USER, "x", now=NOW, exp=NOW + 60)
    assert bus_jwt.read_token(token)["iat"] > revoked.revocations[USER]
    everybody = authority.revoke("*", NOW)
    assert bus_jwt.read_token(everybody.mint_user("agent", USER, "x", now=NOW, exp=None))["iat"] > NOW


def test_the_operator_key_can_be_put_away(authority):
    daily = authority.without_operator()
    assert daily.operator_seed is None
    assert authority.operator_seed not in daily.to_json()
    assert daily.revoke(USER, NOW).mint_user("client", USER, "x", now=NOW + 5, exp=None)


def test_tokens_fit_the_connect_line(authority):
    assert len(authority.sentinel) < bus_jwt.MAX_TOKEN_CHARS
    assert len(authority.mint_user("coordinator", USER, "x" * 60, now=NOW, exp=NOW + 9)) < 800


def test_the_sentinel_may_ask_for_the_charter_and_for_enrolment_only(authority):
    body = bus_jwt.read_token(authority.sentinel, kind="user")["nats"]
    assert body["bearer_token"] is True
    assert body["pub"] == {"allow": ["enroll.charter", "enroll.req.*"]}
    assert body["sub"] == {"allow": ["_E.*"]}
    assert "exp" not in bus_jwt.read_token(authority.sentinel)
