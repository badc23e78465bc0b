"""What this node learned about its own work: how long it takes, and how often it counts. Bids are made from it.

Rules. Only measured work is in it: a duration when work was done, a success when the run's owner checked the result and acknowledged it. Old
observations fade (the last few dozen rule), so a device that got slower says so. Durations are kept as a line over the input's size, fitted
by weighted least squares with a prior of small weight; while little is known the estimate carries a wide error, and says it. It is a pure
value: `dump` and `load` turn it into JSON and back, the shell writes the file.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

__all__ = ["Estimate", "History", "Prior"]

_DECAY = 0.95
"""Weight of the past per observation: about the last 20 count."""
_PRIOR_WEIGHT = 0.5
"""Each of the prior's two pseudo-observations weighs half a real one, so the first real one already rules."""
_ALPHA0, _BETA0 = 3.0, 1.0
"""Beta prior of success: a new node is believed three times in four."""
_RATIO_MIN, _RATIO_MAX = 0.25, 4.0
_CAPABILITIES_MAX = 512
_PEAK_FADE = 0.98
_PEAK_ROOM = 1.5
"""What was ended for want of more comes back with half as much again, and so on."""
_MIB = 1024.0 * 1024.0
SCHEMA = "zwerm.history/1"


class Prior(NamedTuple):
    """What is thought before anything was measured: seconds for an empty input, and for each MiB more."""

    base_s: float
    per_mib_s: float


class Estimate(NamedTuple):
    """Seconds on an idle device: `wall_s` the mean, `error_s` its standard error, `cpu_s` processor time; `samples` real ones, faded."""

    wall_s: float
    error_s: float
    cpu_s: float
    samples: float

    @property
    def quoted_s(self) -> float:
        """What to promise: the mean and one standard error, so that little knowledge is not a low price."""
        return self.wall_s + self.error_s


@dataclass(slots=True)
class Stats:
    """Faded sums of one capability: weight, size x (MiB), wall time y (s), products, processor time; then successes and trials.

    `tokens`, `steps`: the most that one job used, slowly forgotten.
    """

    n: float = 0.0
    sx: float = 0.0
    sy: float = 0.0
    sxx: float = 0.0
    sxy: float = 0.0
    syy: float = 0.0
    cpu: float = 0.0
    good: float = 0.0
    tried: float = 0.0
    ratio: float = 1.0
    tokens: float = 0.0
    steps: float = 0.0


