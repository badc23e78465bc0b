"""The one door: bytes from outside become a message here, or a `Rejected` with the reason (SPEC ENV-9 to ENV-19).

The tests come in the order of ENV-9, cheap ones first, each with its own code, so that two implementations give the same answer to the same
bytes and junk costs less than a microsecond. Nothing of a message is used, and nothing remembered about its sender, before its signature
holds; the body is not decoded here at all. For any bytes whatever the outcome is an `Accepted` or a `Rejected`.

`verify` is for live messages. `verify_stored` is for records that are read back, hours later, from the journal: it alone leaves out time and
replay, and it judges certificates as of the time at which the store took the message. Which of the two is called decides; a flag never does.

State per sender (replay windows, rate) belongs to a `Verifier`: two roles on one device that hear the same message have one each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from .directory import Directory, Grant, Member
from .envelope import (
    DOMAIN,
    FLAG_JOURNAL,
    FLAGS_KNOWN,
    HEADER_BYTES,
    MAGIC,
    SIGNATURE_BYTES,
    UNPACK_HEADER,
    VERSION,
    Header,
)
from .errors import Rejected
from .limits import (
    ENVELOPE_MAX_BYTES,
    ENVELOPE_MIN_BYTES,
    SENDER_BURST,
    SENDER_RATE_PER_S,
    SERIAL_GRACE_MS,
    SKEW_MS,
    TTL_MAX_S,
)
from .replay import ReplayWindows, SessionGate

__all__ = [
    "Accepted",
    "Directory",
    "Grant",
    "Member",
    "ReplayWindows",
    "SessionGate",
    "TypeRule",
    "Verifier",
]

_AROUND: Final = HEADER_BYTES + SIGNATURE_BYTES
_new: Final = tuple.__new__
"""Makes a NamedTuple of a tuple without the way through its own constructor."""
_CLASS_IN_CLEAR: Final = 1
"""The most secret class that may travel: until zones exist nothing above it does, sealed or not (ENV-12)."""


class TypeRule(NamedTuple):
    """What is allowed of one type of message."""

    code: int
    name: str
    max_body_bytes: int
    roles: frozenset[str]
    """A sender needs one of these."""
    max_ttl_s: int = TTL_MAX_S


class Accepted(NamedTuple):
    """A message whose signature holds. Its body is still to be decoded."""

    header: Header
    body: bytes
    member: Member
    """Who said it, truly."""
    raw: bytes
    """The bytes as received: these are what is kept, forwarded and shown as proof."""


class _Sender:
    """What a verifier remembers of one known member."""

    __slots__ = ("accepted", "at_ms", "claimed", "refused", "tokens", "windows")

    def __init__(self, burst: float, now_ms: int) -> None:
        self.windows = ReplayWindows()
        self.tokens = burst
        self.at_ms = now_ms
        self.accepted = 0
        self.claimed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()


class Verifier:
    """Verifies what one receiver gets.

    Args:
        swarm8: First 8 bytes of the swarm id.
        directory: The members; may change between calls.
        rules: Every known type by its code.
        rate_per_s: Messages a second of one sender whose signatures are checked, on average.
        burst: And at once.
        gate: Distrust of new sessions while the receiver is young; None for none.
    """

    __slots__ = (
        "_burst",
        "_gate",
        "_rate",
        "_rules",
        "_senders",
        "_swarm8",
        "accepted",
        "counts",
        "directory",
    )

    def __init__(
        self,
        swarm8: bytes,
        directory: Directory,
        rules: Mapping[int, TypeRule],
        *,
        rate_per_s: float = SENDER_RATE_PER_S,
        burst: float = SENDER_BURST,
        gate: SessionGate | None = None,
    ) -> None:
        if len(swarm8) != 8:
            raise ValueError("a swarm's short id has 8 bytes")
        self._swarm8 = swarm8
        self.directory = directory
        self._rules = rules
        self._rate = rate_per_s / 1000
        self._burst = burst
        self._gate = gate
        self._senders: dict[bytes, _Sender] = {}
        self.counts: Counter[str] = Counter()
        """Refusals by code."""
        self.accepted = 0
        """Messages accepted."""

    def verify(  # noqa: C901 - one straight line of tests, in the order of ENV-9; calls would cost more than the tests
        self,
        raw: bytes,
        *,
        audience: bytes,
        types: Container[int],
        now_ms: int,
        bus_key: str | None = None,
    ) -> Accepted:
        """Verify a live message.

        Args:
            raw: As received.
            audience: The 16-byte hash that belongs to the subject on which it came.
            types: The types that are allowed on that subject.
            now_ms: Unix milliseconds.
            bus_key: The sender's bus key that the subject names; None where a subject names none.

        Raises:
            Rejected: With a code of ENV-9.
        """
        size = len(raw)
        if size < ENVELOPE_MIN_BYTES:
            raise self._refuse("E_SHORT")
        if size > ENVELOPE_MAX_BYTES:
            raise self._refuse("E_LONG")
        if raw[:2] != MAGIC:
            raise self._refuse("E_MAGIC")
        fields = UNPACK_HEADER(raw)
        (
            _,
            version,
            flags,
            kind,
            cls,
            reserved,
            zone,
            _,
            swarm8,
            node,
            serial,
            session,
            seq,
            time_ms,
            ttl_s,
            addressed,
            _,
            length,
        ) = fields
        if version != VERSION:
            raise self._refuse("E_VERSION")
        if flags > FLAGS_KNOWN:
            raise self._refuse("E_FLAGS")
        if reserved:
            raise self._refuse("E_RESERVED")
        if swarm8 != self._swarm8:
            raise self._refuse("E_SWARM")
        rule = self._rules.get(kind) if kind in types else None
        if rule is None or flags & FLAG_JOURNAL:
            raise self._refuse("E_TYPE")
        _, _, max_body_bytes, roles, max_ttl_s = rule
        if size - _AROUND > max_body_bytes:
            raise self._refuse("E_LONG")
        if addressed != audience:
            raise self._refuse("E_AUD")
        if length != size - _AROUND:
            raise self._refuse("E_LEN")
        age_ms = now_ms - time_ms
        if age_ms > ttl_s * 1000 + SKEW_MS or age_ms < -SKEW_MS or ttl_s > max_ttl_s:
            raise self._refuse("E_TIME")
        member = self.directory.members.get(node)
        if member is None:
            raise self._refuse("E_SENDER")
        sender = self._senders.get(node)
        if sender is None:
            sender = self._senders[node] = _Sender(self._burst, now_ms)
        if bus_key is not None and bus_key != member.bus_key:
            raise self._refuse("E_SENDER", sender)
        expires_ms = member.expires_ms
        if member.revoked:
            raise self._refuse("E_REVOKED", sender)
        if serial != member.serial:
            previous = member.in_grace(serial, now_ms)
            if previous is None:
                raise self._refuse("E_REVOKED", sender)
            expires_ms = previous.expires_ms
        if now_ms >= expires_ms:
            raise self._refuse("E_CERT_EXPIRED", sender)
        if roles.isdisjoint(member.roles):
            raise self._refuse("E_ROLE", sender)
        if cls > _CLASS_IN_CLEAR or cls > member.clearance or (zone and zone not in member.zones):
            raise self._refuse("E_CLASS", sender)
        window = sender.windows.windows.get(session)
        if seq == 0 if window is None else seq <= window.top and not window.fresh(seq):
            raise self._refuse("E_REPLAY", sender)
        tokens = sender.tokens
        if now_ms != sender.at_ms:
            if now_ms > sender.at_ms:
                tokens += (now_ms - sender.at_ms) * self._rate
                if tokens > self._burst:
                    tokens = self._burst
            sender.at_ms = now_ms
            sender.tokens = tokens
        if tokens < 1 or (window is None and not sender.windows.has_room(session, now_ms)):
            raise self._refuse("E_RATE", sender)
        sender.tokens = tokens - 1
        if not member.public.verify_tail(DOMAIN, raw):
            raise self._refuse("E_SIG", sender)
        if window is not None:
            window.enter(seq, time_ms + ttl_s * 1000 + SKEW_MS)
        else:
            gate = self._gate
            if gate is not None and not gate.admits(node, session, kind, now_ms):
                raise self._refuse("E_SESSION", sender)
            sender.windows.commit(session, seq, time_ms, ttl_s, now_ms)
        sender.accepted += 1
        self.accepted += 1
        return _new(Accepted, (_new(Header, fields), raw[HEADER_BYTES:-SIGNATURE_BYTES], member, raw))

    def verify_stored(  # noqa: C901 - the same line of tests
        self, raw: bytes, *, audience: bytes, types: Container[int], at_ms: int
    ) -> Accepted:
        """Verify a message that was read back from a store.

        It must have the journal flag. There is no time window and no replay window: the reader drops what it has by (sender, session,
        seq). The certificate is judged as of `at_ms`.

        Args:
            raw: As stored.
            audience: The 16-byte hash that belongs to the store's subject.
            types: The types that are allowed there.
            at_ms: When the store took it, by the store's own clock, in Unix milliseconds.

        Raises:
            Rejected: With a code of ENV-9.
        """
        size = len(raw)
        if size < ENVELOPE_MIN_BYTES:
            raise self._refuse("E_SHORT")
        if size > ENVELOPE_MAX_BYTES:
            raise self._refuse("E_LONG")
        if raw[:2] != MAGIC:
            raise self._refuse("E_MAGIC")
        header = _new(Header, UNPACK_HEADER(raw))
        if header.version != VERSION:
            raise self._refuse("E_VERSION")
        if header.flags > FLAGS_KNOWN:
            raise self._refuse("E_FLAGS")
        if header.reserved:
            raise self._refuse("E_RESERVED")
        if header.swarm != self._swarm8:
            raise self._refuse("E_SWARM")
        rule = self._rules.get(header.type) if header.type in types else None
        if rule is None or not header.flags & FLAG_JOURNAL:
            raise self._refuse("E_TYPE")
        if size - _AROUND > rule.max_body_bytes:
            raise self._refuse("E_LONG")
        if header.audience != audience:
            raise self._refuse("E_AUD")
        if header.length != size - _AROUND:
            raise self._refuse("E_LEN")
        member = self.directory.get(header.sender)
        if member is None:
            raise self._refuse("E_SENDER")
        code = _judge_as_of(member.grants.get(header.serial), rule, header, at_ms)
        if code is None and not member.public.verify_tail(DOMAIN, raw):
            code = "E_SIG"
        if code is not None:
            raise self._refuse(code)
        return _new(Accepted, (header, raw[HEADER_BYTES:-SIGNATURE_BYTES], member, raw))

    def refuse_accepted(self, accepted: Accepted, code: str, message: str = "") -> Rejected:
        """Count a refusal after the signature (E_DECRYPT, E_BODY, E_SCHEMA, ...) against its true sender; gives what to raise."""
        self.counts[code] += 1
        sender = self._senders.get(accepted.member.node_id)
        if sender is not None:
            sender.refused[code] += 1
        return Rejected(code, message)

    def accepted_from(self, node: bytes) -> int:
        """How many messages of this node were accepted."""
        sender = self._senders.get(node)
        return sender.accepted if sender is not None else 0

    def refused_from(self, node: bytes) -> Counter[str]:
        """Refusals of messages that this node truly sent, by code."""
        sender = self._senders.get(node)
        return Counter(sender.refused) if sender is not None else Counter()

    def claimed_from(self, node: bytes) -> Counter[str]:
        """Refusals of messages that only claimed to be of this member (their signature was not, or not yet, checked), by code."""
        sender = self._senders.get(node)
        return Counter(sender.claimed) if sender is not None else Counter()

    def prune(self, now_ms: int) -> None:
        """Give back the memory of senders that have gone from the directory and of sessions that are over; call it now and then."""
        for node, sender in list(self._senders.items()):
            sender.windows.forget(now_ms)
            if not len(sender.windows) and self.directory.get(node) is None:
                del self._senders[node]

    def _refuse(self, code: str, sender: _Sender | None = None) -> Rejected:
        self.counts[code] += 1
        if sender is not None:
            sender.claimed[code] += 1
        return Rejected(code)


def _judge_as_of(grant: Grant | None, rule: TypeRule, header: Header, at_ms: int) -> str | None:
    """Judge a certificate as of `at_ms`; gives the code of the refusal, or None."""
    if grant is None or at_ms >= grant.revoked_ms or at_ms - grant.superseded_ms > SERIAL_GRACE_MS:
        return "E_REVOKED"
    if not grant.not_before_ms - SKEW_MS <= at_ms < grant.expires_ms:
        return "E_CERT_EXPIRED"
    if rule.roles.isdisjoint(grant.roles):
        return "E_ROLE"
    zone = header.zone
    if header.cls > _CLASS_IN_CLEAR or header.cls > grant.clearance or (zone and zone not in grant.zones):
        return "E_CLASS"
    return None
