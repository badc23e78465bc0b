"""Shell: watches runs over the bus: events as they come, pages of the journal for what was missed, until a run ends or its watcher goes.

Rules. The bus may lose anything, restart, and lose the coordinator: `watching` says what is missing, and this file asks until somebody answers, for
`patience_s` at most. After a reconnect, and after some silence, it asks as well, since what was lost last leaves no gap to see. A consumer that is slower than
the swarm is not drowned: what does not fit is left out and fetched from the journal when there is room. Counterparts: `watching_wire` hears and asks,
`watching_pages` answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

from mesh.endpoint import CallFailed, Endpoint
from mesh.errors import MeshError
from mesh.tasks import background
from protocol.errors import ZwermError
from protocol.messages import Event, ListRuns

from .watching import Ask, Listed, OneFeed, SwarmFeed, Told
from .watching_wire import ASK_S, Ears, fetch_page, passing

__all__ = ["WatchLost", "Watcher"]

log = logging.getLogger("zwerm.watching")

_FIRST_S: Final = 10.0
"""A swarm that has not answered at all yet is waited for this long."""
_PAUSE_FIRST_S: Final = 0.2
_PAUSE_MAX_S: Final = 2.0
_SILENCE_S: Final = 2.0
"""After so long without a word the coordinator is asked whether something was missed ..."""
_SILENCE_MAX_S: Final = 15.0
"""... then less and less often, down to this."""
_BACKLOG_MAX: Final = 5_000
"""Events that wait for their consumer; what is beyond is fetched again later."""
_ROOM: Final = _BACKLOG_MAX // 2
_LISTED: Final = 100


class WatchLost(MeshError):
    """The swarm cannot be watched any more; the runs go on without their watcher."""

    definite = False
    retryable = True

    def __init__(self, code: str, why: str, resume: str) -> None:
        super().__init__(code, why, f"The run goes on without its watchers. {resume}")


class Watcher:
    """Tells the events of one run, or of all, each durable one once and in order. Use as an async context; iterate, or call `next`.

    Args:
        endpoint: the connection, under a role that may watch (client, observer).
        run: the run's whole id (`find_run`); None: all runs, from now on.
        after: tell what is behind this number.
        follow: go on until the run has ended; otherwise until all that is there now was told.
        patience_s: how long the swarm may give no answer; None: for ever.
        known: it has answered before, and the run exists; otherwise it gets 10 s to say a first word.
        ears: shared by all watchers of the connection.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        run: str | None,
        *,
        after: int = 0,
        follow: bool = True,
        patience_s: float | None = 60.0,
        known: bool = False,
        ears: Ears | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.seq = after
        """Number of the last durable event that the consumer has (of the one run)."""
        self._run = run
        self._feed: OneFeed | SwarmFeed = SwarmFeed() if run is None else OneFeed(run, after)
        self._follow = follow
        self._patience_s = patience_s
        self._known = known
        self._ears = ears
        self._stack = AsyncExitStack()
        self._told: deque[Told] = deque()
        self._some, self._wake = asyncio.Event(), asyncio.Event()
        self._check_now = True
        self._checked_at = self._spoke_at = 0.0
        self._failing_since: float | None = None
        self._stuck_since: float | None = None
        self._moved = False
        self._over = False
        self._failure: ZwermError | None = None
        self._listed = _LISTED

    async def __aenter__(self) -> Self:
        self._checked_at = self._spoke_at = self._now()
        try:
            if self._follow:
                ears = self._ears or Ears(self.endpoint)
                await self._stack.enter_async_context(
                    ears.open(self._run, self._on_events, self._on_connected)
                )
            await self._stack.enter_async_context(background(self._keep()))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # --- the consumer's side ---

    @property
    def begun(self) -> bool:
        """Whether it is known what there was before: of all runs, everything that happens from here on is told."""
        return self._feed.begun

    @property
    def ended(self) -> bool:
        """Whether everything was told and nothing more will come."""
        return self._over and not self._told and self._failure is None

    async def ready(self) -> None:
        """Return when it has `begun`, or when it never will (then the next call of `next` says why)."""
        while not self.begun and not self._over:
            self._some.clear()
            await self._some.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Told:
        told = await self.next()
        if told is None:
            raise StopAsyncIteration
        return told

    async def next(self, timeout_s: float | None = None) -> Told | None:
        """The next event; None when there is none within the time, or when nothing more will come (`ended`).

        Raises:
            WatchLost: the swarm gave no answer for `patience_s`, or an event cannot be had.
            CallFailed: the coordinator says no: there is no such run, or its journal is damaged.
        """
        # A look without waiting must not wait at all: Python 3.11 takes a cancellation that came just before `timeout(0)` for the time-out.
        if timeout_s != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    while not self._told and not self._over:
                        self._some.clear()
                        await self._some.wait()
        if self._told:
            told = self._told.popleft()
            if not told.event.volatile:
                self.seq = told.event.seq
            if len(self._told) == _ROOM:
                self._wake.set()
            return told
        if self._failure is not None:
            raise self._failure
        return None

    # --- the swarm's side ---

    def _on_events(self, run: str, events: list[Event]) -> None:
        self._spoke_at, self._failing_since = self._now(), None
        if len(self._told) >= _BACKLOG_MAX:
            self._feed.exists(run, max(event.seq for event in events))
            return
        self._tell(self._feed.live(run, events))
        if self._feed.asks or self._feed.ended:
            self._wake.set()

    def _on_connected(self) -> None:
        self._check_now = True
        self._wake.set()

    def _tell(self, told: list[Told]) -> None:
        if told:
            self._moved = True
            self._told += told
            self._some.set()

    async def _keep(self) -> None:
        """Ask for what is missing, until everything was told or nobody answers."""
        pause = _PAUSE_FIRST_S
        try:
            while not self._feed.ended:
                wait_s = pause
                self._wake.clear()
                if (left := self._until_due()) > 0:
                    wait_s = left
                elif await self._ask():
                    if not self._follow and not self._feed.asks:
                        return
                    pause = _PAUSE_FIRST_S
                    if self._stuck_since is None:
                        continue
                else:
                    pause = min(_PAUSE_MAX_S, pause * 2)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
        except ZwermError as error:
            self._failure = error
        except Exception as error:
            # Never an end that looks like the run's.
            self._failure = self._lost("E_INTERNAL", f"the watcher failed: {error!r}")
            raise
        finally:
            self._over = True
            self._some.set()

    def _until_due(self) -> float:
        """How long there is nothing to ask."""
        if len(self._told) > _ROOM:
            return _SILENCE_MAX_S  # its consumer wakes us
        if self._feed.asks or self._check_now or not self._feed.begun:
            return 0.0
        now = self._now()
        silence = (
            _SILENCE_MAX_S
            if self._run is None
            else min(_SILENCE_MAX_S, max(_SILENCE_S, (now - self._spoke_at) / 4))
        )
        return max(self._checked_at, self._spoke_at if self._run else 0.0) + silence - now

    async def _ask(self) -> bool:
        """Ask for what is missing, or whether something is; False when that has to be done again after a pause."""
        self._moved = False
        try:
            asks = self._feed.asks
            if not asks or not self._feed.begun:
                if isinstance(self._feed, SwarmFeed):
                    await self._list(self._feed)
                asks = self._feed.checks
                self._check_now = False
                self._checked_at = self._now()
            for ask in asks:
                await self._page(ask)
        except MeshError as error:
            self._check_now = True
            self._failed(error)
            return False
        self._failing_since, self._known = None, True
        if self._moved or not self._feed.asks:
            self._stuck_since = None
        elif self._stuck_since is None:
            self._stuck_since = self._now()
        elif self._patience_s is not None and self._now() - self._stuck_since > self._patience_s:
            raise self._lost("E_EVENTS", f"the journal does not give event {self._feed.asks[0].after + 1}")
        return True

    async def _page(self, ask: Ask) -> None:
        try:
            page = await fetch_page(self.endpoint, ask.run, ask.after)
        except CallFailed as error:
            if isinstance(self._feed, SwarmFeed) and not passing(error):
                # One run that cannot be read must not end the watch of all others.
                log.info("run %s cannot be watched now: %s", ask.run[-6:], error)
                self._feed.aside(ask.run)
                return
            raise
        self._tell(self._feed.page(page))
        # Behind a page that was cut there may be more than we know of, also when the bus has brought us beyond it.
        self._check_now |= page.more

    async def _list(self, feed: SwarmFeed) -> None:
        try:
            reply = await self.endpoint.call("runs", ListRuns(limit=self._listed), timeout_s=ASK_S)
        except CallFailed as error:
            if error.code != "E_TOO_LARGE" or self._listed == 1:
                raise
            self._listed //= 2
            await self._list(feed)
            return
        entries: list[Any] = reply.data["runs"]  # type: ignore[assignment]
        runs = [Listed(entry["run"], entry.get("records", 0)) for entry in entries]
        self._tell(feed.listed(runs, whole=len(runs) < self._listed))
        self._some.set()  # also when there is nothing to tell: it has begun

    def _passing(self, error: MeshError) -> bool:
        """Whether asking again may help; a run that was there will be there again."""
        return passing(error) or (self._known and error.code == "E_NOT_FOUND")

    def _failed(self, error: MeshError) -> None:
        """Nobody answered; raises when that has lasted too long."""
        if not self._passing(error):
            raise error
        now = self._now()
        if self._failing_since is None:
            self._failing_since = now
        patience = (
            self._patience_s if self._known or self._patience_s is None else min(_FIRST_S, self._patience_s)
        )
        if patience is not None and now - self._failing_since > patience:
            raise self._lost(error.code, error.message) from error

    def _lost(self, code: str, why: str) -> WatchLost:
        if self._run is None:
            return WatchLost(code, f"the swarm cannot be watched: {why}", "`zwerm events -f` watches again.")
        short = self._run[-6:]
        resume = f"`zwerm events {short} -f --after {self.seq + len([one for one in self._told if not one.event.volatile])}` goes on where this stopped."
        return WatchLost(code, f"run {short} cannot be watched: {why}", resume)

    def _now(self) -> float:
        return self.endpoint.clock.monotonic()
