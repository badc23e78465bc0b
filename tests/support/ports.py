"""Ports for servers that must know each other's before they start."""

from __future__ import annotations

import socket

from mesh.server_kit import ROUTE_PORT_STEP

__all__ = ["bus_ports"]


def bus_ports(count: int) -> list[int]:
    """So many free ports of this device, each with its route port free as well."""
    found: list[int] = []
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        start = held.getsockname()[1]
    for port in [*range(start + 1, 60_000), *range(20_000, start)]:
        if port + ROUTE_PORT_STEP < 65_536 and all(_free(one) for one in (port, port + ROUTE_PORT_STEP)):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
