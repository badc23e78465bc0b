"""The only file that spells a subject of the bus (SPEC SUB-1 to SUB-6).

A subject says where a message goes; the audience is its logical destination, whose hash is signed in the header (ENV-6). ME is a bus key in its
text form (`U` and 55 letters or digits of base32): the sender's, but the receiver's in `s.to.<ME>` and `_I.<ME>.>`. ID is a node id in 32
hex digits. Builders refuse what could not be one token, since a name with `.`, `*` or `>` in it would be another subject.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from .errors import Rejected

__all__ = [
    "CHARTER",
    "Route",
    "announce",
    "announces",
    "artifact",
    "artifacts",
    "audience",
    "audience_announce",
    "audience_bids",
    "audience_control",
    "audience_events",
    "audience_journal",
    "audience_node",
    "audience_presence",
    "audience_service",
    "audience_work",
    "bid",
    "bids",
    "burn",
    "burns",
    "cert",
    "certs",
    "control",
    "enrol_reply",
    "enrol_request",
    "enrol_requests",
    "events",
    "events_all",
    "heartbeat",
    "heartbeats",
    "inbox",
    "inbox_all",
    "invite",
    "invites",
    "journal",
    "journals",
    "offer",
    "offers",
    "request",
    "requests_of",
    "route",
    "to_node",
    "work",
    "works",
]

CHARTER: Final = "enroll.charter"
"""Where a joining device asks for the charter chain; the enrolment account's, not the swarm's."""

_PATTERNS: Final = {
    "bus key": re.compile(r"U[A-Z2-7]{55}"),
    "run id": re.compile(r"[a-z2-7]{26}"),
    "capability": re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9][a-z0-9-]*){0,5}"),
    "service": re.compile(r"[a-z][a-z0-9-]{0,31}"),
    "token": re.compile(r"[A-Za-z0-9_-]{1,64}"),
    "node id": re.compile(r"[0-9a-f]{32}"),
    "digest": re.compile(r"[0-9a-f]{64}"),
    "8-byte id": re.compile(r"[0-9a-f]{16}"),
}
_CAPABILITY_CHARS: Final = 64
_SUBJECT_CHARS: Final = 256


class Route(NamedTuple):
    """What a subject of the swarm's account says."""

    kind: str
    """announce, to, bid, work, offer, heartbeat, request, inbox, events, control or journal."""
    me: str = ""
    """The SENDER's bus key, which the verifier compares with the sender's certificate; empty where the subject has none."""
    run: str = ""
    capability: str = ""
    service: str = ""
    to: str = ""
    """The receiver's bus key (`to` and `inbox`)."""


def _one(what: str, value: str) -> str:
    if not _PATTERNS[what].fullmatch(value) or (what == "capability" and len(value) > _CAPABILITY_CHARS):
        raise Rejected("E_AUD", f"{value[:80]!r} is not a {what}")
    return value


# --- live messages -------------------------------------------------------------------------------------------------------------


def announce(capability: str) -> str:
    """Announcements to whoever has a capability."""
    return "s.ann." + _one("capability", capability)


def announces() -> str:
    """All announcements."""
    return "s.ann.>"


def to_node(me: str) -> str:
    """To one node, by the RECEIVER's bus key."""
    return "s.to." + _one("bus key", me)


def bid(run: str, me: str) -> str:
    """The bids of one node in a run."""
    return f"s.bid.{_one('run id', run)}.{_one('bus key', me)}"


def bids(run: str | None = None) -> str:
    """All bids of a run, or of all runs."""
    return f"s.bid.{'*' if run is None else _one('run id', run)}.*"


def work(run: str, me: str) -> str:
    """What one node says about its attempts in a run."""
    return f"s.work.{_one('run id', run)}.{_one('bus key', me)}"


def works(run: str | None = None) -> str:
    """All words about attempts in a run, or in all runs."""
    return f"s.work.{'*' if run is None else _one('run id', run)}.*"


def offer(me: str) -> str:
    """A node's standing offers."""
    return "s.offer." + _one("bus key", me)


def offers() -> str:
    """All standing offers."""
    return "s.offer.*"


def heartbeat(me: str) -> str:
    """A node's hello, heartbeat and goodbye."""
    return "s.hb." + _one("bus key", me)


def heartbeats() -> str:
    """All heartbeats."""
    return "s.hb.*"


def request(service: str, me: str) -> str:
    """A request to a service, by the asking node's bus key."""
    return f"s.req.{_one('service', service)}.{_one('bus key', me)}"


def requests_of(service: str) -> str:
    """All requests to a service."""
    return f"s.req.{_one('service', service)}.*"


def inbox(me: str, token: str) -> str:
    """Where an answer to one request goes: below the asking node's own inbox."""
    return f"_I.{_one('bus key', me)}.{_one('token', token)}"


def inbox_all(me: str) -> str:
    """A node's whole inbox."""
    return f"_I.{_one('bus key', me)}.>"


def events(run: str) -> str:
    """The public events of a run."""
    return "s.ev." + _one("run id", run)


def events_all() -> str:
    """The public events of all runs."""
    return "s.ev.*"


def control() -> str:
    """Revocations, charters and halts, to everybody."""
    return "s.ctl"


# --- stored --------------------------------------------------------------------------------------------------------------------


def journal(run: str) -> str:
    """The journal of a run (stream JOURNAL)."""
    return "s.j." + _one("run id", run)


def journals() -> str:
    """All journals."""
    return "s.j.*"


