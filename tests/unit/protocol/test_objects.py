from __future__ import annotations

import pytest

from protocol.codec import pack
from protocol.errors import Rejected
from protocol.limits import OBJECT_BODY_BYTES
from protocol.objects import FRAME_BYTES, Kind, open_object, read_head, sign_object
from protocol.signing import BACKENDS, SigningKey, key_id, prepare
from tests.support.wire_world import seed

KEY = SigningKey.from_seed(seed("issuer"))
OTHER = SigningKey.from_seed(seed("other"))


def code(raw: bytes, kind: Kind | int = Kind.HALT, public: bytes = KEY.public) -> str:
    with pytest.raises(Rejected) as caught:
        open_object(raw, kind, public)
    return caught.value.code


@pytest.mark.requirement("OBJ-1")
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_an_object_opens_with_its_kind_and_its_signers_key(backend: str) -> None:
    body = pack({"v": 1})
    raw = sign_object(Kind.HALT, body, KEY)
    assert len(raw) == FRAME_BYTES + len(body) + 64
    assert open_object(raw, Kind.HALT, KEY.public) == body
    assert open_object(raw, 8, prepare(KEY.public, backend)) == body
    head = read_head(raw)
    assert (head.kind, head.issuer, head.body_end) == (Kind.HALT, key_id(KEY.public), FRAME_BYTES + len(body))


@pytest.mark.requirement("OBJ-3")
def test_an_object_of_one_kind_is_never_taken_for_another() -> None:
    for kind in Kind:
        raw = bytearray(sign_object(kind, b"\x80", KEY))
        for wanted in Kind:
            if wanted is kind:
                continue
            assert code(bytes(raw), wanted) == "E_TYPE"
            raw[3] = wanted
            assert code(bytes(raw), wanted) == "E_SIG"
            raw[3] = kind


def test_an_unknown_kind_is_neither_made_nor_opened() -> None:
    for kind in (0, 10, 255):
        with pytest.raises(Rejected) as caught:
            sign_object(kind, b"", KEY)
        assert caught.value.code == "E_TYPE"
        assert code(sign_object(Kind.HALT, b"", KEY), kind) == "E_TYPE"


def test_a_body_has_a_largest_size() -> None:
    body = bytes(OBJECT_BODY_BYTES)
    assert open_object(sign_object(Kind.REVOCATIONS, body, KEY), Kind.REVOCATIONS, KEY.public) == body
    with pytest.raises(Rejected) as caught:
        sign_object(Kind.REVOCATIONS, body + b"\0", KEY)
    assert caught.value.code == "E_LONG"


@pytest.mark.requirement("OBJ-4")
def test_no_changed_byte_is_accepted() -> None:
    raw = sign_object(Kind.HALT, pack({"reason": "fire"}), KEY)
    for at in range(len(raw)):
        spoilt = raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :]
        assert code(spoilt).startswith("E_")
    for size in range(len(raw)):
        assert code(raw[:size]) in ("E_SHORT", "E_LEN")


def test_another_key_does_not_open_it() -> None:
    assert code(sign_object(Kind.HALT, b"", KEY), public=OTHER.public) == "E_ISSUER"
    assert code(sign_object(Kind.HALT, b"", KEY), public=bytes(32)) == "E_KEY"
