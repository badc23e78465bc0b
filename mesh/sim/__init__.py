"""A whole swarm in virtual time, with faults: to test the cores by thousands of histories, and to plan a swarm before there is one.

The actors are the roles' own (`agent_node.sim_actor`, `coordinator_node.sim_actor`); everything around them is here. Start reading at `world`.
Names are loaded when they are first used, so that the command, which only lists the verb, starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_WHERE = {
    "actors": ("Cast", "find_cast"),
    "faults": ("CALM", "HOSTILE", "PROFILES", "Faults", "profile"),
    "ledger": ("Broken", "Ledger"),
    "plans": ("Load",),
    "world": ("Crash", "Void", "World"),
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
