"""What nodes say about their attempts, or do not say in time, and what follows from it: a part of the engine.

Rules. A message counts only if it names the attempt that holds, from the node that holds it. An ending that comes a second time is acknowledged the
same way and changes nothing; one of an attempt that no longer holds is late: written once, acknowledged, never applied (`late`). A result counts
when its check says so, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from protocol.messages import (
    Cancelled,
    Confirm,
    Failed,
    NamedRef,
    Progress,
    Refuse,
    Result,
    ResultAck,
    Started,
    Usage,
)
from protocol.messages.work import WorkState
from protocol.records import Accepted, AttemptFailed, AttemptMoved, Refused, Rejected

from .auction import noted
from .budget_view import usage_view
from .closing import BLAMELESS
from .desk import Desk
from .late import Late
from .orders import CheckResult, ResultChecked, Say, ShowProgress, WorkReceived
from .watch import PERSON_MAX_S, Due, Live

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Work"]

_MOVES_FREE: Final = 20
_MOVE_EVERY_S: Final = 30.0
"""So many changes of state of one attempt are written, and one more each so many seconds."""


def _stopping(desk: Desk, live: Live) -> bool:
    """Whether the run, or this subtask of it, was asked to stop."""
    return desk.state.status != "open" or desk.state.subtasks[live.key[1]].cancelling


class Work:
    """The part of an engine that deals with workers. It keeps nothing of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._late = Late(engine)

    def received(self, event: WorkReceived) -> None:
        """One envelope of one node."""
        desk = self._engine.desks.get(event.run)
        if desk is None:
            self._late.unknown(event)
            return
        for item in event.items:
            if self._of_next_owner(desk, item):
                continue
            live = self._engine.watch.get((event.run, item.subtask), item.attempt)
            if live is None or not live.fits(item.attempt, item.epoch, event.node):
                self._stale(desk, event, item)
            elif isinstance(item, Result):
                self._result(desk, live, item)
            elif isinstance(item, (Confirm, Started, Progress)):
                self._moved(desk, live, item)
            elif isinstance(item, Refuse):
                self._refused(desk, live, item)
            elif isinstance(item, Failed):
                self._failed(desk, live, item)
            else:
                self._cancelled(desk, live, item)

    def _of_next_owner(self, desk: Desk, item: Any) -> bool:
        """Whether somebody who has taken the run since awarded this: what we answered would undo it (OWN-4)."""
        if item.epoch <= desk.state.epoch:
            return False
        self._engine.refused["E_EPOCH"] += 1
        return True

    def checked(self, event: ResultChecked) -> None:
        """The check of a result has come to an end."""
        desk = self._engine.desks.get(event.run)
        live = self._engine.watch.get((event.run, event.subtask), event.attempt)
        if desk is None or live is None or live.result is None:
            return
        if (event.attempt, event.epoch) != (live.attempt, live.epoch):
            return
        if _stopping(desk, live):
            self._stopped(desk, live, live.result.used, applied=False)
        elif event.reason:
            self._rejected(desk, live, event.reason)
        else:
            self._accept(desk, live, live.result)

    # --- the attempt that holds ---

    def _moved(self, desk: Desk, live: Live, item: Confirm | Started | Progress) -> None:
        engine = self._engine
        if isinstance(item, Progress):
            if live.checking:
                return
            engine.purse.heard(desk, live, item.used)
            before, waited = live.state, live.state != "working"
            changed = engine.watch.progress(live, item, engine.now)
            if waited != (live.state != "working"):
                engine.market.wait(live.capability, -1 if waited else +1)
            self._waits(desk, live, item, before, changed=changed)
            data: dict[str, Any] = {
                "step": item.step,
                "fraction": item.fraction,
                "note": item.note,
                "state": item.state,
                "wait_ms": item.wait_ms,
                "used": usage_view(item.used),
            }
            engine.command(ShowProgress(desk.run, item.subtask, live.node, "attempt.progress", data))
            return
        engine.watch.taken(live, engine.now, started=isinstance(item, Started))
        if isinstance(item, Started):
            data = {"attempt": item.attempt}
            engine.command(ShowProgress(desk.run, item.subtask, live.node, "attempt.started", data))

    def _waits(self, desk: Desk, live: Live, item: Progress, before: WorkState, *, changed: bool) -> None:
        """What follows when work begins or ceases to wait: a record for each change, and no awards for who is at a limit."""
        engine = self._engine
        if item.state == "limited":
            engine.market.limit(live.node, live.capability, live.wait_until)
        elif changed and before == "limited":
            # Only what met the limit can show that it has passed, not whoever begins or ceases to wait for a person.
            engine.unlimited(live.node, live.capability)
        attempt = desk.state.subtasks[item.subtask].attempts[live.attempt - 1]
        # Many changes in a short time are shown, but not written: the journal is not for rent.
        most = _MOVES_FREE + (engine.now - live.awarded_at) / _MOVE_EVERY_S
        if item.state != attempt.state and live.moves < most and not _stopping(desk, live):
            live.moves += 1
            engine.emit(
                desk,
                AttemptMoved(
                    at_ms=engine.at_ms,
                    subtask=item.subtask,
                    attempt=live.attempt,
                    epoch=live.epoch,
                    node=live.node,
                    state=item.state,
                    wait_ms=item.wait_ms,
                    note=item.note,
                ),
            )

    def _result(self, desk: Desk, live: Live, item: Result) -> None:
        if live.checking:
            return
        if live.state == "limited":
            self._engine.unlimited(live.node, live.capability)
        if _stopping(desk, live):
            self._stopped(desk, live, item.used, applied=False)
            return
        schema = desk.content_known.of(item.subtask).output_schema
        if schema is None and not item.outputs:
            self._accept(desk, live, item)
            return
        live.result = item
        self._engine.watch.check(live)
        self._engine.command(
            CheckResult(desk.run, item.subtask, item.attempt, item.epoch, item.outputs, schema)
        )

    def _accept(self, desk: Desk, live: Live, item: Result) -> None:
        engine = self._engine
        for other in engine.watch.of(live.key):
            if other is not live:
                self._superseded(desk, other)
        engine.hedges.accepted(live)
        engine.end_live(live)
        engine.emit(
            desk,
            Accepted(
                at_ms=engine.at_ms,
                subtask=item.subtask,
                attempt=item.attempt,
                epoch=item.epoch,
                node=live.node,
                outputs=item.outputs,
                wall_ms=item.wall_ms,
                cpu_ms=item.cpu_ms,
                used=engine.purse.said(live, item.used),
            ),
        )
        self._ack(desk, live, applied=True)
        engine.ended(desk, item.subtask)

    def _superseded(self, desk: Desk, live: Live) -> None:
        """Another attempt was faster: this one stops, and what it says from now on is late."""
        why = "another node was faster"
        self._engine.say_cancel(live, why)
        self._end(desk, live, "E_SUPERSEDED", why, self._engine.purse.lost(desk, live))

    def _rejected(self, desk: Desk, live: Live, reason: str) -> None:
        engine = self._engine
        engine.end_live(live)
        engine.emit(
            desk,
            Rejected(
                at_ms=engine.at_ms,
                subtask=live.key[1],
                attempt=live.attempt,
                epoch=live.epoch,
                node=live.node,
                reason=reason[:2000],
                used=engine.purse.said(live, live.result.used if live.result else Usage()),
            ),
        )
        self._ack(desk, live, applied=False)
        engine.retry(desk, desk.state.subtasks[live.key[1]], pause=True)

    def _failed(self, desk: Desk, live: Live, item: Failed) -> None:
        if item.retry_ms and item.retryable:
            self._engine.market.limit(live.node, live.capability, self._engine.now + item.retry_ms / 1000)
        if _stopping(desk, live):
            self._stop(desk, live, self._spent(desk, live, item))
            self._ack(desk, live, applied=True)
            return
        self._over(desk, live, item, item.code, item.message, retryable=item.retryable)

    def _cancelled(self, desk: Desk, live: Live, item: Cancelled) -> None:
        if _stopping(desk, live):
            self._stopped(desk, live, item.used, applied=True)
            return
        self._over(desk, live, item, "E_CANCELLED", "its node stopped it", retryable=True)

    def _spent(self, desk: Desk, live: Live, item: Failed | Cancelled) -> Usage:
        """What an attempt used that its node says the end of: all of it, if its process was restarted and does not know."""
        purse = self._engine.purse
        forgot = isinstance(item, Failed) and item.code == "E_RESTARTED"
        return purse.lost(desk, live) if forgot else purse.said(live, item.used)

    def _over(
        self, desk: Desk, live: Live, item: Failed | Cancelled, code: str, message: str, *, retryable: bool
    ) -> None:
        partial = item.partial or live.partial
        used = self._spent(desk, live, item)
        retry_ms = item.retry_ms if isinstance(item, Failed) else 0
        self._end(desk, live, code, message, used, retryable=retryable, partial=partial, retry_ms=retry_ms)
        self._ack(desk, live, applied=True)
        self._engine.retry(desk, desk.state.subtasks[live.key[1]], pause=code not in BLAMELESS)

    def _refused(self, desk: Desk, live: Live, item: Refuse) -> None:
        engine = self._engine
        if _stopping(desk, live):
            self._stop(desk, live, Usage())
            return
        engine.end_live(live)
        engine.emit(
            desk,
            Refused(
                at_ms=engine.at_ms,
                subtask=item.subtask,
                attempt=item.attempt,
                epoch=item.epoch,
                node=live.node,
                code=item.code,
                detail=item.detail,
            ),
        )
        subtask = desk.state.subtasks[item.subtask]
        if subtask.status == "awarded":
            return
        standing = [
            bid
            for bid in live.runners
            if engine.now <= bid.at + bid.bid.valid_ms / 1000
            and engine.market.slots(bid.node, live.capability)
            and not engine.market.limited(bid.node, live.capability)
        ]
        if standing and not (desk.state.paused or engine.halted):
            engine.market.fly(live.capability, +1)
            reason = f"next best: {engine.market.name(live.node)} refused ({item.code})"
            engine.award_to(desk, subtask, live.round, standing, noted(standing), reason)
        else:
            engine.add(desk, item.subtask, pause=True)

    def _stopped(self, desk: Desk, live: Live, used: Usage, *, applied: bool) -> None:
        """An attempt of a cancelled run or subtask has ended, however."""
        self._stop(desk, live, self._engine.purse.said(live, used))
        self._ack(desk, live, applied=applied)

    def _stop(self, desk: Desk, live: Live, used: Usage) -> None:
        """Nothing runs of this attempt any more; with the last one its subtask has ended."""
        if self._engine.watch.of(live.key) == [live]:
            self._engine.end_live(live)
            self._engine.cancelled(desk, live.key[1], used)
        else:
            self._end(desk, live, "E_CANCELLED", "stopped as asked", used)

    def _end(
        self,
        desk: Desk,
        live: Live,
        code: str,
        message: str,
        used: Usage,
        *,
        retryable: bool = True,
        partial: Sequence[NamedRef] = (),
        retry_ms: int = 0,
    ) -> None:
        """An attempt has ended without a result: the only writer of that."""
        self._engine.end_live(live)
        self._engine.emit(
            desk,
            AttemptFailed(
                at_ms=self._engine.at_ms,
                subtask=live.key[1],
                attempt=live.attempt,
                epoch=live.epoch,
                node=live.node,
                code=code,
                message=message,
                retryable=retryable,
                used=used,
                partial=list(partial),
                retry_ms=retry_ms,
            ),
        )

    def _ack(self, desk: Desk, live: Live, *, applied: bool) -> None:
        ack = ResultAck(subtask=live.key[1], attempt=live.attempt, epoch=live.epoch, applied=applied)
        self._engine.command(Say(desk.run, live.bus_key, ack))

    # --- silence ---

    def overdue(self, live: Live, what: Due) -> None:
        """Nothing was heard of an attempt for too long."""
        desk = self._engine.desks[live.key[0]]
        if what == "resend":
            if live.cancelled_at is not None:
                self._engine.say_cancel(live)
            else:
                self._engine.say_award(live)
            self._engine.watch.resent(live, self._engine.now)
        elif what == "gone":
            self._stop(desk, live, self._engine.purse.lost(desk, live))
        elif what == "deadline":
            self._engine.say_cancel(live)
            self.fail(
                desk,
                live,
                "E_DEADLINE",
                f"not done within {live.deadline_s:g} s, and the node does not say so",
            )
        elif what == "person":
            self._engine.say_cancel(live)
            self.fail(
                desk, live, "E_PERSON", f"it waited {PERSON_MAX_S / 86_400:g} days for a person: {live.note}"
            )
        else:
            self._engine.say_cancel(live)
            self._engine.market.doubt(live.node)
            self._engine.auction.doubt(live.node)
            silent = self._engine.watch.silent_s(live, self._engine.now)
            alive = "its node is alive but " if live.node in self._engine.market.sellers else ""
            code, said = "E_LEASE", "the work has not moved"
            if not live.taken:
                # Of one that was awarded by an owner before us nobody knows here whether it was taken.
                code = "E_LEASE" if live.restored else "E_NOT_TAKEN"
                said = "nothing was heard of the work" if live.restored else "the award was not taken"
            self.fail(desk, live, code, f"{alive}{said} for {silent:.0f} s")

    def fail(self, desk: Desk, live: Live, code: str, message: str) -> None:
        """An attempt is over without its node having said so."""
        used = self._engine.purse.lost(desk, live)
        if _stopping(desk, live):
            self._stop(desk, live, used)
            return
        self._end(desk, live, code, message, used, partial=live.partial)
        self._engine.retry(desk, desk.state.subtasks[live.key[1]], pause=False)

    def cut_off(self, desk: Desk, live: Live, why: str) -> None:
        """The run has no time left for an attempt: it is stopped, which says nothing about its node, and not tried again."""
        self._engine.say_cancel(live, why[:200])
        used = self._engine.purse.lost(desk, live)
        if _stopping(desk, live):
            self._stop(desk, live, used)
        else:
            self._end(desk, live, "E_CANCELLED", why, used, partial=live.partial)

    def _stale(self, desk: Desk, event: WorkReceived, item: Any) -> None:
        self._late.stale(desk, event, item)
