"""Shell: the workspace in JetStream.

Rules. A write carries the sequence number that it expects as the subject's last one, and is repeated unchanged until it is confirmed or
refused: a repetition of a write that did arrive is refused, whereupon the last message is read where writes are decided, and our own
mark (or bytes) on it means success. Reads are direct gets, which need no consumer. An outage shorter than `PATIENCE_S` is waited for:
a single server is back within a second, an election takes 4 to 9. Counterparts: `workspace_streams.py`, which makes the ports of this, and
`workspace_memory.py`, its twin.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final

from nats.aio.msg import Msg as WireMsg

from .bus_nats import NatsBus
from .clock import Clock, SystemClock
from .errors import (
    BusTimeout,
    BusUnreachable,
    DiskFull,
    NoResponders,
    PayloadTooLarge,
    ServersMissing,
    StoreUnavailable,
    TooFewServers,
)
from .workspace import ART, MAX_MESSAGE_BYTES, Usage, Workspace, WorkspaceSizes
from .workspace_streams import Found, assemble, conflict, stream_configs

__all__ = ["PATIENCE_S", "NatsStream", "ensure_streams", "open_workspace"]

PATIENCE_S: Final = 12.0
"""How long an operation outlasts a store that does not answer, in seconds."""

_TRY_S: Final = 1.0
_WRITE_TRY_S: Final = 3.0
_FIRST_PAUSE_S: Final = 0.02
_MAX_PAUSE_S: Final = 0.5
_BEHIND_S: Final = 2.0
"""How long a server of a cluster may be behind the one that confirmed a write, before what it does not have counts as not there."""
_PAGE_MESSAGES: Final = 256
_PAGE_BYTES: Final = 2 << 20

_MARK: Final = "Zwerm-Write"
"""Header that tells one write from another of the same bytes."""
_OPERATION: Final = "KV-Operation"
_EXPECT: Final = "Nats-Expected-Last-Subject-Sequence"

# The server's own error numbers.
_WRONG_SEQUENCE: Final = frozenset({10071, 10164})
_NOT_FOUND: Final = frozenset({10037, 10043})
_STORE_FAILED: Final = 10077
_NO_STREAM: Final = 10059
# Kept on several servers: one alone cannot, or there are not so many at this moment.
_TOO_FEW: Final = frozenset({10074, 10005})
_NO_SPACE: Final = frozenset({10023, 10028, 10047, 10110, 10120})

_DOWN = (BusTimeout, NoResponders, BusUnreachable)


class _Patience:
    """Repeats while the store is away."""

    def __init__(self, clock: Clock, what: str) -> None:
        self._clock = clock
        self._until = clock.monotonic() + PATIENCE_S
        self._pause = _FIRST_PAUSE_S
        self._what = what

    @property
    def over(self) -> bool:
        """Whether it has been long enough."""
        return self._clock.monotonic() + self._pause > self._until

    async def wait(self, error: Exception) -> None:
        """Pause before the next try.

        Raises:
            StoreUnavailable: it has been long enough.
        """
        if self.over:
            raise StoreUnavailable(f"{self._what}: the workspace does not answer ({error})") from error
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _MAX_PAUSE_S)


async def ensure_streams(
    bus: NatsBus, sizes: WorkspaceSizes | None = None, clock: Clock | None = None, *, replicas: int = 1
) -> None:
    """Make the workspace, or bring it to these sizes and to so many servers; an enroller does it at every start.

    Raises:
        DiskFull: the server may not store that much.
        TooFewServers: the bus has not so many servers.
        StoreUnavailable: the server refuses, or does not answer.
    """
    for name, config in stream_configs(sizes or WorkspaceSizes(), replicas).items():
        await NatsStream(bus, name, clock).ensure(config)


def open_workspace(bus: NatsBus, clock: Clock | None = None, *, worker: bool = False) -> Workspace:
    """The workspace as seen over this connection; what its role may not do, the server refuses.

    With `worker` (agents, clients), outcomes are looked up by direct reads, the only ones those roles may do.
    """

    def stream(name: str) -> NatsStream:
        # Chunks never change, so a direct read of one is never out of date, whoever reads.
        return NatsStream(bus, name, clock, leader_reads=not worker and name != ART, promised=name == ART)

    return assemble(stream)


async def _api(
    bus: NatsBus, clock: Clock, verb: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Call `$JS.API.<verb>`; the answer as it is, errors included.

    Raises:
        StoreUnavailable: no answer for `PATIENCE_S` seconds.
    """
    patience = _Patience(clock, verb)
    data = json.dumps(body).encode() if body else b""
    while True:
        try:
            answer = await bus.request(f"$JS.API.{verb}", data, timeout_s=5 * _TRY_S)
        except _DOWN as error:
            await patience.wait(error)
            continue
        result = json.loads(answer)
        # 10008: the cluster is choosing a leader.
        if result.get("error", {}).get("err_code") != 10008:
            return dict(result)
        await patience.wait(RuntimeError("no leader"))


