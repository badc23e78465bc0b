"""How hostile a simulated world is: chances per message, and how many blows fall while the trouble lasts.

Rules. Chances are per message, append, attempt or named point; counts are for the whole time of trouble. After `until_s` nothing new goes wrong, and then every
run must end. Profiles scale the counts to the size of the swarm and the length of the run: so many a node and day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["CALM", "HOSTILE", "PROFILES", "Faults", "profile"]


@dataclass(frozen=True, slots=True)
class Faults:
    """Times in virtual seconds."""

    until_s: float = 60.0

    # the network
    drop: float = 0.05
    double: float = 0.05
    late: float = 0.05
    late_s: float = 3.0
    """The longest delay of a late message: what was sent after it arrives before it."""
    cuts: int = 2
    half_cuts: int = 1
    """A member still hears and is not heard, or the other way round."""
    stalls: int = 1
    """A link stops and later delivers everything at once."""
    outage_s: float = 45.0
    """The longest time that a cut, a half cut or a stall lasts."""

    # the store
    lost_ack: float = 0.05
    """Written, and not confirmed."""
    store_full: int = 1
    """Times during which the store takes nothing."""

    # processes and disks
    die: float = 0.001
    """Chance, at every named point, that the process dies there."""
    kills: int = 3
    power_cuts: int = 1
    """The device loses its power: what its file had not synced is lost or torn."""
    vanish: int = 0
    """Nodes that go and never come back."""
    disk_full: int = 1

    # clocks
    skew_s: float = 5.0
    jumps: int = 1
    jump_s: float = 3_600.0

    # agents
    fail: float = 0.08
    bad: float = 0.05
    """Chance that a result is wrong."""
    caught: float = 1.0
    """Share of the wrong results that the check of the result sees."""
    limited: float = 0.03
    """Chance that a provider says 429 in an attempt and ends it; half of them say for how long."""
    waits: float = 0.08
    """Chance that an attempt waits for a limit of use, or for a person, before it goes on; a third of the limited never do."""
    patient: float = 0.1
    """Share of the waits for a person that outlast the deadline of the work."""
    wedge: float = 0.03
    chatter: float = 0.5
    """Share of the wedged attempts whose node goes on to say the step that it said before."""
    slow: float = 0.05
    """Chance that an attempt takes five times as long."""
    liars: float = 0.1
    """Share of the nodes that overstate their bids and often deliver something wrong."""
    cancels: float = 0.2
    """Share of the runs that somebody cancels; pauses for a while; and in which somebody stops one subtask."""
    pauses: float = 0.2
    stops: float = 0.3
    halts: float = 0.0
    """Share of the worlds in which somebody halts the swarm, up to three times, and lets it go on."""
    halt_s: float = 20.0
    """The longest time for which it is halted."""
    bounded: float = 0.0
    """Share of the runs that may spend only so much money; fewer have bounds of tokens and of time."""


HOSTILE: Final = Faults(bounded=0.4, halts=0.25)
CALM: Final = Faults(
    until_s=0, drop=0, double=0, late=0, cuts=0, half_cuts=0, stalls=0, lost_ack=0, store_full=0, die=0, kills=0,
    power_cuts=0, disk_full=0, skew_s=0, jumps=0, fail=0, bad=0, limited=0, waits=0, patient=0, wedge=0, slow=0, liars=0, cancels=0, pauses=0, stops=0,
)  # fmt: skip

PROFILES: Final = ("none", "mild", "hostile")


def profile(name: str, *, nodes: int, hours: float) -> Faults:
    """The faults of a large swarm over many hours.

    Args:
        name: one of `PROFILES`.
        nodes: how many nodes there are.
        hours: how long the trouble lasts.

    Raises:
        KeyError: no such profile.
    """
    node_days = nodes * hours / 24
    until_s = hours * 3600
    if name == "none":
        return CALM
    mild = replace(
        CALM, until_s=until_s, drop=0.0005, double=0.0005, late=0.001, late_s=2.0, outage_s=120.0, lost_ack=0.001,
        cuts=_count(node_days, 0.5), half_cuts=_count(node_days, 0.05), stalls=_count(node_days, 0.1),
        kills=_count(node_days, 0.2), power_cuts=_count(node_days, 0.05), vanish=_count(node_days, 0.02),
        disk_full=_count(node_days, 0.01), store_full=1, skew_s=2.0, jumps=_count(node_days, 0.01),
        fail=0.02, bad=0.05, caught=0.7, limited=0.02, waits=0.01, wedge=0.005, slow=0.02, liars=0.05,
    )  # fmt: skip
    return {
        "mild": mild,
        "hostile": replace(
            mild, drop=0.01, double=0.01, late=0.01, late_s=5.0, outage_s=600.0, lost_ack=0.01, die=0.00001,
            cuts=_count(node_days, 4), half_cuts=_count(node_days, 1), stalls=_count(node_days, 1),
            kills=_count(node_days, 2), power_cuts=_count(node_days, 0.5), vanish=_count(node_days, 0.1),
            disk_full=_count(node_days, 0.1), store_full=5, skew_s=30.0, jumps=_count(node_days, 0.1),
            fail=0.05, bad=0.1, limited=0.05, waits=0.03, patient=0.02, wedge=0.02, slow=0.05, liars=0.15, halts=1.0, halt_s=600.0,
        ),
    }[name]  # fmt: skip


def _count(node_days: float, rate: float) -> int:
    return max(1, round(node_days * rate))