def artifact(digest_hex: str, writer: str, n: int) -> str:
    """Chunk `n`, from 0, of an artifact as written by the device with bus key `writer` (stream ART)."""
    if n < 0:
        raise Rejected("E_AUD", "a chunk's number is not negative")
    return f"s.art.{_one('digest', digest_hex)}.{_one('bus key', writer)}.{n}"


def artifacts() -> str:
    """All chunks of all artifacts."""
    return "s.art.>"


def cert(serial_hex: str) -> str:
    """A membership certificate by its serial (stream CERTS)."""
    return "s.cert." + _one("8-byte id", serial_hex)


def certs() -> str:
    """All certificates."""
    return "s.cert.*"


def invite(id_hex: str) -> str:
    """An invite's record by its id (stream INVITES)."""
    return "s.inv." + _one("8-byte id", id_hex)


def invites() -> str:
    """All invite records."""
    return "s.inv.*"


def burn(id_hex: str, slot: int) -> str:
    """The marker that use number `slot`, from 0, of an invite is taken."""
    if slot < 0:
        raise Rejected("E_AUD", "a slot's number is not negative")
    return f"s.burn.{_one('8-byte id', id_hex)}.{slot}"


def burns(id_hex: str | None = None) -> str:
    """All uses of an invite, or of all invites."""
    return f"s.burn.{'*' if id_hex is None else _one('8-byte id', id_hex)}.*"


# --- enrolment account ---------------------------------------------------------------------------------------------------------


def enrol_request(id_hex: str) -> str:
    """A joining device's sealed request, by its invite's id."""
    return "enroll.req." + _one("8-byte id", id_hex)


def enrol_requests() -> str:
    """All enrolment requests."""
    return "enroll.req.*"


def enrol_reply(token: str) -> str:
    """Where the sealed reply to a joining device goes."""
    return "_E." + _one("token", token)


# --- audiences -----------------------------------------------------------------------------------------------------------------


def audience_announce(capability: str) -> str:
    """Audience of `s.ann.<capability>`."""
    return "cap/" + capability


def audience_node(node_hex: str) -> str:
    """Audience of `s.to.<ME>` and of answers: the receiving node's id."""
    return "node/" + _one("node id", node_hex)


def audience_bids(run: str) -> str:
    """Audience of `s.bid.<run>.<ME>`."""
    return f"run/{run}/bids"


def audience_work(run: str) -> str:
    """Audience of `s.work.<run>.<ME>`."""
    return f"run/{run}/work"


def audience_events(run: str) -> str:
    """Audience of `s.ev.<run>`."""
    return f"run/{run}/events"


def audience_journal(run: str) -> str:
    """Audience of `s.j.<run>`."""
    return f"run/{run}/journal"


def audience_presence() -> str:
    """Audience of `s.offer.<ME>` and `s.hb.<ME>`."""
    return "swarm/presence"


def audience_service(service: str) -> str:
    """Audience of `s.req.<service>.<ME>`."""
    return "svc/" + service


def audience_control() -> str:
    """Audience of `s.ctl`."""
    return "swarm/control"


def audience(where: Route, node_hex: str = "") -> str:
    """Give the audience that belongs to a subject.

    Args:
        where: The subject, taken apart.
        node_hex: For `to` and `inbox`, whose subject has the receiver's bus key: the receiver's node id in hex.

    Raises:
        Rejected: E_AUD, for `to` and `inbox` without a node id.
    """
    kind = where.kind
    if kind in ("to", "inbox"):
        return audience_node(node_hex)
    if kind in ("offer", "heartbeat"):
        return audience_presence()
    if kind == "announce":
        return audience_announce(where.capability)
    if kind == "request":
        return audience_service(where.service)
    if kind == "control":
        return audience_control()
    return f"run/{where.run}/{_RUN_AUDIENCES[kind]}"


_RUN_AUDIENCES: Final = {"bid": "bids", "work": "work", "events": "events", "journal": "journal"}


# --- taking apart --------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def route(subject: str) -> Route:
    """Take a subject of the swarm's account apart.

    Raises:
        Rejected: E_AUD, for a subject that is none of ours.
    """
    if len(subject) <= _SUBJECT_CHARS:
        if subject == "s.ctl":
            return Route("control")
        if subject.startswith("s.ann."):
            return Route("announce", capability=_one("capability", subject[6:]))
        parts = subject.split(".")
        if parts[0] == "_I" and len(parts) > 2:
            return Route("inbox", to=_one("bus key", parts[1]))
        if parts[0] == "s" and len(parts) == 3:
            found = _route_one(parts[1], parts[2])
        elif parts[0] == "s" and len(parts) == 4:
            found = _route_two(parts[1], parts[2], parts[3])
        else:
            found = None
        if found is not None:
            return found
    raise Rejected("E_AUD", f"{subject[:80]!r} is not a subject of the swarm")


def _route_one(name: str, last: str) -> Route | None:
    if name == "to":
        return Route("to", to=_one("bus key", last))
    if name in ("offer", "hb"):
        return Route("offer" if name == "offer" else "heartbeat", me=_one("bus key", last))
    if name in ("ev", "j"):
        return Route("events" if name == "ev" else "journal", run=_one("run id", last))
    return None


def _route_two(name: str, middle: str, last: str) -> Route | None:
    if name in ("bid", "work"):
        return Route(name, me=_one("bus key", last), run=_one("run id", middle))
    if name == "req":
        return Route("request", me=_one("bus key", last), service=_one("service", middle))
    return None
