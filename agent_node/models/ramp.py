"""How many requests may be under way with one key at one server. A core.

Rules. It begins with all that the owner allows. A 429 halves it, once for all requests that were under way together, and nobody asks before the named
time; each round of answers without one adds one again. 401, 402 and 403 stop the key for a minute, then for twice as long each time, an hour at
most; after that one request tries it, and the first good answer opens it. Counterpart: `gate` (lets askers in).
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["Ended", "Ramp"]

Ended = Literal["ok", "limited", "forbidden", "other"]

_PAUSE_FIRST_S: Final = 60.0
_PAUSE_MOST_S: Final = 3600.0


class Ramp:
    """Of one key. `most`: requests at a time that the owner allows."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.limit = float(self.most)
        self.busy = 0
        self.until = 0.0
        """Nobody asks before."""
        self.why = ""
        self._shrunk_at = float("-inf")
        self._pause_s = 0.0
        """How long the key was stopped last; 0: it was not, or it has worked since."""

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return 1 if self._pause_s else max(1, int(self.limit))

    def room(self, now: float) -> bool:
        """Whether one more may begin."""
        return now >= self.until and self.busy < self.allowed

    def wait_s(self, now: float) -> float:
        """How long nobody may begin, whatever room there is."""
        return max(0.0, self.until - now)

    def widen(self, most: int) -> None:
        """Another agent has the same key; what the owner allows it is allowed to all of them together."""
        if most > self.most:
            untouched = self.limit == self.most
            self.most = most
            if untouched:
                self.limit = float(most)

    def begin(self, now: float) -> None:
        """A request begins."""
        assert self.room(now)
        self.busy += 1

    def end(self, how: Ended, began: float, now: float, wait_s: float = 0.0, why: str = "") -> None:
        """A request that began at `began` is over. `wait_s`: for how long nobody shall ask, if the server said so."""
        self.busy -= 1
        if how == "ok":
            self._pause_s = 0.0
            self.why = "" if now >= self.until else self.why
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        elif how == "limited":
            self.until = max(self.until, now + wait_s)
            self.why = why
            if began > self._shrunk_at:  # what was under way when it was halved says nothing new
                self.limit = max(1.0, self.limit / 2.0)
                self._shrunk_at = now
        elif how == "forbidden":
            self.why = why
            if began >= self.until:
                self._pause_s = min(_PAUSE_MOST_S, max(_PAUSE_FIRST_S, 2.0 * self._pause_s, wait_s))
                self.until = max(self.until, now + self._pause_s)