class History:
    """All capabilities of one node."""

    def __init__(self) -> None:
        self._stats: dict[str, Stats] = {}
        self.changes = 0
        """Grows with every observation, so that the shell knows when to write."""

    def estimate(self, capability: str, size: int, prior: Prior) -> Estimate:
        """How long work on `size` bytes of input takes on this device when nothing else runs."""
        stats = self._stats.get(capability) or Stats()
        w, b, s = _PRIOR_WEIGHT, prior.base_s, prior.per_mib_s
        n = stats.n + 2 * w
        sx, sy = stats.sx + w, stats.sy + w * (2 * b + s)
        sxx, sxy = stats.sxx + w, stats.sxy + w * (b + s)
        syy = stats.syy + w * (b * b + (b + s) * (b + s))
        spread = n * sxx - sx * sx
        slope = max(0.0, (n * sxy - sx * sy) / spread) if spread > 1e-12 else 0.0
        level = (sy - slope * sx) / n
        if level < 0.0:
            level, slope = 0.0, (max(0.0, sxy / sxx) if sxx > 0 else 0.0)
        x = size / _MIB
        wall = level + slope * x
        squares = (
            syy
            - 2 * level * sy
            - 2 * slope * sxy
            + n * level * level
            + 2 * level * slope * sx
            + slope * slope * sxx
        )
        doubt = wall * wall
        """Before there are measurements the error is as large as the estimate; it shrinks with each."""
        variance = (max(0.0, squares) + doubt) / (n + 1.0)
        error = math.sqrt(variance / (stats.n + 1.0))
        share = (stats.cpu + 2 * w * b) / sy if sy > 0 else 1.0
        return Estimate(wall, error, wall * min(max(share, 0.0), 64.0), stats.n)

    def ratio(self, capability: str) -> float:
        """How much longer work took than was quoted, lately (1 = as quoted)."""
        stats = self._stats.get(capability)
        return stats.ratio if stats else 1.0

    def success(self, capability: str) -> float:
        """The chance that a result counts: mean of the Beta posterior."""
        stats = self._stats.get(capability) or Stats()
        return (_ALPHA0 + stats.good) / (_ALPHA0 + _BETA0 + stats.tried)

    def done(
        self, capability: str, size: int, *, wall_s: float, cpu_s: float, load: float, quoted_s: float
    ) -> None:
        """Work was done: it took `wall_s` while the device's other load was `load` (0 to 1), and `quoted_s` had been promised."""
        stats = self._of(capability)
        x, y = size / _MIB, max(0.0, wall_s) / (1.0 + min(max(load, 0.0), 1.0))
        for name in ("n", "sx", "sy", "sxx", "sxy", "syy", "cpu"):
            setattr(stats, name, getattr(stats, name) * _DECAY)
        stats.n += 1.0
        stats.sx += x
        stats.sy += y
        stats.sxx += x * x
        stats.sxy += x * y
        stats.syy += y * y
        stats.cpu += min(max(0.0, cpu_s), 64 * y)
        if quoted_s > 0.0:
            seen = min(max(wall_s / quoted_s, _RATIO_MIN), _RATIO_MAX)
            stats.ratio = min(max(stats.ratio * 0.8 + 0.2 * stats.ratio * seen, _RATIO_MIN), _RATIO_MAX)
        self.changes += 1

    def spent(self, capability: str, *, tokens: int, steps: int) -> None:
        """One job has used so much, whether it was done or not."""
        if not (tokens or steps) and capability not in self._stats:
            return
        stats = self._of(capability)
        stats.tokens = max(float(tokens), stats.tokens * _PEAK_FADE)
        stats.steps = max(float(steps), stats.steps * _PEAK_FADE)
        self.changes += 1

    def peaks(self, capability: str) -> tuple[int, int]:
        """Tokens and steps that one job uses at most, with room to spare; 0 where nothing is known."""
        stats = self._stats.get(capability)
        if stats is None:
            return 0, 0
        return math.ceil(stats.tokens * _PEAK_ROOM), math.ceil(stats.steps * _PEAK_ROOM)

    def verified(self, capability: str) -> None:
        """A result was checked and counts."""
        self._tried(capability, good=1.0)

    def failed(self, capability: str) -> None:
        """An attempt failed for a reason that lies with this node, or its result did not pass."""
        self._tried(capability, good=0.0)

    def dump(self) -> bytes:
        """The history as JSON."""
        names = [field.name for field in fields(Stats)]
        table = {
            capability: {name: round(getattr(stats, name), 9) for name in names}
            for capability, stats in sorted(self._stats.items())
        }
        return json.dumps({"schema": SCHEMA, "capabilities": table}, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, data: bytes) -> History:
        """Read what `dump` wrote. What cannot be read is left out: a node without a history works, it only knows less."""
        history = cls()
        try:
            value = json.loads(data)
            table = value["capabilities"] if value["schema"] == SCHEMA else {}
            for capability, row in list(table.items())[:_CAPABILITIES_MAX]:
                known = {field.name for field in fields(Stats)}
                numbers = {name: float(number) for name, number in row.items() if name in known}
                if all(math.isfinite(number) and number >= 0.0 for number in numbers.values()):
                    history._stats[capability] = Stats(**numbers)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()
        return history

    def _of(self, capability: str) -> Stats:
        stats = self._stats.get(capability)
        if stats is None:
            if len(self._stats) >= _CAPABILITIES_MAX:
                del self._stats[min(self._stats, key=lambda name: self._stats[name].n)]
            stats = self._stats[capability] = Stats()
        return stats

    def _tried(self, capability: str, *, good: float) -> None:
        stats = self._of(capability)
        stats.good = stats.good * _DECAY + good
        stats.tried = stats.tried * _DECAY + 1.0
        self.changes += 1
