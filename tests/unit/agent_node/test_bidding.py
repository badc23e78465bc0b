"""A bid is computed: each of its numbers moves with what was measured, and in the right direction."""

from __future__ import annotations

import dataclasses

import pytest

from agent_node.bidding import Market, make_bid, quote
from agent_node.config import CapsSection
from agent_node.history import History
from agent_node.policy import AgentSpec, Facts, Limits, allowed, consider
from agent_node.spending import NO_BOUND, least
from protocol.messages import Announce, Bid, Usage

SPEC = AgentSpec("docs", frozenset({"doc.read"}), 2)
IDLE = Market(load=0.0, ahead=0, capacity=2, free=2, queued=0)
ANNOUNCE = Announce(
    subtask="s1", round=1, capability="doc.read", input_bytes=1 << 20, window_ms=500, deadline_ms=60_000
)


def bid(
    market: Market = IDLE,
    history: History | None = None,
    limits: Limits | None = None,
    size: int = 1 << 20,
    spec: AgentSpec = SPEC,
) -> Bid:
    known, owner = history or History(), limits or Limits(2)
    announce = ANNOUNCE.model_copy(update={"input_bytes": size})
    return make_bid(announce, spec, owner, known, market, quote("doc.read", size, spec, owner, known, market))


def test_load_makes_a_bid_dearer_and_later() -> None:
    assert bid(IDLE._replace(load=0.9)).price > bid().price
    assert bid(IDLE._replace(load=0.9)).eta_ms > bid().eta_ms
    assert bid(IDLE._replace(load=0.9)).load == 0.9


def test_work_ahead_makes_a_bid_dearer_and_later() -> None:
    full = IDLE._replace(ahead=2, free=0, queued=0)
    longer = full._replace(ahead=4, queued=2)
    assert bid().price < bid(full).price
    assert bid().eta_ms < bid(full).eta_ms < bid(longer).eta_ms
    assert (bid(longer).queue, bid(longer).free_slots) == (2, 0)


def test_a_larger_input_takes_longer_and_costs_more() -> None:
    assert bid(size=8 << 20).eta_ms > bid().eta_ms
    assert bid(size=8 << 20).price > bid().price


def test_history_moves_time_price_and_success() -> None:
    quick, slow = History(), History()
    for history, wall_s in ((quick, 0.1), (slow, 20.0)):
        for _ in range(10):
            history.done("doc.read", 1 << 20, wall_s=wall_s, cpu_s=wall_s, load=0.0, quoted_s=wall_s)
    for _ in range(10):
        quick.verified("doc.read")
        slow.failed("doc.read")
    assert bid(history=quick).eta_ms < bid(history=slow).eta_ms
    assert bid(history=quick).price < bid(history=slow).price
    assert bid(history=quick).success > bid(history=slow).success


def test_a_node_that_is_always_late_quotes_more() -> None:
    honest, late = History(), History()
    for _ in range(10):
        honest.done("doc.read", 0, wall_s=1.0, cpu_s=1.0, load=0.0, quoted_s=1.0)
        late.done("doc.read", 0, wall_s=1.0, cpu_s=1.0, load=0.0, quoted_s=0.3)
    assert bid(history=late).eta_ms > bid(history=honest).eta_ms


def test_the_owner_sets_the_rate_and_zero_means_free() -> None:
    assert bid(limits=Limits(2, rate=3.0)).price == pytest.approx(3 * bid().price, rel=0.01)
    assert bid(limits=Limits(2, rate=0.0)).price == 0


def test_a_bid_is_never_for_nothing_and_holds_longer_than_the_window() -> None:
    one = bid(size=0)
    assert one.eta_ms >= 1
    assert one.price >= 1
    assert one.valid_ms > ANNOUNCE.window_ms


def test_input_that_is_here_already_is_said_and_never_more_than_there_is() -> None:
    assert bid(IDLE._replace(local_bytes=1000)).local_bytes == 1000
    assert bid(IDLE._replace(local_bytes=1 << 30)).local_bytes == 1 << 20


