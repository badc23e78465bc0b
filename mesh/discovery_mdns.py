"""Shell: announce this node's bus on the local network by mDNS, and hear others (zeroconf).

Rules. A network without multicast, or one that misbehaves, never stops a node: `announce` is a background task whose trouble is logged and
tried again, `browse` ends when its time is up. zeroconf reports no error where multicast cannot work, so "announced" is never taken for
"heard". The library is imported when it is first used: it costs 6 MiB that a client with an address does not need. Counterpart: `discovery.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .clock import Clock, SystemClock
from .discovery import Beacon, read_txt, write_txt

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

__all__ = ["SERVICE_TYPE", "announce", "browse", "local_addresses"]

SERVICE_TYPE: Final = "_swarm._tcp.local."
"""The mDNS service type of the swarm protocol."""

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 3.0
_RETRY_S: Final = 30.0
_RESOLVE_MS: Final = 1_500
_MAX_HEARD: Final = 64
"""Services looked at in one browse: a network can announce any number of false ones."""


def local_addresses() -> list[str]:
    """This device's own addresses that others may reach, IPv4 first."""
    import ifaddr

    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            text = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            with contextlib.suppress(ValueError):
                address = ipaddress.ip_address(text)
                if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                    found.append(address)
    return [str(address) for address in sorted(dict.fromkeys(found), key=lambda a: (a.version, a.packed))]


async def announce(
    beacon: Beacon,
    *,
    addresses: Callable[[], Sequence[str]] = local_addresses,
    on_announced: Callable[[], None] | None = None,
) -> None:
    """Announce until cancelled, then say goodbye (three seconds at most).

    Args:
        beacon: what to announce; without addresses of its own, this device's are used, and followed when they change.
        addresses: finds this device's addresses.
        on_announced: called when the first announcement went out (which does not mean that anybody heard it).
    """
    while True:
        own = list(beacon.addresses or addresses())
        try:
            if own:
                await _announce_once(beacon, own, addresses, on_announced)
                continue
        except Exception as error:  # noqa: BLE001  # whatever the network or the library does, the node goes on
            _log.info("mDNS does not work here at the moment: %r", error)
        await asyncio.sleep(_RETRY_S)


async def _announce_once(
    beacon: Beacon,
    own: list[str],
    addresses: Callable[[], Sequence[str]],
    on_announced: Callable[[], None] | None,
) -> None:
    """Announce until the device's addresses change."""
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(
        SERVICE_TYPE,
        f"{beacon.node}.{SERVICE_TYPE}",
        port=beacon.port,
        properties=write_txt(beacon),
        server=f"{beacon.node}.local.",
        parsed_addresses=own,
    )
    network = _open()
    try:
        # Registering answers when probing is over; the task it returns sends the announcements.
        await (await network.async_register_service(info, allow_name_change=True))
        if on_announced is not None:
            on_announced()
        while beacon.addresses or list(addresses()) == own:  # noqa: ASYNC110  # nothing tells of a new address
            await asyncio.sleep(_RETRY_S)
    finally:
        await _close(network)


async def browse(
    timeout_s: float,
    *,
    swarm: str | None = None,
    enough: int | None = None,
    clock: Clock | None = None,
) -> list[Beacon]:
    """Listen for announcements.

    Args:
        timeout_s: how long at most, in seconds.
        swarm: only those of this swarm's tag; None for all.
        enough: end early when so many were heard.
        clock: this device's clock.

    Returns:
        What was heard, in that order; an empty list where multicast does not work.
    """
    heard: dict[str, Beacon] = {}
    used_clock = clock or SystemClock()
    deadline = used_clock.monotonic() + timeout_s
    try:
        network = _open()
    except Exception as error:  # noqa: BLE001  # no network interface, no multicast: nothing to hear
        _log.info("mDNS does not work here: %r", error)
        return []
    names: asyncio.Queue[str] = asyncio.Queue()
    try:
        from zeroconf.asyncio import AsyncServiceBrowser

        def on_change(
            zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:
            del zeroconf, service_type
            if state_change.name != "Removed" and names.qsize() < _MAX_HEARD:
                names.put_nowait(name)

        browser = AsyncServiceBrowser(network.zeroconf, SERVICE_TYPE, handlers=[on_change])
        try:
            async with asyncio.timeout(timeout_s):
                while len(heard) < (enough or _MAX_HEARD):
                    name = await names.get()
                    left_ms = int((deadline - used_clock.monotonic()) * 1000)
                    beacon = await _resolve(network, name, max(50, min(_RESOLVE_MS, left_ms)))
                    if beacon is not None and swarm in {None, beacon.swarm}:
                        heard[name] = beacon
        except TimeoutError:
            pass
        finally:
            await _bounded(browser.async_cancel())
    except Exception as error:  # noqa: BLE001  # a hint that cannot be had is no error
        _log.info("mDNS stopped working while listening: %r", error)
    finally:
        await _close(network)
    return list(heard.values())


async def _resolve(network: AsyncZeroconf, name: str, timeout_ms: int) -> Beacon | None:
    from zeroconf.asyncio import AsyncServiceInfo

    info = AsyncServiceInfo(SERVICE_TYPE, name)
    if not await info.async_request(network.zeroconf, timeout_ms):
        return None
    instance = name.removesuffix(f".{SERVICE_TYPE}")
    return read_txt(instance, info.port, info.parsed_scoped_addresses(), info.properties)


def _open() -> AsyncZeroconf:
    from zeroconf import IPVersion
    from zeroconf.asyncio import AsyncZeroconf

    try:
        return AsyncZeroconf(ip_version=IPVersion.All)
    except OSError:  # no IPv6 here
        return AsyncZeroconf(ip_version=IPVersion.V4Only)


async def _close(network: AsyncZeroconf) -> None:
    # Closing takes back what was registered, which sends the goodbyes.
    await _bounded(network.async_close())


async def _bounded(work: Any) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await work
    except Exception as error:  # noqa: BLE001  # includes the timeout: leaving quietly is good enough
        _log.debug("mDNS did not end cleanly: %r", error)
