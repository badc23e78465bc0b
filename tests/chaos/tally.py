"""What was tried and how it went: one JSON object a line, added up over any number of runs."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Tally", "percentile", "totals"]


class Tally:
    """The lines of one run of the runner; kept in a file as well when one is named."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []

    def add(self, line: dict[str, Any]) -> None:
        """One trial."""
        self.lines.append(line)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    @staticmethod
    def read(paths: Iterable[Path]) -> list[dict[str, Any]]:
        """All lines of some files."""
        return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def totals(lines: Iterable[dict[str, Any]]) -> list[str]:
    """What all of it comes to, for people."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        kinds.setdefault(line["kind"], []).append(line)
    said: list[str] = []
    for kind, trials in sorted(kinds.items()):
        outcomes = Counter(trial["outcome"] for trial in trials)
        said.append(
            f"{kind}: {len(trials)} trials: "
            + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items()))
        )
        names = sorted({name for trial in trials for name in trial.get("times", {})})
        for name in names:
            values = [
                trial["times"][name] for trial in trials if trial.get("times", {}).get(name) is not None
            ]
            if values:
                said.append(
                    f"  {name}: p50 {statistics.median(values):.2f}  p99 {percentile(values, 0.99):.2f}  "
                    f"max {max(values):.2f}  ({len(values)})"
                )
        counts: Counter[str] = Counter()
        for trial in trials:
            counts.update(trial.get("counts", {}))
        if counts:
            said.append("  " + ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
        failed = sorted(
            {trial["repeat"] for trial in trials if trial["outcome"] != "ok" and "repeat" in trial}
        )
        said += [f"  FAILED; again: {command}" for command in failed]
    return said
