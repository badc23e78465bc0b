"""A whole swarm in virtual time, with faults: to test the cores by thousands of histories, and to plan a swarm before there is one.

The actors are the roles' own (`agent_node.sim_actor`, `coordinator_node.sim_actor`); everything around them is here. Start reading at `world`.
"""

from .actors import Cast, find_cast
from .faults import CALM, HOSTILE, PROFILES, Faults, profile
from .ledger import Broken, Ledger
from .plans import Load
from .world import Crash, Void, World

__all__ = [
    "CALM",
    "HOSTILE",
    "PROFILES",
    "Broken",
    "Cast",
    "Crash",
    "Faults",
    "Ledger",
    "Load",
    "Void",
    "World",
    "find_cast",
    "profile",
]
