"""Orders to halt in a simulated world: the admins who give them, and each device's part in them, by the daemon's own cores.

Rules. It does what `halt_watch` and `halt_swarm` do, in their order: what the device has kept rules before anything runs, the store is asked before any work is taken
and whenever the device is connected anew, and an order is said before it is stored. Orders are really signed. What is drawn comes from a chance of its
own, and in a world without halts nobody asks for any, so that its history is what it would be without them. An admin goes on until the order is stored,
or until somebody wants something else; when the trouble is over the swarm is let go.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from protocol import subjects
from protocol.certificate import issue
from protocol.charter import BusServer, Charter, IssuerGrant, found_charter, swarm_id_of, verify_chain
from protocol.messages import Halt, Heartbeat, Item
from protocol.objects import FRAME_BYTES, read_head
from protocol.sealing import BoxKey
from protocol.signing import SigningKey

from ..halt_orders import LOOK_S, PATIENCE_S, RETRY_S, TRIES, Giver, Orders
from ..halting import HALT_KEY, Halts
from .network import Mail
from .process import Process
from .store import Value
from .timeline import START

if TYPE_CHECKING:
    from .world import World

__all__ = ["Admins", "Device"]

_ASK_S: Final = 2.0
"""How long the store may take to answer an admin."""
_AGAIN_S: Final = 3.0
"""After that an admin whose order was not stored gives it again."""
_DAY_S: Final = 86_400
_MOST: Final = 3
"""Halts in one world."""
_RACE: Final = 0.3
"""Share of the orders at which a second admin gives one at nearly the same time, half of them the opposite."""


def _seed(label: str) -> bytes:
    return hashlib.sha256(f"sim {label}".encode()).digest()


@functools.cache
def _founded() -> tuple[Charter, SigningKey]:
    """The swarm's charter, and the key of its issuer."""
    root, issuer = SigningKey.from_seed(_seed("root")), SigningKey.from_seed(_seed("issuer"))
    grant = IssuerGrant(
        pub=issuer.public,
        box=BoxKey.from_seed(_seed("issuer box")).public,
        roles=["admin"],
        zones=[],
        max_ttl=7 * _DAY_S,
        exp=int(START) + 3_650 * _DAY_S,
    )
    server = BusServer(url="tls://127.0.0.1:4747", ca_spki=_seed("bus"))
    genesis = found_charter(name="sim", root=root, issuers=[grant], bus=[server])
    return verify_chain([genesis], swarm_id_of(genesis[FRAME_BYTES : read_head(genesis).body_end])), issuer


