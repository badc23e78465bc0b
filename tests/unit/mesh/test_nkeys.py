"""Bus keys in text form."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import KeyFormat
from mesh.nkeys import NKey, public_text, raw_public

SEED = bytes(range(32))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@pytest.mark.parametrize(
    ("kind", "public_letter", "seed_letters"), [("U", "U", "SU"), ("A", "A", "SA"), ("O", "O", "SO")]
)
def test_the_first_letters_show_the_kind(kind, public_letter, seed_letters):
    key = NKey.from_seed_bytes(kind, SEED)
    assert key.public[0] == public_letter
    assert key.seed[:2] == seed_letters
    assert len(key.public) == 56
    assert len(key.seed) == 58


@given(seed=st.binary(min_size=32, max_size=32), kind=st.sampled_from("UAO"))
def test_a_key_survives_its_text_forms(seed, kind):
    key = NKey.from_seed_bytes(kind, seed)
    again = NKey.from_seed(key.seed)
    assert (again.kind, again.public, again.seed_bytes) == (kind, key.public, seed)
    assert public_text(kind, raw_public(key.public, kind)) == key.public
    assert key.raw == raw_public(key.public, kind)


@given(position=st.integers(0, 55), letter=st.sampled_from(ALPHABET))
def test_no_single_mistyped_letter_goes_unnoticed(position, letter):
    public = NKey.from_seed_bytes("U", SEED).public
    mistyped = public[:position] + letter + public[position + 1 :]
    if mistyped == public:
        return
    with pytest.raises(KeyFormat):
        raw_public(mistyped, "U")


@pytest.mark.parametrize("text", ["", "U", "not base32 at all!", "u" * 56, "U" * 57, "Ü" * 56])
def test_what_is_no_key_is_refused_with_a_reason(text):
    with pytest.raises(KeyFormat) as caught:
        raw_public(text, "U")
    assert caught.value.code == "E_KEY"
    assert caught.value.hint


def test_a_key_of_another_kind_is_refused():
    account = NKey.from_seed_bytes("A", SEED)
    with pytest.raises(KeyFormat):
        raw_public(account.public, "U")
    with pytest.raises(KeyFormat):
        raw_public(account.seed, "A")
    with pytest.raises(KeyFormat):
        NKey.from_seed(account.public)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_of_the_wrong_size_is_refused(size):
    with pytest.raises(KeyFormat):
        NKey.from_seed_bytes("U", bytes(size))
    with pytest.raises(KeyFormat):
        public_text("U", bytes(size))


def test_a_nonce_is_signed_and_the_signature_holds():
    key = NKey.from_seed_bytes("U", SEED)
    signature = base64.b64decode(key.sign_nonce("PXoWU7zWAMt75FY"))
    Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, b"PXoWU7zWAMt75FY")


@pytest.mark.parametrize(
    "nonce",
    ["", "short", "x" * 65, "with space123", "\xffswarm-env-v1", "PXoWU7zWAMt75FY\n", '{"iss":"OABC"}'],
)
def test_a_server_cannot_have_anything_but_a_nonce_signed(nonce):
    with pytest.raises(KeyFormat):
        NKey.from_seed_bytes("U", SEED).sign_nonce(nonce)


def test_the_secret_is_not_printed():
    key = NKey.from_seed_bytes("U", SEED)
    assert key.seed not in repr(key)
    assert key.public in repr(key)
