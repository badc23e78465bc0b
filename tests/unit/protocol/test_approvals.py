"""A person's answer to an agent: bound to one question, by one key, in one swarm."""

from __future__ import annotations

import hashlib

import pytest

from protocol.approvals import Approval, asked_digest, open_approval, sign_approval
from protocol.errors import Rejected
from protocol.halts import HaltOrder, sign_halt
from protocol.signing import SigningKey, prepare
from tests.support.spec_tables import all_items, example

KEY, OTHER = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(bytes([1] * 32))
SWARM, ASK = bytes([7] * 32), bytes([9] * 16)
DIGEST = asked_digest("execute", '{"command":"rm -rf x"}', "01RUN")


def answer(**changes: object) -> bytes:
    fields = {"swarm": SWARM, "ask": ASK, "digest": DIGEST, "granted": True, "at": 1_800_000_000} | changes
    return sign_approval(Approval.model_validate(fields), KEY)


def code(raw: bytes, *, ask: bytes = ASK, digest: bytes = DIGEST, key: SigningKey = KEY) -> str:
    with pytest.raises(Rejected) as caught:
        open_approval(raw, prepare(key.public), SWARM, ask, digest)
    return caught.value.code


@pytest.mark.requirement("APR-1")
def test_the_digest_is_over_tool_arguments_and_run_and_nothing_else() -> None:
    packed = bytes.fromhex("93") + bytes([0xA2]) + b"ab" + bytes([0xA2]) + b"{}" + bytes([0xA0])
    assert asked_digest("ab", "{}", "") == hashlib.sha256(b"swarm-approval-v1\0" + packed).digest()
    same = {
        asked_digest(*words) for words in (("a", "b", ""), ("ab", "", ""), ("a", "", "b"), ("", "ab", ""))
    }
    assert len(same) == 4


@pytest.mark.requirement("APR-2")
@pytest.mark.parametrize("granted", [True, False])
def test_an_answer_to_this_very_question_holds(granted: bool) -> None:
    assert open_approval(answer(granted=granted), prepare(KEY.public), SWARM, ASK, DIGEST).granted is granted


@pytest.mark.requirement("APR-2")
def test_whatever_is_wrong_with_an_answer_has_its_own_code() -> None:
    raw = answer()
    assert code(b"") == "E_SHORT"
    assert code(sign_halt(HaltOrder(swarm=SWARM, n=1, at=1, on=True), KEY)) == "E_TYPE"
    assert code(raw, key=OTHER) == "E_ISSUER"
    assert code(raw[:-1] + bytes([raw[-1] ^ 1])) == "E_SIG"
    assert code(answer(swarm=bytes(32))) == "E_SWARM"
    assert code(raw, ask=bytes(16)) == "E_AUD"
    assert code(raw, digest=asked_digest("execute", '{"command":"rm -rf y"}', "01RUN")) == "E_AUD"


@pytest.mark.requirement("APR-2")
def test_the_fields_of_an_answer_are_those_of_the_specification() -> None:
    assert [one.name for one in all_items()["Approval"]] == list(Approval.model_fields)
    good = example("Approval")
    assert Approval.model_validate(good).model_dump() == good
    for one in all_items()["Approval"]:
        for wrong in one.value.wrong():
            with pytest.raises(ValueError, match=one.name):
                Approval.model_validate({**good, one.name: wrong})
