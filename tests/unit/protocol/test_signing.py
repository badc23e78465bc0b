from __future__ import annotations

import importlib
import sys

import pytest

from protocol import signing
from protocol.errors import Rejected
from protocol.sealing import BoxKey, check_box_key, seal
from protocol.signing import BACKENDS, SigningKey, check_public_key, key_id, prepare, verify
from tests.support.wire_world import seed

KEY = SigningKey.from_seed(seed("a key"))

# RFC 8032 section 7.1, test 2: seed, public key, message, signature.
RFC_SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
RFC_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
RFC_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.mark.requirement("KEY-1")
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_each_library_makes_and_takes_the_signature_of_the_rfc(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "BACKEND", backend)
    key = SigningKey.from_seed(RFC_SEED)
    assert key.public == RFC_PUBLIC
    assert key.sign(b"\x72") == RFC_SIGNATURE
    assert verify(RFC_PUBLIC, RFC_SIGNATURE, b"\x72")
    assert prepare(RFC_PUBLIC, backend).verify_tail(b"", b"\x72" + RFC_SIGNATURE)


@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), b"\xff" * 64], ids=repr)
def test_a_signature_of_any_bytes_is_simply_wrong(signature: bytes, backend: str) -> None:
    assert not prepare(KEY.public, backend).verify(signature, b"x")
    assert not prepare(KEY.public, backend).verify_tail(b"domain", signature)


def test_the_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_seed(bytes(31))
    with pytest.raises(ValueError, match="32 bytes"):
        BoxKey.from_seed(bytes(33))


@pytest.mark.requirement("KEY-2")
def test_a_bad_public_key_is_refused_wherever_it_is_used() -> None:
    for use in (check_public_key, prepare, lambda public: verify(public, bytes(64), b"")):
        with pytest.raises(Rejected) as caught:
            use(bytes(32))
        assert caught.value.code == "E_KEY"


@pytest.mark.requirement("KEY-4")
def test_key_ids_differ_and_have_16_bytes() -> None:
    assert len(key_id(KEY.public)) == 16
    assert key_id(KEY.public) != key_id(RFC_PUBLIC)


@pytest.mark.requirement("KEY-5")
def test_a_private_key_does_not_show_its_seed() -> None:
    for private in (KEY, BoxKey.from_seed(seed("a key"))):
        assert seed("a key").hex() not in repr(private)
        assert private.public.hex() in repr(private)
        assert not hasattr(private, "__dict__")


def test_prepared_keys_are_equal_when_their_bytes_are() -> None:
    keys = {prepare(KEY.public, backend) for backend in BACKENDS}
    assert len(keys) == 1
    assert prepare(RFC_PUBLIC) not in keys
    assert KEY.public.hex() in repr(keys.pop())


def test_without_pynacl_the_other_library_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl.bindings", None)
    fresh = importlib.util.module_from_spec(importlib.util.find_spec("protocol.signing"))
    fresh.__spec__.loader.exec_module(fresh)
    assert list(fresh.BACKENDS) == ["cryptography"]
    assert fresh.BACKEND == "cryptography"
    key = fresh.SigningKey.from_seed(RFC_SEED)
    assert key.sign(b"\x72") == RFC_SIGNATURE


def test_a_library_that_verifies_with_the_cofactor_is_not_used() -> None:
    class Lax(BACKENDS["cryptography"]):  # type: ignore[misc,name-defined]
        def verify(self, signature: bytes, data: bytes) -> bool:
            return signature == signing._PROBE_COFACTOR or super().verify(signature, data)

    assert signing._agrees(BACKENDS["cryptography"])
    assert not signing._agrees(Lax)


@pytest.mark.requirement("SEAL-1")
def test_what_is_sealed_to_a_key_opens_with_it_and_the_same_info_only() -> None:
    box = BoxKey.from_seed(seed("box"))
    sealed = seal(box.public, b"plain", b"info")
    assert len(sealed) == 5 + 48
    assert box.open(sealed, b"info") == b"plain"
    for other, data, info in (
        (BoxKey.from_seed(seed("other")), sealed, b"info"),
        (box, sealed, b"other"),
        (box, sealed[:-1], b"info"),
        (box, b"", b"info"),
        (box, bytes(48), b"info"),
    ):
        with pytest.raises(Rejected) as caught:
            other.open(data, info)
        assert caught.value.args == ("E_DECRYPT",)


@pytest.mark.requirement("SEAL-2")
@pytest.mark.parametrize(
    "public", [b"", bytes(31), bytes(32), b"\1" + bytes(31), b"\xed" + b"\xff" * 30 + b"\x7f"]
)
def test_nothing_is_sealed_to_a_box_key_that_is_none(public: bytes) -> None:
    for use in (check_box_key, lambda key: seal(key, b"", b"")):
        with pytest.raises(Rejected) as caught:
            use(public)
        assert caught.value.code == "E_KEY"
