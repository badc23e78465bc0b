"""Who plays in a simulated world: the two kinds of actor, which the roles bring (entry points `zwerm.sim`), since `mesh` imports no role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from protocol.plan import Plan
from protocol.verify import Verifier

from ..errors import MeshError
from .disk import SimFile
from .network import Mail, Peer
from .store import Entry, Head

if TYPE_CHECKING:
    from .world import World

__all__ = ["Actor", "ActorsMissing", "AgentActor", "Cast", "CoordinatorActor", "find_cast"]


class ActorsMissing(MeshError):
    """The roles' packages do not offer their actors."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "E_INTERNAL",
            f"no package offers the simulated {name} (entry point zwerm.sim)",
            "Install zwerm again: its own metadata is older than its code.",
        )


class Actor(Protocol):
    """What a world does to both kinds."""

    kind: str
    name: str
    peer: Peer
    gone: bool

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        ...

    def start(self) -> None:
        """Begin a life."""
        ...

    def kill(self, back_s: float | None = None) -> None:
        """End the process; it comes back."""
        ...

    def hear(self, mail: Mail) -> None:
        """A message got through."""
        ...

    def come_back(self) -> None:
        """The connection is there again."""
        ...

    def check(self) -> None:
        """The costly checks of its whole state.

        Raises:
            Broken: something that must hold does not.
        """
        ...

    def story(self) -> str:
        """What it still has to do, in a few words."""
        ...


class CoordinatorActor(Actor, Protocol):
    """A coordinator's process."""

    def submit(self, run: str, plan: Plan) -> None:
        """A client wants a run; it asks again until it stands."""
        ...

    def cancel(self, run: str, subtask: str = "") -> None:
        """A client wants it, or one subtask of it, stopped."""
        ...

    def pause(self, run: str, *, on: bool) -> None:
        """A client wants nothing more of it awarded, or that it goes on."""
        ...


class AgentActor(Actor, Protocol):
    """A node's process and its file."""

    slots: int
    file: SimFile
    capabilities: frozenset[str]

    @property
    def settled(self) -> bool:
        """Whether nothing runs and nothing is unacknowledged."""
        ...


class Journals(Protocol):
    """Who reads journals as the daemon does, so that the world is halted by what would halt a run."""

    def follow(self, verifier: Verifier, run: str) -> Callable[[Entry], None]:
        """What to call with each message of a run in the moment in which it holds.

        Raises:
            Broken: (what is returned) the message does not follow from those before it.
        """
        ...

    def read(self, verifier: Verifier, run: str, entries: Sequence[Entry], head: Head | None) -> str:
        """How a run ended, by its whole journal ("" if it did not).

        Raises:
            Broken: it does not hang together, or ends before the board's checkpoint.
        """
        ...


@dataclass(frozen=True, slots=True)
class Cast:
    """Who makes the actors. `points`: the names at which each kind may die."""

    coordinator: Callable[[World, Peer], CoordinatorActor]
    agent: Callable[..., AgentActor]
    points: Callable[[], Sequence[str]]
    journals: Journals


def find_cast() -> Cast:
    """The actors of the installed roles.

    Raises:
        ActorsMissing: a role does not offer one.
    """
    found: dict[str, Any] = {point.name: point.load() for point in entry_points(group="zwerm.sim")}
    for name in ("coordinator", "agent"):
        if name not in found:
            raise ActorsMissing(name)
    coordinator, agent = found["coordinator"], found["agent"]
    return Cast(coordinator, agent, lambda: (*coordinator.points, *agent.points), coordinator)