class Device:
    """One device's part: what it knows of orders, over all lives of its process."""

    def __init__(self, world: World, process: Process, room: Callable[[], bool] = lambda: True) -> None:
        self.halts = Halts()
        self._world = world
        self._process = process
        self._room = room
        self._file: bytes | None = None
        self._orders: Orders | None = None
        self._asked = 0
        self._opened: Callable[[], None] | None = None
        """What waits for the first answer, or for want of one."""

    def begin(self, opened: Callable[[], None], working: Callable[[], int] | None = None) -> None:
        """A life of the process starts: `opened` is called when it may do what it does."""
        self.halts = Halts()
        if not self._world.admins:
            opened()
            return
        self._world.stops.begun(self._process.name, working)
        self._orders = Orders(self.halts, lambda: _founded()[0], lambda: None, self._keep)
        self._orders.restored(self._file)
        self.halts.set_sure(False)
        self._opened = opened
        self._ask()

    def lost(self) -> None:
        """The process is gone."""
        self._orders = self._opened = None
        self._world.stops.over(self._process.name)

    def come_back(self) -> None:
        """The connection is there again."""
        if self._orders is not None:
            self._world.stops.connected(self._process.name)
            self._orders.moved()
            self._ask()

    def said(self, items: Sequence[Item]) -> None:
        """Orders came over the bus."""
        for item in items:
            if self._orders is not None and isinstance(item, Halt):
                self._world.stops.reached(self._process.name, item.halt)
                self._orders.said(item)
                self._handled()

    def _ask(self) -> None:
        self._asked += 1
        number, process = self._asked, self._process
        life = process.life
        self._world.store.get(
            process.peer, HALT_KEY, lambda value: process.in_life(life, self._answered, number, value)
        )
        process.later(PATIENCE_S, self._unanswered, number)

    def _answered(self, number: int, value: Value | None) -> None:
        if number != self._asked or self._orders is None:
            return
        self._asked += 1  # the wait for this answer is over
        stops, name = self._world.stops, self._process.name
        stops.asked(name)
        if value is not None:
            stops.reached_stored(name, value.data)
        self._orders.answered(None if value is None else value.data)
        self._handled()
        self._open()
        self._process.later(LOOK_S, self._look, self._asked)

    def _unanswered(self, number: int) -> None:
        if number == self._asked and self._orders is not None:
            self._asked += 1
            self._orders.unanswered()
            self._open()
            self._process.later(RETRY_S, self._look, self._asked)

    def _open(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and self._process.alive:
            opened()

    def _look(self, number: int) -> None:
        if number == self._asked and self._orders is not None:
            self._ask()

    def _handled(self) -> None:
        if self._process.alive:
            self._world.stops.handled(self._process.name, room=self._room())

    def _keep(self, stored: bytes) -> None:
        if self._room():
            self._file = stored


class Admins:
    """Two people who may halt the swarm, and when they do. False when nobody does."""

    def __init__(self, world: World) -> None:
        faults = world.faults
        self.wanted = 0
        """Number of the newest decision of all."""
        self._world = world
        self._rng = random.Random(f"halts {world.seed}")  # noqa: S311 - a simulation must be repeatable
        some = faults.until_s > 0 and self._rng.random() < faults.halts
        self._all = [_Admin(world, self, f"a{number}") for number in range(2)] if some else []

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def ears(self) -> list[Any]:
        """Their links: they hear what nodes say of themselves."""
        return [admin.peer for admin in self._all]

    def arrange(self) -> None:
        """Put what they do into the world's future."""
        if not self._all:
            return
        faults, rng, at = self._world.faults, self._rng, self._world.timeline.at
        for admin in self._all:
            self._world.network.begin(admin.peer)
        for _ in range(rng.randint(1, _MOST)):
            begin = rng.uniform(0.1, faults.until_s * 0.9)
            end = min(faults.until_s, begin + rng.uniform(0.05, 1.0) * faults.halt_s)
            for when, on in ((begin, True), (end, False)):
                first, second = rng.sample(self._all, 2)
                at(when, self._want, first, on)
                if rng.random() < _RACE and when + 0.03 < faults.until_s:
                    at(when + rng.uniform(0, 0.03), second.give, on if rng.random() < 0.5 else not on)
        at(faults.until_s, self._want, self._all[0], False)

    def _want(self, admin: _Admin, on: bool) -> None:
        self.wanted += 1
        admin.give(on)


class _Admin:
    """One of them, with the device in front of him."""

    def __init__(self, world: World, admins: Admins, name: str) -> None:
        self._world = world
        self._admins = admins
        self._name = name
        self.peer = world.network.join(name, frozenset({"admin"}), self._hear, 0.0)
        self._key = SigningKey.from_seed(_seed(name))
        self._home: bytes | None = None
        self._orders = Orders(Halts(), lambda: _founded()[0], lambda: None, self._keep)
        self._giver: Giver | None = None
        self._wanted = 0
        self._tries = 0
        self._step = 0
        """Of what is asked of the store; what comes later than the next step counts for nothing."""

    def give(self, on: bool) -> None:
        """Give an order, again and again until it is stored."""
        charter, issuer = _founded()
        certificate = issue(
            charter,
            issuer,
            serial=_seed(self._name)[:8],
            sig=self._key.public,
            box=BoxKey.from_seed(_seed(f"{self._name} box")).public,
            bus=SigningKey.from_seed(_seed(f"{self._name} bus")).public,
            name=self._name,
            roles=["admin"],
            now_s=self.peer.clock.wall(),
        )
        self._giver = Giver(charter, self._key, certificate, on=on)
        self._giver.known(self._home)
        self._wanted = self._admins.wanted
        self._tries = 0
        self._read()

    def _next(self) -> int:
        self._step += 1
        return self._step

    def _read(self) -> None:
        step = self._next()
        self._tries += 1
        self._world.store.get(self.peer, HALT_KEY, lambda value: self._found(step, value))
        self._world.timeline.at(_ASK_S, self._silent, step)

    def _found(self, step: int, value: Value | None) -> None:
        if step != self._step or self._giver is None:
            return
        if value is not None:
            self._giver.known(value.data)
        self._say()
        step = self._next()
        revision = value.revision if value is not None else 0
        self._world.store.put(
            self.peer, HALT_KEY, self._giver.stored(), revision, lambda told: self._put(step, told)
        )
        self._world.timeline.at(_ASK_S, self._not_stored, step)

    def _silent(self, step: int) -> None:
        if step == self._step:
            self._say()
            self._not_stored(step)

    def _say(self) -> None:
        world, giver = self._world, self._giver
        assert giver is not None
        item = giver.sign(self.peer.clock.wall())
        world.timeline.note(self._name, f"{'halts' if giver.on else 'lifts'} {giver.n}")
        world.stops.given(item.halt, giver.n, on=giver.on)
        everybody = [actor.peer for actor in (*world.coordinators, *world.agents)]
        world.network.send(self.peer, [*everybody, *self._admins.ears], subjects.control(), "", [item], 60)

    def _put(self, step: int, told: str) -> None:
        if step != self._step or self._giver is None:
            return
        self._next()
        if told == "conflict" and self._tries < TRIES and self._wanted == self._admins.wanted:
            self._giver.overtaken()
            self._read()
        elif told != "ok":
            self._not_stored(self._step)

    def _not_stored(self, step: int) -> None:
        if step == self._step:
            self._world.timeline.at(_AGAIN_S, self._again, self._next())

    def _again(self, step: int) -> None:
        if step == self._step and self._wanted == self._admins.wanted and self._giver is not None:
            self.give(self._giver.on)

    def _hear(self, mail: Mail) -> None:
        for item in mail.items:
            if isinstance(item, Halt):
                self._orders.said(item)
            elif isinstance(item, Heartbeat) and self._giver is not None and self._giver.contradicted(item):
                self._giver.overtaken()
                self._tries = 0
                self._read()

    def _keep(self, stored: bytes) -> None:
        self._home = stored