FACTS = Facts("doc.read", 1, 100, 1, draining=False, load=0.5, room=True)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"capability": "x.y"}, "E_CAPABILITY"),
        ({"data_class": 2}, "E_CLASS"),
        ({"data_class": 9}, "E_CLASS"),
        ({"size": 1 << 40}, "E_TOO_LARGE"),
        ({"inputs": 1 << 20}, "E_TOO_LARGE"),
        ({"draining": True}, "E_DRAINING"),
        ({"load": 0.95}, "E_LOAD"),
        ({"room": False}, "E_SLOTS"),
    ],
)
def test_a_refusal_names_its_reason(change: dict[str, object], code: str) -> None:
    limits = Limits(2, max_load=0.9)
    assert consider(SPEC, limits, FACTS) is None
    refusal = consider(SPEC, limits, FACTS._replace(**change))  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.code == code
    assert 0 < len(refusal.detail) <= 200


def test_what_can_never_change_is_said_before_what_may() -> None:
    refusal = consider(SPEC, Limits(2), FACTS._replace(data_class=2, draining=True, room=False))
    assert refusal is not None
    assert refusal.code == "E_CLASS"


def test_no_agent_at_all_is_an_unknown_capability() -> None:
    refusal = consider(None, Limits(2), FACTS)
    assert refusal is not None
    assert refusal.code == "E_CAPABILITY"


def test_patterns_of_the_owner_match_whole_names() -> None:
    assert allowed("doc.read", ("text.*", "doc.*"))
    assert not allowed("doc.read", ("doc",))
    assert allowed("anything.at-all", ("*",))


def test_a_card_shows_the_agent_as_it_is() -> None:
    card = dataclasses.replace(SPEC, capabilities=frozenset({"b.x", "a.x"}), description="Reads").card()
    assert (card.name, card.capabilities, card.slots, card.description) == (
        "docs",
        ["a.x", "b.x"],
        2,
        "Reads",
    )


def test_an_agent_whose_price_nobody_knows_says_so_and_names_no_price() -> None:
    made = bid(spec=dataclasses.replace(SPEC, unpriced=True))
    assert (made.unpriced, made.price) == (True, 0)
    assert not bid().unpriced
    assert bid().price > 0


def test_what_one_job_uses_at_most_is_what_the_owner_says_or_what_was_measured_if_more() -> None:
    assert bid().estimate == Usage()
    said = dataclasses.replace(SPEC, estimate=Usage(tokens=1000, bytes_out=5))
    assert bid(spec=said).estimate == Usage(tokens=1000, bytes_out=5)
    history = History()
    history.spent("doc.read", tokens=800, steps=4)
    assert bid(history=history).estimate == Usage(tokens=1200, steps=6)
    assert bid(history=history, spec=said).estimate == Usage(tokens=1200, steps=6, bytes_out=5)
    for _ in range(50):
        history.spent("doc.read", tokens=100, steps=1)
    assert 150 <= bid(history=history).estimate.tokens < 800
    assert bid(history=History.load(history.dump())).estimate == bid(history=history).estimate


def test_what_the_owner_caps_is_what_a_job_may_need_and_no_more() -> None:
    capped = dataclasses.replace(SPEC, caps=CapsSection(tokens=50, money=0.5).usage())
    assert bid(spec=capped).estimate == Usage(tokens=50)
    said = dataclasses.replace(capped, estimate=Usage(tokens=1000, steps=5))
    assert bid(spec=said).estimate == Usage(tokens=50, steps=5)


def test_without_caps_there_is_no_bound() -> None:
    assert CapsSection().usage() is None
    found = CapsSection(money=0.25).usage()
    assert found is not None
    assert (found.money, found.tokens) == (250_000, NO_BOUND)


def test_of_two_caps_the_smaller_holds() -> None:
    mine, theirs = CapsSection(tokens=50).usage(), CapsSection(tokens=70, money=1).usage()
    both = least(mine, theirs)
    assert both is not None
    assert (both.tokens, both.money, both.steps) == (50, 1_000_000, NO_BOUND)
    assert least(None, mine) == least(mine, None) == mine
    assert least(None, None) is None
