"""The award rules that are compared: ours, which is the coordinator's own code, and four that others publish.

`Ours` runs `Auction`, `Market`, `History` and `fold.apply` of the coordinator, fed by real bids and real journal records; it adds nothing to them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Protocol

from coordinator_node.auction import Auction, Round
from coordinator_node.fold import apply
from coordinator_node.history import History
from coordinator_node.market import Market
from coordinator_node.orders import NodeInfo
from protocol.artifact import ArtifactRef
from protocol.ids import new_run_id
from protocol.messages import Bid, Usage
from protocol.plan import Skeleton
from protocol.records import (
    Accepted,
    AttemptFailed,
    Awarded,
    PlanAdopted,
    Record,
    Rejected,
    RunOpened,
    SubtaskFailed,
)

from .market_model import AGENTS, TYPES, Offer, Task, World

__all__ = ["RULES", "HighestConfidence", "LowestPrice", "Ours", "Random", "RiskAdjustedCost", "Rule"]

_CREDITS = 200
"""Credits for one of the model's units of money: ten seconds of work then cost about ten credits, as at a node's usual rate."""
_MICRO = 1_000_000


class Rule(Protocol):
    """An award rule: it chooses one of the offers, then learns what came of it."""

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer: ...

    def learn(self, task: Task, offer: Offer) -> None: ...


class _Forgetful:
    def __init__(self, world: World) -> None:
        self._rng = random.Random(f"rule/{world.seed}")

    def learn(self, task: Task, offer: Offer) -> None:
        pass


class Random(_Forgetful):
    """Anybody who bids."""

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer:
        return self._rng.choice(offers)


class LowestPrice(_Forgetful):
    """The cheapest."""

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer:
        return min(offers, key=lambda offer: offer.price)


class HighestConfidence(_Forgetful):
    """Who is surest of itself (EDDI's rule); the cheaper of equals."""

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer:
        return min(offers, key=lambda offer: (-offer.confidence, offer.price))


class RiskAdjustedCost:
    """AuctionSI's: price + chance of failure x budget; the chance from a Beta(1, 1) over the seller's results at this kind of task."""

    def __init__(self, world: World) -> None:
        self._tracks: dict[tuple[int, str], list[int]] = {}

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer:
        def cost(offer: Offer) -> tuple[float, float]:
            good, tried = self._tracks.get((offer.agent, task.kind), (0, 0))
            return offer.price + (1 - (good + 1) / (tried + 2)) * task.budget, offer.price

        return min(offers, key=cost)

    def learn(self, task: Task, offer: Offer) -> None:
        track = self._tracks.setdefault((offer.agent, task.kind), [0, 0])
        track[0] += offer.passes
        track[1] += 1


def _node(number: int) -> tuple[str, str]:
    digest = hashlib.sha256(b"agent %d" % number).hexdigest()
    return digest[:32], "U" + digest.upper().replace("0", "A").replace("1", "B").replace("8", "C").replace(
        "9", "D"
    )[:55]


class Ours:
    """The coordinator's rule."""

    def __init__(self, world: World) -> None:
        self._market, self._history = Market(), History()
        self._auction = Auction(self._market, self._history, random.Random(f"rule/{world.seed}"))
        self._nodes = [_node(number) for number in range(AGENTS)]
        for number, (node, bus_key) in enumerate(self._nodes):
            self._market.seen(NodeInfo(node, bus_key, f"agent-{number}", dict.fromkeys(TYPES, 1)))
        self._run = new_run_id(1_700_000_000.0, bytes(16))
        ref = ArtifactRef(sha256=bytes(32), size=1, chunks=1, writer=self._nodes[0][1])
        owner = self._nodes[0][0]
        self._state = apply(None, RunOpened(at_ms=0, run=self._run, goal=ref, by=owner, epoch=1, owner=owner))
        skeletons = [
            Skeleton(id=f"t{task.number}", capability=task.kind, deadline_ms=int(task.deadline_s * 1000))
            for task in world.tasks
        ]
        for part in range(0, len(skeletons), 200):
            self._record(
                PlanAdopted(
                    at_ms=0,
                    plan=ref,
                    part=part // 200 + 1,
                    parts=(len(skeletons) + 199) // 200,
                    subtasks=skeletons[part : part + 200],
                )
            )

    def _record(self, record: Record) -> None:
        apply(self._state, record)
        self._history.observe(self._state, record)

    def choose(self, task: Task, offers: Sequence[Offer]) -> Offer:
        subtask, now = f"t{task.number}", task.at_s
        asked = [self._market.sellers[self._nodes[offer.agent][0]] for offer in offers]
        batch = self._auction.batch(asked, now)
        one = Round(
            (self._run, subtask),
            task.kind,
            task.number + 1,
            int(task.deadline_s * 1000),
            0,
            {},
            True,
            batch,
            {seller.info.node for seller in asked},
        )
        self._auction.open([one], batch, 1.0)
        for offer in offers:
            node, bus_key = self._nodes[offer.agent]
            bid = Bid(
                subtask=subtask,
                round=task.number + 1,
                agent="worker",
                price=round(offer.price * _CREDITS * _MICRO),
                eta_ms=round(offer.latency_s * 1000),
                success=offer.confidence,
                load=0.0,
                queue=0,
                free_slots=1,
            )
            self._auction.answered(self._run, node, bus_key, [bid], b"", now)
        [decision] = self._auction.close()
        first = decision.ranked[0]
        self._record(
            Awarded(
                at_ms=int(now * 1000),
                subtask=subtask,
                attempt=1,
                epoch=1,
                node=first.node,
                round=task.number + 1,
                bus_key=first.bus_key,
                agent="worker",
                lease_ms=10_000,
                deadline_ms=int(task.deadline_s * 1000),
                bids=decision.notes,
                reason=decision.reason,
            )
        )
        return next(offer for offer in offers if self._nodes[offer.agent][0] == first.node)

    def learn(self, task: Task, offer: Offer) -> None:
        fence = {
            "at_ms": int((task.at_s + offer.took_s) * 1000),
            "subtask": f"t{task.number}",
            "attempt": 1,
            "epoch": 1,
            "node": self._nodes[offer.agent][0],
        }
        if offer.passes:
            paid = Usage(money=round(offer.price * _CREDITS * _MICRO))
            self._record(Accepted(wall_ms=round(offer.took_s * 1000), used=paid, **fence))
            return
        if offer.delivers:
            self._record(Rejected(reason="not good enough", **fence))
        else:
            self._record(AttemptFailed(code="E_WORK", retryable=True, **fence))
        self._record(
            SubtaskFailed(at_ms=fence["at_ms"], subtask=fence["subtask"], code="E_TRIES", message="")
        )


RULES: dict[str, type[Rule]] = {
    "ours": Ours,
    "risk_adjusted_cost": RiskAdjustedCost,
    "highest_confidence": HighestConfidence,
    "lowest_price": LowestPrice,
    "random": Random,
}
