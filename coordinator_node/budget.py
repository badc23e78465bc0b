"""Who may spend how much, and what is spent or set aside: the ledger of all budgets. Pure: numbers in, numbers out.

    ledger.reserve(key, amounts, scopes) -> None, or the first account that has too little (`Short`)
    ledger.settle(key, used)             -> what was charged

Rules. An account (of a run, a subtask, a node or an agent in a run, a day of the swarm, of a node or of an agent) has a limit for each kind that is bounded. What is spent and
what is set aside together never exceed it: nothing is spent that was not set aside, and a charge is at most what was set aside. Both are idempotent by key.
An account is refilled by nothing, neither by a restart: `replay` makes it again from the folded state of the run. `NO_BOUND` in a reservation sets nothing
aside: no account of its scopes bounds that kind, or the reservation is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from protocol.messages import Budget, Usage

from .state import AttemptState, RunState, bid_of

__all__ = [
    "KINDS",
    "NO_BOUND",
    "Account",
    "Bounds",
    "Kind",
    "Ledger",
    "Scope",
    "Short",
    "attempt_key",
    "charge",
    "child_key",
    "limits_of",
    "replay",
    "scopes_of",
    "shares",
    "total",
]

Kind = Literal["money", "tokens", "steps", "bytes_out", "children"]
KINDS: Final[tuple[Kind, ...]] = ("money", "tokens", "steps", "bytes_out", "children")
NO_BOUND: Final = 1 << 52
"""In a reservation or a cap: this kind is not bounded. The largest number that the field takes."""

Scope = tuple[str, ...]
"""What an account is for: ("run", run), ("subtask", run, subtask), ("node", run, node), ("agent", run, node, agent); for all runs of a day: ("day", date), ("day", date, node),
("day", date, node, agent)."""
Key = tuple[str | int, ...]
"""(run, subtask, attempt, epoch), or (run, "", child)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the owner of a coordinator sets for all runs: for one node or agent in a run, for a day of the swarm, of one node or one agent, for runs inside runs."""

    node: Budget | None = None
    agent: Budget | None = None
    day: Budget | None = None
    node_day: Budget | None = None
    agent_day: Budget | None = None
    depth: int = 3


@dataclass(frozen=True, slots=True)
class Short:
    """An account that has too little: `wanted` more than `room`, `reserved` of its `limit` set aside at present, `spent` gone for good."""

    scope: Scope
    kind: Kind
    wanted: int
    limit: int
    spent: int
    reserved: int

    @property
    def room(self) -> int:
        """What is neither spent nor set aside."""
        return max(0, self.limit - self.spent - self.reserved)

    @property
    def for_now(self) -> bool:
        """Whether there may be enough when what is at work has ended."""
        return self.reserved > 0 and self.limit - self.spent >= self.wanted


@dataclass(slots=True)
class Account:
    """One account. `limit` has the kinds that are bounded."""

    limit: dict[Kind, int] = field(default_factory=dict)
    spent: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    reserved: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def room(self, kind: Kind) -> int:
        """What can still be set aside; `NO_BOUND` where nothing limits it."""
        limit = self.limit.get(kind)
        return NO_BOUND if limit is None else max(0, limit - self.spent[kind] - self.reserved[kind])

    def short(self, scope: Scope, kind: Kind, wanted: int) -> Short:
        """What to say when there is too little of a bounded kind."""
        return Short(scope, kind, wanted, self.limit[kind], self.spent[kind], self.reserved[kind])


@dataclass(slots=True)
class _Reservation:
    amounts: Usage
    scopes: tuple[Scope, ...]


class Ledger:
    """All accounts, and what is set aside in them."""

    def __init__(self) -> None:
        self.accounts: dict[Scope, Account] = {}
        self._open: dict[Key, _Reservation] = {}
        self._count: dict[str | int, int] = {}
        self._settled: dict[str | int, set[Key]] = {}
        """Run -> what was settled of it."""

    def account(self, scope: Scope) -> Account:
        """The account of a scope; one without a limit until somebody sets one."""
        found = self.accounts.get(scope)
        if found is None:
            found = self.accounts[scope] = Account()
        return found

    def limit(self, scope: Scope, limits: Mapping[Kind, int]) -> None:
        """Bound an account. What was spent stays spent."""
        if limits or scope in self.accounts:
            self.account(scope).limit = dict(limits)

    def tightest(self, scopes: Iterable[Scope], kind: Kind) -> tuple[Scope, Account] | None:
        """The account that leaves the least room for a kind; None when none bounds it."""
        found = [
            (scope, account)
            for scope in scopes
            if (account := self.accounts.get(scope)) is not None and kind in account.limit
        ]
        return min(found, key=lambda pair: pair[1].room(kind), default=None)

    def short(self, amounts: Usage, scopes: Iterable[Scope]) -> Short | None:
        """The first account that has too little for these amounts."""
        for scope in scopes:
            account = self.accounts.get(scope)
            for kind in account.limit if account is not None else ():
                assert account is not None
                wanted: int = getattr(amounts, kind)
                if kind == "children" and wanted >= NO_BOUND:
                    continue  # an attempt: the runs that it begins are counted each for itself
                if wanted > account.room(kind):
                    return account.short(scope, kind, wanted)
        return None

    def reserve(self, key: Key, amounts: Usage, scopes: Iterable[Scope]) -> Short | None:
        """Set amounts aside in all of these accounts, or in none. The same key a second time changes nothing."""
        if self._knows(key):
            return None
        found = tuple(scopes)
        short = self.short(amounts, found)
        if short is None:
            self.hold(key, amounts, found)
        return short

    def hold(self, key: Key, amounts: Usage, scopes: Iterable[Scope]) -> None:
        """Set amounts aside that a record says were set aside: they were found to be there when it was written."""
        if self._knows(key):
            return
        entry = self._open[key] = _Reservation(amounts, tuple(scopes))
        self._count[key[0]] = self._count.get(key[0], 0) + 1
        self._move(entry, +1)

    def settle(self, key: Key, used: Usage) -> Usage | None:
        """What was used of a reservation is spent, the rest is free again; None when there is no such reservation (any more)."""
        entry = self._open.pop(key, None)
        if entry is None:
            return None
        self._count[key[0]] -= 1
        self._settled.setdefault(key[0], set()).add(key)
        self._move(entry, -1)
        charged = _least(used, entry.amounts)
        for scope in entry.scopes:
            account = self.account(scope)
            for kind in KINDS:
                account.spent[kind] += getattr(charged, kind)
        return charged

    def is_open(self, key: Key) -> bool:
        """Whether something is set aside under this key."""
        return key in self._open

    def scopes(self, key: Key) -> tuple[Scope, ...]:
        """The accounts in which something is set aside under this key."""
        entry = self._open.get(key)
        return entry.scopes if entry is not None else ()

    def open_of(self, run: str) -> int:
        """How many reservations of a run are open."""
        return self._count.get(run, 0)

    def forget(self, run: str) -> None:
        """A run needs no accounts any more. What it has not settled is spent where others share the account."""
        for key in [key for key in self._open if key[0] == run]:
            self.settle(key, self._open[key].amounts)
        self._settled.pop(run, None)
        self._count.pop(run, None)
        for scope in [scope for scope in self.accounts if len(scope) > 1 and scope[1] == run]:
            del self.accounts[scope]

    def _knows(self, key: Key) -> bool:
        return key in self._open or key in self._settled.get(key[0], ())

    def _move(self, entry: _Reservation, sign: int) -> None:
        for scope in entry.scopes:
            account = self.account(scope)
            for kind in KINDS:
                amount: int = getattr(entry.amounts, kind)
                if amount < NO_BOUND:
                    account.reserved[kind] += sign * amount


def _least(used: Usage, reserved: Usage) -> Usage:
    """What is charged: never more than was set aside, where something was."""
    return Usage(**{kind: min(getattr(used, kind), getattr(reserved, kind)) for kind in KINDS})


def limits_of(budget: Budget | None) -> dict[Kind, int]:
    """The kinds that a budget bounds."""
    if budget is None:
        return {}
    return {kind: value for kind in KINDS if (value := getattr(budget, kind)) is not None}


def scopes_of(run: str, subtask: str, node: str, agent: str) -> tuple[Scope, ...]:
    """The accounts of one attempt, the run's first."""
    return ("run", run), ("subtask", run, subtask), ("node", run, node), ("agent", run, node, agent)


