"""The small-order test of box keys is ours (the library is loaded only when something is sealed); it must agree with the library's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import Rejected
from protocol.sealing import check_box_key

P = 2**255 - 19
PROBE = X25519PrivateKey.from_private_bytes(b"\1" * 32)


def library_takes(public: bytes) -> bool:
    try:
        PROBE.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return False
    return True


def ours_takes(public: bytes) -> bool:
    try:
        check_box_key(public)
    except Rejected as error:
        assert error.code == "E_KEY"  # noqa: PT017 - both outcomes are results here
        return False
    return True


@given(st.binary(min_size=32, max_size=32))
@example(bytes(32))
@example(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"))
@example(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"))
def test_any_key_is_judged_as_the_library_judges_it(public: bytes):
    assert ours_takes(public) == library_takes(public)


@pytest.mark.parametrize("base", [0, 1, P - 1, P, P + 1, 2**255 - 1, 2**255, 2**255 + P])
@pytest.mark.parametrize("distance", range(-3, 4))
def test_keys_next_to_the_small_ones_and_the_unreduced_ones_are_judged_alike(base: int, distance: int):
    public = ((base + distance) % 2**256).to_bytes(32, "little")
    assert ours_takes(public) == library_takes(public)
