"""What an attempt has used, held to what it may use."""

from __future__ import annotations

import pytest

from agent_node.errors import WorkError
from agent_node.spending import NO_BOUND, Spending
from protocol.artifact import ArtifactRef
from protocol.messages import NamedRef, Usage

FREE = Usage(money=NO_BOUND, tokens=NO_BOUND, steps=NO_BOUND, bytes_out=NO_BOUND, children=NO_BOUND)


def named(name: str, size: int = 1) -> NamedRef:
    ref = ArtifactRef(sha256=bytes(32), size=size, chunks=1, writer="U" + "A" * 55)
    return NamedRef(name=name, ref=ref)


def test_nothing_is_said_where_nothing_was_counted() -> None:
    spending = Spending(None)
    spending.moved(7)
    assert spending.used is None
    spending.store(10)
    assert spending.used == Usage(steps=7, bytes_out=10)
    spending.moved(8, Usage(tokens=5))
    assert spending.used == Usage(tokens=5, bytes_out=10)


@pytest.mark.requirement("BUD-2")
@pytest.mark.parametrize("kind", ["money", "tokens", "steps", "children"])
def test_a_cap_holds_and_one_that_bounds_nothing_does_not(kind: str) -> None:
    spending = Spending(FREE.model_copy(update={kind: 100}))
    spending.moved(1, Usage(**{kind: 100}))
    with pytest.raises(WorkError) as caught:
        spending.moved(2, Usage(**{kind: 101}))
    assert caught.value.code == "E_BUDGET"
    Spending(FREE).moved(2, Usage(**{kind: NO_BOUND}))


def test_steps_that_were_shown_count_where_none_are_counted() -> None:
    spending = Spending(FREE.model_copy(update={"steps": 2}))
    spending.moved(2)
    with pytest.raises(WorkError):
        spending.moved(3)


def test_bytes_are_counted_before_they_are_stored() -> None:
    spending = Spending(FREE.model_copy(update={"bytes_out": 100}))
    spending.store(60)
    with pytest.raises(WorkError):
        spending.store(41)
    spending.store(40)
    assert spending.used == Usage(bytes_out=100)


def test_of_unfinished_files_the_newest_sixteen_are_kept_and_one_of_each_name() -> None:
    spending = Spending(None)
    for number in range(18):
        spending.keep(named(f"{number}"))
    spending.keep(named("5", size=9))
    kept = spending.kept
    assert len(kept) == 16
    assert (kept[0].name, kept[-1].name, kept[-1].ref.size) == ("2", "5", 9)
