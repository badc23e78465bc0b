"""A large world from a few numbers: so many agents, so many subtasks, so many hours."""

from __future__ import annotations

from typing import Final

from protocol.messages import Budget

from .actors import Cast
from .faults import profile
from .network import Door
from .plans import LARGE, Load, large_plans, run_id
from .world import World

__all__ = ["STEPS", "large_world"]

STEPS: Final = 300
"""Steps of one subtask, on average."""
_BUSY: Final = 0.75
"""Share of the time that the work fills on nodes of usual speed; the rest is for what goes wrong."""
_MICRO: Final = 1_000_000
_AMPLE: Final = 20
"""Credits of a run's budget for each second of work of each subtask."""
_PROGRESS: Final = 720
"""Progress of one attempt is said so often at most in the whole time, if it took all of it."""


def large_world(
    seed: int,
    *,
    agents: int,
    subtasks: int,
    hours: float,
    faults: str = "mild",
    door: Door = "hash",
    cast: Cast | None = None,
) -> World:
    """A swarm that is busy for about so many virtual hours.

    Raises:
        KeyError: no such profile of faults.
    """
    span_s = hours * 3600
    step_s = _BUSY * span_s * agents / (subtasks * STEPS)
    progress_s = min(300.0, max(10.0, span_s / _PROGRESS))
    work_s = STEPS * step_s
    load = Load(
        steps=(STEPS * 2 // 3, STEPS * 4 // 3),
        step_s=step_s,
        progress_s=progress_s,
        quiet_s=3 * progress_s,
        deadline_s=min(12 * 3600.0, max(600.0, 10 * work_s)),
        wedged_s=10 * span_s,
    )
    plans = large_plans(subtasks, load)
    # Much more than the work should cost, so that nothing fails for want of it, and every award is reserved, capped and settled.
    budgets = {
        run_id(number): Budget(money=int(_MICRO * _AMPLE * max(1.0, work_s) * len(plan.subtasks)))
        for number, plan in enumerate(plans, 1)
    }
    return World(
        seed,
        faults=profile(faults, nodes=agents, hours=hours),
        plans=plans,
        budgets=budgets,
        nodes=agents,
        capabilities=LARGE,
        load=load,
        door=door,
        cast=cast,
        end_s=4 * span_s + 3600,
        thrifty=True,
        events_min=2 * subtasks,
    )
