"""The open bids of one node: answering announcements, and what becomes of the answers.

Rules. At most one open bid per subtask, by the agent that quotes the earliest end; a newer round replaces it, an older one is ignored. A bid
reserves a slot softly until it is won, lost, or no longer valid. Pure: it takes `now`, sets timers under `("bid", run, subtask)` and says
nothing itself. Counterparts: `policy` (whether), `bidding` (for how much), `slots` (how many), `agent` (speaks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from protocol.messages import Announce, Bid, Decline

from .attempt import GIVE_BACK
from .bidding import Market, Quote, make_bid, quote
from .history import History
from .policy import AgentSpec, Facts, Limits, Refusal, consider
from .slots import Slots
from .timers import Timers

__all__ = ["BidBook"]

_LEASE_MIN_S = 10.0
"""No lease is shorter."""
_SURE_AFTER = 3.0
"""So many measurements before a node declines because it would be too slow: before, it does not know."""


class _OpenBid(NamedTuple):
    agent: str
    round: int


class BidBook:
    """Bids of one node that are not decided yet."""

    def __init__(
        self,
        specs: Sequence[AgentSpec],
        limits: Limits,
        history: History,
        slots: Slots,
        timers: Timers[tuple[Any, ...]],
    ) -> None:
        self.by_capability: dict[str, list[AgentSpec]] = {}
        for spec in specs:
            for capability in spec.capabilities:
                self.by_capability.setdefault(capability, []).append(spec)
        self.load = 0.0
        """How busy the device's processors are, 0 to 1."""
        self.cached: dict[bytes, int] = {}
        """Artifacts that this node holds, by the first 8 bytes of their digest -> size."""
        self._limits = limits
        self._history = history
        self._slots = slots
        self._timers = timers
        self._open: dict[tuple[str, str], _OpenBid] = {}

    def __len__(self) -> int:
        return len(self._open)

    def answer(
        self,
        run: str,
        announce: Announce,
        *,
        data_class: int,
        draining: bool,
        now: float,
        halted: bool = False,
        cramped: bool = False,
    ) -> Bid | Decline | None:
        """Bid or decline; None for an announcement that a newer round has replaced."""
        place = (run, announce.subtask)
        old = self._open.get(place)
        if old is not None:
            if old.round > announce.round:
                return None
            self._close(place, won=False)
        best: tuple[Quote, Market, AgentSpec] | None = None
        refusal: Refusal | None = None
        size = announce.input_bytes
        for spec in self.by_capability.get(announce.capability, ()):
            facts = Facts(
                announce.capability,
                data_class,
                size,
                announce.input_count,
                draining,
                self.load,
                self._slots.room(spec.name) and not self.outlasts(spec, announce.capability, size),
                halted,
                cramped,
            )
            refused = consider(spec, self._limits, facts)
            if refused is not None:
                refusal = refused
                continue
            market = self.market(spec, announce)
            promise = quote(announce.capability, size, spec, self._limits, self._history, market)
            if best is None or promise.eta_ms < best[0].eta_ms:
                best = (promise, market, spec)
        if best is None:
            refusal = refusal or Refusal("E_CAPABILITY", f"no agent here offers {announce.capability}")
        elif (late := self._too_slow(announce, best[0], best[2])) is not None:
            best, refusal = None, late
        elif (dear := self._too_dear(best[0], best[2])) is not None:
            best, refusal = None, dear
        if best is None:
            code, detail = refusal or ("E_CAPABILITY", "")
            return Decline(subtask=announce.subtask, round=announce.round, code=code, detail=detail)
        promise, market, spec = best
        bid = make_bid(announce, spec, self._limits, self._history, market, promise)
        self._slots.reserve(spec.name)
        self._open[place] = _OpenBid(spec.name, announce.round)
        self._timers.set(("bid", *place), now + bid.valid_ms / 1000)
        return bid

    def lose(self, run: str, subtask: str, bid_round: int) -> None:
        """The bid of this round (or an earlier one) did not win, or its announcement was withdrawn."""
        bid = self._open.get((run, subtask))
        if bid is not None and bid.round <= bid_round:
            self._close((run, subtask), won=False)

    def win(self, run: str, subtask: str) -> bool:
        """An award came; whether a bid of ours was still open for it."""
        return self._close((run, subtask), won=True)

    def drop(self, run: str, subtask: str) -> None:
        """The bid ran out of time, or its subtask was cancelled."""
        self._close((run, subtask), won=False)

    def drop_all(self) -> None:
        """No bid of ours holds any more."""
        for place in list(self._open):
            self._close(place, won=False)

    def market(self, spec: AgentSpec, announce: Announce | None = None) -> Market:
        """How things stand for one agent, and how much of the announced input is here already."""
        name, local = spec.name, 0
        if announce is not None and self.cached:
            local = sum(self.cached.get(digest, 0) for digest in announce.inputs)
        return Market(
            load=self.load,
            ahead=self._slots.ahead(name),
            capacity=self._slots.capacity(name),
            free=self._slots.free(name),
            queued=self._slots.pools[name].queued,
            local_bytes=local,
        )

    def outlasts(self, spec: AgentSpec, capability: str, size: int) -> bool:
        """Whether what is taken here would probably keep one more waiting until it had to go back.

        Then it is not promised: an award that waits and returns costs its subtask more time than another seller.
        """
        name = spec.name
        capacity = self._slots.capacity(name)
        if self._slots.free(name) > 0 or capacity == 0:
            return False
        work_s = self._history.estimate(capability, size, spec.prior).wall_s
        wait_s = work_s / (capacity + 1) + work_s * self._slots.pools[name].queued / capacity
        return wait_s > GIVE_BACK * max(_LEASE_MIN_S, spec.quiet_ms / 1000)

    def _too_slow(self, announce: Announce, promise: Quote, spec: AgentSpec) -> Refusal | None:
        if promise.eta_ms <= announce.deadline_ms:
            return None
        if self._history.estimate(announce.capability, 0, spec.prior).samples < _SURE_AFTER:
            return None
        allowed = announce.deadline_ms / 1000
        detail = f"it would take about {promise.eta_ms / 1000:.1f} s here, and {allowed:g} s are allowed"
        return Refusal("E_DEADLINE", detail)

    def _too_dear(self, promise: Quote, spec: AgentSpec) -> Refusal | None:
        most = self._limits.max_price
        if not most or spec.unpriced or promise.price <= most * 1_000_000:
            return None
        price = promise.price / 1_000_000
        return Refusal("E_PRICE", f"it would cost {price:.3g} credits, and the owner's most is {most:g}")

    def _close(self, place: tuple[str, str], *, won: bool) -> bool:
        bid = self._open.pop(place, None)
        if bid is None:
            return False
        self._slots.unreserve(bid.agent, won=won)
        self._timers.cancel(("bid", *place))
        return True
