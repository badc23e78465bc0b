"""May this node take a piece of work at all? The answer is a reason, not a bool, so that a buyer can be told who said no and why.

Pure: it is given the facts and keeps nothing. What is asked first is what can never change (capability, class, size), then what may be
otherwise in a minute (draining, load, slots). Counterparts: `bidding` prices what passes here; `agent` gathers the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from protocol.messages import AgentCard, Usage

from .history import Prior
from .tariff import Tariff

__all__ = ["DISK_FULL", "AgentSpec", "Facts", "Limits", "Refusal", "allowed", "consider"]

DISK_FULL = "its disk is full, so it takes no new work until there is room"
_PRIOR = Prior(0.5, 0.5)
_NOTHING = Usage()
_CLASSES = ("public", "internal", "confidential", "restricted")


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent of this node as its core sees it.

    `shared`: it takes one of the node's slots while it works. `quick`: it is over at once, so `started` is not worth a message.
    `quiet_ms`: the longest silence that it needs while it works. `max_bytes`, `max_inputs`: what it can be given.
    """

    name: str
    capabilities: frozenset[str]
    slots: int
    description: str = ""
    adapter: str = "python"
    queue: int = 0
    shared: bool = True
    quick: bool = False
    quiet_ms: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    max_inputs: int = 4096
    prior: Prior = _PRIOR
    warning: str = ""
    """What its card warns of."""
    unpriced: bool = False
    """It cannot say what its work costs: unknown, and never nothing."""
    estimate: Usage = _NOTHING
    """What its owner says that one job uses at most."""
    caps: Usage | None = None
    """What its owner lets one job use, whatever a buyer allows."""
    tariff: Tariff | None = None
    """It costs tokens, not processor time."""

    def card(self) -> AgentCard:
        """How it is presented to others."""
        return AgentCard(
            name=self.name,
            description=self.description,
            capabilities=sorted(self.capabilities),
            adapter=self.adapter,
            slots=self.slots,
            warning=self.warning,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner of the node allows. `rate`: its price, in credits for a second of one processor; `max_load` 1 = never mind the load.

    `max_price`: work that would cost more credits is declined; 0: never mind the price.
    """

    slots: int = 1
    max_class: int = 1
    max_load: float = 1.0
    rate: float = 1.0
    max_price: float = 0.0
    bid_slack_ms: int = 3_000
    """How much longer than the bidding window a slot stays reserved for a bid."""


class Facts(NamedTuple):
    """What is asked for, and how the node is at this moment. `room`: a slot or a place in the queue is left."""

    capability: str
    data_class: int
    size: int
    inputs: int
    draining: bool
    load: float
    room: bool
    halted: bool = False
    cramped: bool = False
    """The disk is full."""


class Refusal(NamedTuple):
    """Why not: a code of the wire and a sentence."""

    code: str
    detail: str


def allowed(capability: str, globs: tuple[str, ...]) -> bool:
    """Whether the owner's list of patterns (`doc.*`) has this capability."""
    return any(fnmatchcase(capability, glob) for glob in globs)


def consider(spec: AgentSpec | None, limits: Limits, facts: Facts) -> Refusal | None:
    """Why `spec` may not take this work, or None when it may."""
    if spec is None or facts.capability not in spec.capabilities:
        return Refusal("E_CAPABILITY", f"no agent here offers {facts.capability}")
    if facts.data_class > limits.max_class:
        asked, most = (_CLASSES[min(level, 3)] for level in (facts.data_class, limits.max_class))
        return Refusal("E_CLASS", f"this node takes data up to {most}, and this is {asked}")
    if facts.size > spec.max_bytes:
        return Refusal("E_TOO_LARGE", f"{facts.size:,} bytes of input; {spec.name} takes {spec.max_bytes:,}")
    if facts.inputs > spec.max_inputs:
        return Refusal("E_TOO_LARGE", f"{facts.inputs:,} inputs; {spec.name} takes {spec.max_inputs:,}")
    if facts.draining:
        return Refusal("E_DRAINING", "this node is going down and takes nothing new")
    if facts.halted:
        return Refusal("E_HALTED", "its agents were stopped by order and take nothing")
    if facts.cramped:
        return Refusal("E_DISK_FULL", DISK_FULL)
    if facts.load > limits.max_load:
        return Refusal(
            "E_LOAD", f"its processors are {facts.load:.0%} busy; the owner allows {limits.max_load:.0%}"
        )
    if not facts.room:
        return Refusal("E_SLOTS", f"all slots of {spec.name} are taken, and so is its queue")
    return None
