from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

import protocol
from protocol.errors import EXPLANATIONS, REJECT_CODES, Rejected, ZwermError

PACKAGE = Path(protocol.__file__).parent


def test_every_code_has_words_and_advice() -> None:
    for code, (message, hint) in EXPLANATIONS.items():
        assert re.fullmatch(r"E_[A-Z0-9_]+", code)
        assert message
        assert not message.endswith(".")
        assert hint.endswith((".", "`"))
    assert frozenset(EXPLANATIONS) == REJECT_CODES


def test_every_code_that_the_wire_raises_is_explained() -> None:
    raised = set()
    for path in PACKAGE.glob("*.py"):
        raised |= set(re.findall(r'(?:Rejected|_refuse|need)\(\s*"(E_[A-Z0-9_]+)"', path.read_text()))
    assert raised
    assert raised <= REJECT_CODES


@pytest.mark.requirement("ENV-9")
def test_the_specification_names_every_code_and_no_other() -> None:
    spec = (PACKAGE / "SPEC.md").read_text()
    wire = spec.split("## Messages")[0]
    assert set(re.findall(r"`(E_[A-Z0-9_]+)`", wire)) == REJECT_CODES


def test_a_bare_code_is_explained_when_somebody_reads_it() -> None:
    error = Rejected("E_SIG")
    assert (error.code, error.message) == ("E_SIG", "the signature does not hold")
    assert error.hint
    assert str(error) == "the signature does not hold (E_SIG)"
    assert isinstance(error, ZwermError)


def test_own_words_come_before_the_usual_ones() -> None:
    error = Rejected("E_SIG", "not signed by Ana", "Ask Ana.")
    assert (error.message, error.hint) == ("not signed by Ana", "Ask Ana.")
    assert Rejected("E_SIG", "not signed by Ana").hint == EXPLANATIONS["E_SIG"][1]


def test_an_error_without_an_explanation_still_says_its_code() -> None:
    error = ZwermError("E_ODD")
    assert (error.code, error.message, error.hint) == ("E_ODD", "E_ODD", "")
    assert ZwermError("E_ODD", "odd", "Do this.").hint == "Do this."


def test_a_refusal_is_definite_and_not_worth_repeating() -> None:
    assert Rejected.definite
    assert not Rejected.retryable


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Rejected("E_SIG", "words")))
    assert (error.code, error.message) == ("E_SIG", "words")
