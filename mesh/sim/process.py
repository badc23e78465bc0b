"""A process in a simulated world: it lives, passes named points at which it may die, dies, and comes back.

Rules. What a life has put off (timers, answers) does nothing in a later life. A process dies only at a named point or between two events, and at once: nothing
more of that event happens. Each actor names its points; `World` decides where somebody dies, and counts which points were passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .network import Peer
    from .world import World

__all__ = ["Died", "Process"]


class Died(Exception):
    """The process of an actor is gone in the middle of a step."""


class Process:
    """What both kinds of actor are. Subclasses have `boot`, which brings the core to life, and `lost`, which drops it."""

    kind = ""

    def __init__(self, world: World, peer: Peer) -> None:
        self.world = world
        self.peer = peer
        self.name = peer.name
        self.life = 0
        self.gone = False
        """It never comes back."""
        self._tick_at = float("inf")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.peer.up

    def boot(self) -> None:
        """Come to life from what was written."""
        raise NotImplementedError

    def lost(self) -> None:
        """Everything in memory is gone."""
        raise NotImplementedError

    def core_deadline(self) -> float | None:
        """When the core wants to be woken, by its own clock."""
        raise NotImplementedError

    def wake(self) -> None:
        """The time has come."""
        raise NotImplementedError

    # --- life ---

    def start(self) -> None:
        """Begin a life."""
        if self.alive or self.gone:
            return
        self.life += 1
        self._tick_at = float("inf")
        self.world.network.begin(self.peer)
        self.world.timeline.note(self.name, "starts")
        self.guarded(self.boot)

    def kill(self, back_s: float | None = None) -> None:
        """The process is gone; it comes back after a while."""
        if not self.alive:
            return
        self.world.timeline.note(self.name, "dies")
        self.world.tally.died(self.peer.node, self.world.timeline.elapsed)
        self.life += 1
        self.world.network.end(self.peer)
        self.lost()
        if not self.gone:
            wait = back_s if back_s is not None else self.world.timeline.rng.uniform(0.1, self.back_most_s)
            self.world.timeline.at(wait, self.start)

    back_most_s = 8.0
    """The longest time until it comes back."""

    def point(self, name: str) -> None:
        """A named point is passed.

        Raises:
            Died: the process ends here.
        """
        if self.world.dies_at(self, name):
            raise Died

    def guarded(self, action: Callable[..., object], *args: Any) -> None:
        """Do something of this process; if it dies in it, it is dead."""
        try:
            action(*args)
        except Died:
            self.kill()

    def later(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Do something in a while, if this life still lasts then."""
        self.world.timeline.at(delay, self._later, self.life, action, args)

    def in_life(self, life: int, action: Callable[..., object], *args: Any) -> None:
        """Do something that an answer brought, if it came to the life that asked."""
        self._later(life, action, args)

    def _later(self, life: int, action: Callable[..., object], args: tuple[Any, ...]) -> None:
        if life == self.life and self.alive:
            self.guarded(action, *args)

    # --- the core's timer ---

    def set_timer(self) -> None:
        """Wake the core when it wants to be woken."""
        due = self.core_deadline() if self.alive else None
        if due is None or due >= self._tick_at:
            return
        self._tick_at = due
        self.later(max(0.0, due - self.peer.clock.steady()), self._tick, due)

    def _tick(self, due: float) -> None:
        if due == self._tick_at:
            self._tick_at = float("inf")
            self.wake()
