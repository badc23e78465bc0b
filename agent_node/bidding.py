"""From a subtask and the node's own measurements to a bid: price, time and success are computed here, never stated by anybody.

    work  = (mean + one standard error, from history) x (1 + load) x (actual / quoted, lately)
    eta   = wait for a slot + work
    price = processor seconds x the owner's rate x (1 + load) x (1 + share of slots taken); of a model: its tokens, by its tariff

Pure: it is given the facts and keeps nothing. Counterpart: the buyer corrects `eta` and `price` with what it saw of this node itself.
"""

from __future__ import annotations

from typing import NamedTuple

from protocol.messages import Announce, Bid, Usage

from .history import History
from .policy import AgentSpec, Limits
from .spending import NO_BOUND

__all__ = ["Market", "Quote", "make_bid", "quote"]

_MICRO = 1_000_000
_MS_MAX = 10 * 24 * 3600 * 1000


class Market(NamedTuple):
    """How the node is at the moment of a bid.

    `load`: share of the processors that is busy. `ahead`: work that would come before this one, open bids weighed. `capacity`: how many run
    at once. `free`: slots in which it could start at once. `queued`: awards that wait. `local_bytes`: input that is here already.
    """

    load: float
    ahead: int
    capacity: int
    free: int
    queued: int
    local_bytes: int = 0

    @property
    def fullness(self) -> float:
        """Share of the slots that is taken, 0 to 1."""
        return min(1.0, self.ahead / self.capacity) if self.capacity else 1.0


class Quote(NamedTuple):
    """What is promised: `work_s` once it runs, `wait_s` before that, `price` in micro-credits."""

    work_s: float
    wait_s: float
    price: int

    @property
    def eta_ms(self) -> int:
        """From award to result, in milliseconds; never 0."""
        return min(_MS_MAX, max(1, round((self.wait_s + self.work_s) * 1000)))


def quote(
    capability: str, size: int, spec: AgentSpec, limits: Limits, history: History, market: Market
) -> Quote:
    """Price and time of work on `size` bytes, now."""
    estimate = history.estimate(capability, size, spec.prior)
    load = min(max(market.load, 0.0), 1.0)
    work = estimate.quoted_s * (1.0 + load) * history.ratio(capability)
    rounds = market.ahead // market.capacity if market.capacity else 1
    """How often all slots must empty before this one starts."""
    cpu = estimate.cpu_s * (estimate.quoted_s / estimate.wall_s if estimate.wall_s > 0 else 1.0)
    price = cpu * limits.rate * (1.0 + load) * (1.0 + market.fullness)
    asked = max(1, round(price * _MICRO)) if limits.rate > 0 else 0
    if spec.tariff is not None:
        asked = spec.tariff.price(size, history.peaks(capability)[0])
    return Quote(work, rounds * work, asked)


def _estimate(capability: str, size: int, spec: AgentSpec, history: History) -> Usage:
    """What one job uses at most: what the owner says, or what was measured if that was more."""
    tokens, steps = history.peaks(capability)
    said = spec.estimate
    if spec.tariff is not None:
        tokens = spec.tariff.tokens(size, tokens)
    if tokens or steps:
        said = said.model_copy(update={"tokens": max(said.tokens, tokens), "steps": max(said.steps, steps)})
    if spec.caps is None:
        return said
    # What its owner caps it uses no more of; where nothing else is known, that is what it may need.
    capped = {
        kind: min(getattr(said, kind) or most, most)
        for kind in ("tokens", "steps", "bytes_out", "children")
        if (most := getattr(spec.caps, kind)) < NO_BOUND
    }
    return said.model_copy(update=capped)


def make_bid(
    announce: Announce, spec: AgentSpec, limits: Limits, history: History, market: Market, promise: Quote
) -> Bid:
    """The bid for one announced subtask, from the quote that was computed for it."""
    return Bid(
        subtask=announce.subtask,
        round=announce.round,
        agent=spec.name,
        price=0 if spec.unpriced else promise.price,
        unpriced=spec.unpriced,
        estimate=_estimate(announce.capability, announce.input_bytes, spec, history),
        eta_ms=promise.eta_ms,
        success=history.success(announce.capability),
        load=min(1.0, max(0.0, market.load, market.fullness)),
        queue=market.queued,
        free_slots=market.free,
        local_bytes=min(market.local_bytes, announce.input_bytes),
        quiet_ms=spec.quiet_ms,
        valid_ms=min(_MS_MAX, announce.window_ms + limits.bid_slack_ms),
    )
