"""What a simulated run came to: one object for programs, some lines for people.

Rules. What must be 0 (`lost`, `duplicated`, `overshoot`) is counted from the journals and from what the agents did, not from anybody's claims. Counterpart: `tally`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from protocol.records import Accepted, PlanAdopted, SubtaskCancelled, SubtaskFailed

from .tally import percentile
from .world import World

__all__ = ["lines", "report"]

_ENDS = (Accepted, SubtaskFailed, SubtaskCancelled)


def report(world: World, wall_s: float) -> dict[str, Any]:
    """All numbers of a world that was played."""
    tally, network = world.tally, world.network
    count = sum(len(plan.subtasks) for plan in world.plans.values())
    lost, duplicated = _journals(world)
    slots = sum(agent.slots for agent in world.agents)
    single = tally.made_wrong / tally.made if tally.made else 0.0
    whole = tally.kept_wrong / tally.kept if tally.kept else 0.0
    critical = tally.critical_steps
    refused = sum((actor.peer.refused for actor in (*world.coordinators, *world.agents)), Counter[str]())
    return {
        "seed": world.seed,
        "lost": lost,
        "duplicated": duplicated,
        "overshoot": tally.overshoot,
        "reawards": tally.reawards,
        "digest": world.timeline.digest,
        "wall_s": round(wall_s, 2),
        "virtual_s": round(tally.last_end, 1),
        "events": world.timeline.events,
        "agents": len(world.agents),
        "subtasks": count,
        "runs": len(world.plans),
        "outcomes": dict(Counter(world.ledger.closed.values())),
        "accepted": world.ledger.accepted,
        "late_results": world.ledger.late,
        "steps": tally.steps,
        "steps_done": tally.all_steps,
        "critical_steps": critical,
        "speed_up": round(tally.steps / critical, 2) if critical else 0.0,
        "utilisation": round(tally.busy_s / (slots * tally.last_end), 4) if tally.last_end else 0.0,
        "peak_working": tally.peak,
        "messages_per_subtask": round(network.messages / count, 2),
        "bytes_per_subtask": round(network.bytes / count),
        "presence_messages": network.pulses,
        "award_latency_ms": _spread(tally.latencies, 1000),
        "dead_found_s": _spread(tally.dead_s, 1),
        "wedged_found_s": _spread(tally.wedged_s, 1),
        "halts": {
            "given": world.stops.seen["halts"],
            "ended": world.stops.seen["ended by a halt"],
            "word_s": _spread(world.stops.took, 1),
        },
        "wrong_results": {
            "of_single_agents": round(single, 5),
            "of_the_whole": round(whole, 5),
            "ratio": round(whole / single, 4) if single else None,
        },
        "attempts_failed": dict(sorted(tally.ends.items())),
        "mishaps": dict(sorted(network.mishaps.items())),
        "refused": dict(sorted(refused.items())),
        "killed_at": dict(sorted(world.died_at.items())),
    }


def _journals(world: World) -> tuple[int, int]:
    """Subtasks that have no end, and ends or acceptances that are there more than once, by the journals alone."""
    lost = duplicated = 0
    for run in world.plans:
        ends: Counter[str] = Counter()
        names: set[str] = set()
        for record in world.store.records(run):
            if isinstance(record, PlanAdopted):
                names.update(entry.id for entry in record.subtasks)
            elif isinstance(record, _ENDS):
                ends[record.subtask] += 1
        lost += len(names - ends.keys()) if names else len(world.plans[run].subtasks)
        duplicated += sum(times - 1 for times in ends.values())
    return lost, duplicated


def _spread(values: Sequence[float], scale: float) -> dict[str, float | int | None]:
    half, most = percentile(values, 0.5), percentile(values, 0.99)
    return {
        "count": len(values),
        "p50": None if half is None else round(half * scale, 1),
        "p99": None if most is None else round(most * scale, 1),
    }


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people: what, and how much."""
    hours = found["virtual_s"] / 3600
    latency, dead, wedged = found["award_latency_ms"], found["dead_found_s"], found["wedged_found_s"]
    wrong = found["wrong_results"]
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(found["outcomes"].items()))
    failed = ", ".join(f"{count} {name}" for name, count in found["attempts_failed"].items()) or "none"
    mishaps = ", ".join(f"{count:,} {name}" for name, count in found["mishaps"].items()) or "none"
    talk = f"{found['messages_per_subtask']:.1f} and {found['bytes_per_subtask']:,} bytes a subtask"
    return [
        ("lost / duplicated / overshoot", f"{found['lost']} / {found['duplicated']} / {found['overshoot']}"),
        (
            "runs",
            f"{found['runs']} of {found['subtasks']:,} subtasks on {found['agents']} agents: {outcomes}",
        ),
        ("virtual time", f"{hours:.2f} h, in {found['wall_s']:.1f} s ({found['events']:,} events)"),
        (
            "steps",
            f"{found['steps']:,} that counted, {found['critical_steps']:,} critical: speed-up {found['speed_up']:.0f}",
        ),
        ("utilisation", f"{found['utilisation']:.0%}, {found['peak_working']} at work at most"),
        ("announcement to award", _range(latency, "ms")),
        ("re-awards", f"{found['reawards']:,}; attempts that failed: {failed}"),
        ("dead agents found after", _range(dead, "s")),
        ("wedged attempts found after", _range(wedged, "s")),
        (
            "halts",
            f"{found['halts']['given']}, which ended {found['halts']['ended']:,} attempts; word of it after {_range(found['halts']['word_s'], 's')}",
        ),
        (
            "wrong results",
            f"{wrong['of_the_whole']:.2%} of the whole, {wrong['of_single_agents']:.2%} of single agents",
        ),
        ("messages", f"{talk}, beside {found['presence_messages']:,} of presence"),
        ("on the way", mishaps),
        ("digest", found["digest"]),
    ]


def _range(spread: dict[str, Any], unit: str) -> str:
    if not spread["count"]:
        return "-"
    return f"{spread['p50']:g} {unit} (p50), {spread['p99']:g} {unit} (p99), {spread['count']:,} times"
