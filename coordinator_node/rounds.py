"""From waiting work to an award: what is announced to whom, and what follows from the answers. A part of the engine.

Rules. A round asks everybody who offers the capability, or a drawn few; nodes that failed a subtask are left out while somebody else could do it. A round
without a winner is tried again a little later when somebody is only busy or said nothing, and after a few plain refusals given up.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from protocol.messages import Reject, Withdraw
from protocol.records import SubtaskFailed, Unbid

from .auction import Decision, Key, Round
from .closing import nobody
from .desk import Desk
from .market import Seller
from .offers import AWARD_BYTES_MAX, FILES_MAX, award_bytes, award_files
from .offers import announce as offer
from .orders import AnswersReceived, Say, SayAll
from .state import SubtaskState

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Rounds"]

_UNBID_ROUNDS = 3
"""Rounds in which everybody says no for good before a subtask is given up: somebody may join meanwhile."""


class Rounds:
    """The part of an engine that finds sellers."""

    def __init__(self, engine: Engine, rng: random.Random) -> None:
        self._engine = engine
        self._rng = rng

    def announce(self) -> None:
        """Put up what is waiting, as much as there is room for."""
        for capability, keys in self._engine.scheduler.pick(self._engine.now):
            groups: dict[frozenset[str], list[Key]] = {}
            for key in keys:
                subtask = self._engine.desks[key[0]].state.subtasks[key[1]]
                groups.setdefault(self._avoid(subtask, capability), []).append(key)
            for avoid, group in groups.items():
                self._open_all(capability, group, avoid)

    def _avoid(self, subtask: SubtaskState, capability: str) -> frozenset[str]:
        """Nodes that have failed it, as long as somebody else could do it."""
        if not subtask.attempts:
            return frozenset()
        failed = frozenset(subtask.failures())
        offering = self._engine.market.able(capability)
        declined = subtask.unbid_rounds > 0
        return frozenset() if declined or all(node in failed for node in offering) else failed

    def _open_all(self, capability: str, keys: list[Key], avoid: frozenset[str]) -> None:
        """Ask everybody; or, where they are many, others for each lot of as many subtasks as they could begin."""
        while keys:
            asked, everybody = self._engine.market.ask(capability, avoid, self._rng)
            count = len(keys)
            if not everybody:
                count = sum(seller.info.slots[capability] for seller in asked)
            everybody = (
                everybody and not avoid and len(asked) == len(self._engine.market.offering(capability))
            )
            self._open(capability, keys[:count], asked, everybody=everybody)
            keys = keys[count:]

    def hedge(self, desk: Desk, subtask: SubtaskState) -> None:
        """Look for a second node beside one that is late."""
        capability = subtask.skeleton.capability
        avoid = frozenset(subtask.failures()) | {attempt.node for attempt in subtask.held}
        asked, _ = self._engine.market.ask(capability, avoid, self._rng)
        if asked:
            key = (desk.run, subtask.skeleton.id)
            self._open(capability, [key], asked, everybody=False, hedge=True)

    def _open(
        self,
        capability: str,
        keys: list[Key],
        asked: list[Seller],
        *,
        everybody: bool,
        hedge: bool = False,
    ) -> None:
        window_s = self._engine.market.window_s(asked)
        batch = self._engine.auction.batch(asked, self._engine.now)
        waiting = self._engine.auction.waited_for(batch)
        rounds = []
        for key in keys:
            desk = self._engine.desks[key[0]]
            subtask = desk.state.subtasks[key[1]]
            if not hedge and (self._too_large(desk, subtask) or self._engine.purse.holds_back(desk, key[1])):
                continue
            number = desk.next_round()
            deadline_ms = self._engine.purse.deadline_ms(desk, subtask)
            item = offer(
                desk.state,
                desk.content_known,
                subtask,
                number=number,
                window_s=window_s,
                deadline_ms=deadline_ms,
            )
            rounds.append(
                Round(
                    key=key,
                    capability=capability,
                    number=number,
                    deadline_ms=item.deadline_ms,
                    input_bytes=item.input_bytes,
                    failed=subtask.failures(),
                    everybody=everybody,
                    batch=batch,
                    waiting=set(waiting),
                )
            )
            self._engine.market.fly(capability, +1)
            if everybody:
                self._engine.command(SayAll(key[0], capability, item))
            else:
                for seller in asked:
                    self._engine.command(Say(key[0], seller.info.bus_key, item))
        self._engine.auction.open(rounds, batch, window_s)

    def _too_large(self, desk: Desk, subtask: SubtaskState) -> bool:
        """Give up what could not even be said: an award that names more files than fit into a message."""
        content, name = desk.content_known, subtask.skeleton.id
        count = award_files(desk.state, subtask, content)
        if count > FILES_MAX:
            message = (
                f"it would be given {count:,} files, and {FILES_MAX:,} is the most. Work on fewer at a time"
            )
        elif (size := award_bytes(desk.state, subtask, content)) > AWARD_BYTES_MAX:
            message = (
                f"its parameters and the names of its {count:,} files take {size >> 10:,} KiB,"
                f" and {AWARD_BYTES_MAX >> 10:,} is the most. Work on fewer at a time, or use shorter names"
            )
        else:
            return False
        self._engine.emit(
            desk, SubtaskFailed(at_ms=self._engine.at_ms, subtask=name, code="E_TOO_LARGE", message=message)
        )
        self._engine.ended(desk, name)
        return True

    def answered(self, event: AnswersReceived) -> None:
        """A node answered announcements."""
        if event.run not in self._engine.desks:
            return
        late = self._engine.auction.answered(
            event.run, event.node, event.bus_key, event.items, event.digest, self._engine.now
        )
        for bid in late:
            reject = Reject(subtask=bid.subtask, round=bid.round, reason="late")
            self._engine.command(Say(event.run, event.bus_key, reject))

    def decide(self, decision: Decision) -> None:
        """A round has ended: award, try again, or give up."""
        one = decision.round
        run, name = one.key
        desk = self._engine.desks[run]
        subtask = desk.state.subtasks[name]
        if subtask.status == "awarded" and not (decision.ranked and self._engine.hedges.wanted(desk, name)):
            self._engine.market.fly(one.capability, -1)
            self._withdrawn(one)
            return
        if decision.ranked:
            winner = self._engine.award_to(
                desk, subtask, one.number, decision.ranked, decision.notes, decision.reason
            )
            if winner is not None:
                self._engine.scheduler.took(one.capability)
            for loser in decision.ranked:
                if loser is winner:
                    continue
                reject = Reject(subtask=name, round=one.number, reason="outbid" if winner else "withdrawn")
                self._engine.command(Say(run, loser.bus_key, reject))
            return
        self._engine.market.fly(one.capability, -1)
        if (busy := one.busy_note) or decision.crowded:
            self._withdrawn(one)
            why = f"{self._engine.market.name(busy.node)}: {busy.detail or busy.code}" if busy else ""
            self._engine.scheduler.full(one.capability, self._engine.now, why)
            self._engine.add(desk, name)
        elif one.unanswered:
            self._engine.add(desk, name, pause=True)
        elif note := one.unpaid:
            self._engine.purse.give_up(desk, name, f"{self._engine.market.name(note.node)}: {note.detail}")
        else:
            notes = list(one.declines.values())[:64]
            self.unbid(
                desk,
                subtask,
                Unbid(
                    at_ms=self._engine.at_ms, subtask=name, round=one.number, asked=one.asked, declines=notes
                ),
                last=subtask.unbid_rounds + 1 >= _UNBID_ROUNDS,
            )

    def _withdrawn(self, one: Round) -> None:
        """Its bids are not needed after all."""
        for candidate in one.bids.values():
            reject = Reject(subtask=one.key[1], round=one.number, reason="withdrawn")
            self._engine.command(Say(one.key[0], candidate.bus_key, reject))

    def unbid(self, desk: Desk, subtask: SubtaskState, record: Unbid, *, last: bool) -> None:
        """Nobody will do it: write that down, and give up or try again."""
        self._engine.emit(desk, record)
        if last:
            self._engine.give_up(desk, nobody(subtask, self._engine.market, self._engine.at_ms))
        else:
            self._engine.add(desk, record.subtask, pause=True)

    def withdraw(self, one: Round) -> None:
        """An announcement no longer holds."""
        item = Withdraw(subtask=one.key[1], round=one.number)
        if one.everybody:
            self._engine.command(SayAll(one.key[0], one.capability, item))
        else:
            for seller in one.batch.asked.values():
                self._engine.command(Say(one.key[0], seller.info.bus_key, item))