class NatsStream:
    """Compare-and-set writes to, and reads from, one stream."""

    def __init__(
        self,
        bus: NatsBus,
        name: str,
        clock: Clock | None = None,
        *,
        leader_reads: bool = True,
        promised: bool = False,
    ) -> None:
        """With `leader_reads` off, outcomes are looked up by direct get: all that a worker may do.

        With `promised`, what is read was confirmed to its writer: a server of a cluster that does not have it is behind, and is asked again.
        """
        self._bus = bus
        self._name = name
        self._clock = clock or SystemClock()
        self._leader_reads = leader_reads
        self._promised = promised

    async def write(
        self, subject: str, data: bytes, *, expected: int, removes: bool = False, same_bytes: bool = False
    ) -> int:
        """Write if the subject's last message has sequence number `expected` (0: there is none); the new number.

        With `same_bytes`, a last message of these bytes is taken for this write's; otherwise only this call's own.

        Raises:
            WriteConflict: another message is the last one; it is attached.
            DiskFull: no space is left.
            PayloadTooLarge: over `MAX_MESSAGE_BYTES`.
            StoreUnavailable: neither confirmed nor refused; it may have been written.
        """
        if len(data) > MAX_MESSAGE_BYTES:
            raise PayloadTooLarge(len(data), MAX_MESSAGE_BYTES)
        mark = secrets.token_hex(8)
        headers = {_EXPECT: str(expected), _MARK: mark}
        if removes:
            headers[_OPERATION] = "DEL"
        patience = _Patience(self._clock, f"writing {subject}")
        while True:
            try:
                answer = await self._bus.request_wire(subject, data, timeout_s=_WRITE_TRY_S, headers=headers)
            except _DOWN as error:
                if not patience.over:
                    await patience.wait(error)
                    continue
                return await self._judge(subject, data, expected, mark, same_bytes)
            ack = json.loads(answer.data)
            error_body = ack.get("error")
            if error_body is None:
                return int(ack["seq"])
            number = error_body.get("err_code")
            full_subject = number == _STORE_FAILED and "per subject" in error_body.get("description", "")
            if number in _WRONG_SEQUENCE or full_subject:
                return await self._judge(subject, data, None, mark, same_bytes)
            failure = self._failure(number, error_body.get("description", ""))
            if isinstance(failure, StoreUnavailable):
                await patience.wait(failure)
                continue
            raise failure

    async def _judge(
        self, subject: str, data: bytes, expected: int | None, mark: str, same_bytes: bool
    ) -> int:
        """What became of a write: refused, or (with `expected`) never confirmed."""
        found = await self.last(subject)
        if found is not None and (found.mark == mark or (same_bytes and found.data == data)):
            return found.seq
        if expected == (0 if found is None else found.seq):
            # A server whose disk is full goes on to answer reads and is silent about writes.
            raise DiskFull(
                f"{self._name} can be read but confirms no writes: the disk of its server must be full"
            )
        raise conflict(subject, found)

    async def get(self, subject: str) -> Found | None:
        """The subject's last message by direct get: on a cluster it may be a moment old."""
        patience = _Patience(self._clock, f"reading {subject}")
        behind = self._clock.monotonic() + (_BEHIND_S if self._promised and self._bus.clustered else 0.0)
        while True:
            try:
                answer = await self._bus.request_wire(
                    f"$JS.API.DIRECT.GET.{self._name}.{subject}", b"", timeout_s=_TRY_S
                )
            except _DOWN as error:
                await patience.wait(error)
                continue
            if _status(answer) != "404":
                return _found(answer)
            if self._clock.monotonic() >= behind:
                return None
            await asyncio.sleep(_FIRST_PAUSE_S)

    async def last(self, subject: str) -> Found | None:
        """The subject's last message, read where writes are decided."""
        if not self._leader_reads:
            return await self.get(subject)
        answer = await _api(self._bus, self._clock, f"STREAM.MSG.GET.{self._name}", {"last_by_subj": subject})
        error = answer.get("error")
        if error is not None:
            if error.get("err_code") in _NOT_FOUND:
                return None
            raise self._failure(error.get("err_code"), error.get("description", ""))
        message = answer["message"]
        headers = _header_lines(base64.b64decode(message.get("hdrs") or ""))
        return Found(
            message["subject"],
            base64.b64decode(message.get("data") or ""),
            int(message["seq"]),
            _millis(message["time"]),
            headers.get(_OPERATION) in {"DEL", "PURGE"},
            headers.get(_MARK, ""),
        )

    async def scan(self, pattern: str, after: int = 0) -> AsyncIterator[Found]:
        """All messages to `pattern` with a sequence number above `after`, in order, page by page.

        Of one subject everything comes that was confirmed before, also where the server of a cluster that answers is behind.
        """
        patience = _Patience(self._clock, f"reading {pattern}")
        goal = await self._confirmed(pattern)
        more = True
        while more or after < goal:
            page, more, trouble = await self._page(pattern, after + 1)
            for found in page:
                yield found
                after = found.seq
            if not page and trouble is None and after < goal:
                trouble = StoreUnavailable(f"a server is behind at {self._name}")
            if trouble is not None:
                await patience.wait(trouble)
            elif page:
                patience = _Patience(self._clock, f"reading {pattern}")

    async def _confirmed(self, pattern: str) -> int:
        """The number up to which a reader must come; 0 where every server has all, or where some may be missed."""
        if not (self._leader_reads and self._bus.clustered) or pattern.endswith((".>", ".*")):
            return 0
        last = await self.last(pattern)
        return 0 if last is None else last.seq

    async def _page(self, pattern: str, start: int) -> tuple[list[Found], bool, Exception | None]:
        """One batch: what came, whether there is more, and what went wrong after that."""
        body = {"seq": start, "next_by_subj": pattern, "batch": _PAGE_MESSAGES, "max_bytes": _PAGE_BYTES}
        page: list[Found] = []
        try:
            async with self._bus.request_many(
                f"$JS.API.DIRECT.GET.{self._name}", json.dumps(body).encode()
            ) as answers:
                while True:
                    async with asyncio.timeout(2 * _TRY_S):
                        answer = await answers.get()
                    status = _status(answer)
                    if status == "204":
                        return page, int((answer.headers or {}).get("Nats-Num-Pending", "0")) > 0, None
                    if status == "404":
                        return page, False, None
                    if status:
                        return page, True, StoreUnavailable(f"{self._name} answers {status}")
                    page.append(_found(answer))
        except TimeoutError:
            return page, True, BusTimeout("a page did not arrive in full")
        except BusUnreachable as error:
            return page, True, error

    async def subjects(self, pattern: str) -> list[str]:
        """Every subject within `pattern` that has messages."""
        found: list[str] = []
        while True:
            info = await self.info({"subjects_filter": pattern, "offset": len(found)})
            page = info["state"].get("subjects") or {}
            found.extend(page)
            if not page or len(found) >= int(info.get("total", 0)):
                return found

    async def info(self, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The stream's configuration and state."""
        answer = await _api(self._bus, self._clock, f"STREAM.INFO.{self._name}", body)
        self._raise_error(answer)
        return answer

    async def usage(self) -> Usage:
        """How full the stream is."""
        info = await self.info()
        return Usage(int(info["state"]["bytes"]), int(info["config"]["max_bytes"]))

    async def purge(self, pattern: str) -> None:
        """Remove all messages to `pattern`."""
        self._raise_error(
            await _api(self._bus, self._clock, f"STREAM.PURGE.{self._name}", {"filter": pattern})
        )

    async def ensure(self, config: Mapping[str, Any]) -> None:
        """Create the stream, or bring an existing one to this configuration."""
        full = {"name": self._name, **config}
        # Asked first: for a stream that is there, "create" counts the space it reserves a second time and finds the disk full.
        present = await _api(self._bus, self._clock, f"STREAM.INFO.{self._name}")
        verb = "CREATE" if present.get("error", {}).get("err_code") == _NO_STREAM else "UPDATE"
        answer = await _api(self._bus, self._clock, f"STREAM.{verb}.{self._name}", full)
        if answer.get("error", {}).get("err_code") in _TOO_FEW:
            wanted = f"the workspace is to be kept on {full['num_replicas']} servers of the bus, and"
            if self._bus.clustered:
                raise ServersMissing(f"{wanted} not so many are up")
            raise TooFewServers(f"{wanted} there is one")
        self._raise_error(answer)

    def _raise_error(self, answer: Mapping[str, Any]) -> None:
        error = answer.get("error")
        if error is not None:
            raise self._failure(error.get("err_code"), error.get("description", ""))

    def _failure(self, number: int | None, description: str) -> DiskFull | StoreUnavailable:
        lowered = description.lower()
        if "error creating store" in lowered:
            return DiskFull(f"the server cannot write the files of {self._name} to its disk")
        if (
            number in _NO_SPACE
            or "maximum bytes" in lowered
            or "no space left" in lowered
            or "insufficient" in lowered
        ):
            return DiskFull(f"the space for {self._name} is used up ({description})")
        return StoreUnavailable(f"{self._name}: {description or 'no reason given'}")


def _status(message: WireMsg) -> str:
    # A message without a payload may still be a stored one: then it names its stream.
    headers = message.headers or {}
    return "" if "Nats-Stream" in headers else headers.get("Status", "")


def _found(message: WireMsg) -> Found:
    headers = message.headers or {}
    return Found(
        headers["Nats-Subject"],
        message.data,
        int(headers["Nats-Sequence"]),
        _millis(headers["Nats-Time-Stamp"]),
        headers.get(_OPERATION) in {"DEL", "PURGE"},
        headers.get(_MARK, ""),
    )


def _header_lines(raw: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n")[1:])
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _millis(text: str) -> int:
    """Unix milliseconds of the server's `2026-11-23T18:56:15.074240123Z`, cut off."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 1000 + int((fraction + "000")[:3])