def charge(attempt: AttemptState) -> Usage:
    """What an ended attempt counts for, before the bound of its reservation.

    An agent that does not count money costs its price: not saying is not nothing. An award that was not taken costs nothing. Runs that the
    work began have records of their own.
    """
    if attempt.status == "refused":
        return Usage()
    bid = bid_of(attempt)
    money = attempt.used.money or min(NO_BOUND, bid.price if bid else 0)
    return attempt.used.model_copy(update={"money": money, "children": 0})


def attempt_key(run: str, subtask: str, attempt: AttemptState) -> Key:
    """The name of an attempt's reservation."""
    return run, subtask, attempt.number, attempt.epoch


def replay(ledger: Ledger, state: RunState) -> None:
    """Make the accounts of a run again from what its journal says."""
    run = state.run
    ledger.limit(("run", run), limits_of(state.budget))
    for name, subtask in state.subtasks.items():
        ledger.limit(("subtask", run, name), limits_of(subtask.skeleton.budget))
        for attempt in subtask.attempts:
            reserved = attempt.reserved or (_OPEN_ENDED if attempt.status != "awarded" else None)
            if reserved is None:
                continue
            key = attempt_key(run, name, attempt)
            ledger.hold(key, reserved, scopes_of(run, name, attempt.node, attempt.agent))
            if attempt.status != "awarded":
                ledger.settle(key, charge(attempt))
    for child, part in state.children.items():
        ledger.hold(child_key(run, child), part.reserved, [("run", run)])
        if part.used is not None:
            ledger.settle(child_key(run, child), part.used)


def child_key(run: str, child: str) -> Key:
    """The name of what is set aside for a run that another one began."""
    return run, "", child


_OPEN_ENDED: Final = Usage(**dict.fromkeys(KINDS, NO_BOUND))
"""What an attempt without a budget may use: whatever it does. It is counted all the same."""


def total(ledger: Ledger, run: str) -> Usage:
    """What a run has spent, or has set aside and never settled: when it is over that may be spent, too."""
    account = ledger.account(("run", run))
    return Usage(**{kind: min(NO_BOUND, account.spent[kind] + account.reserved[kind]) for kind in KINDS})


def shares(ledger: Ledger, run: str, what: str) -> Iterator[tuple[Scope, Account]]:
    """The accounts of a run that are of one sort: "subtask", "node", "agent"."""
    for scope, account in ledger.accounts.items():
        if scope[0] == what and scope[1] == run:
            yield scope, account
