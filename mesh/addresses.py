"""Where this device can be reached: its addresses, and a port that is free. The shell around the operating system's network tables."""

from __future__ import annotations

import errno
import ipaddress
import socket

from .discovery import DEFAULT_PORT
from .errors import BadSettings, PortTaken

__all__ = ["bind_host", "choose_port", "reachable_addresses"]

_PORT_TRIES = 20


def bind_host(bind: str) -> str:
    """The address to listen on for `lan` (all), `loopback`, or an IP address of this device.

    Raises:
        BadSettings: it is none of these.
    """
    if bind in ("lan", "loopback"):
        return "0.0.0.0" if bind == "lan" else "127.0.0.1"  # noqa: S104 - asked for; TLS and credentials guard it
    try:
        return str(ipaddress.ip_address(bind))
    except ValueError:
        raise BadSettings(
            f"{bind!r} is no address to bind to", "Say lan, loopback, or an IP address of this device."
        ) from None


def reachable_addresses(host: str) -> list[str]:
    """The addresses under which others reach a server that listens on `host`, the likeliest first."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return [host]
    import ifaddr

    found: list[tuple[int, str]] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if not isinstance(ip.ip, str):
                continue  # IPv6: link-local addresses need a scope that means nothing elsewhere
            address = ipaddress.ip_address(ip.ip)
            if address.is_loopback or address.is_link_local or address.is_multicast:
                continue
            virtual = adapter.nice_name.startswith(("docker", "br-", "virbr", "veth", "cni", "flannel"))
            found.append((int(virtual), ip.ip))
    return [address for _, address in sorted(found, key=lambda pair: pair[0])] or ["127.0.0.1"]


def choose_port(host: str, wanted: int | None) -> tuple[int, bool]:
    """A port to listen on, and whether it is another one than the usual.

    `wanted` None: 4747 or the next free one; 0: any free one; otherwise exactly that one.

    Raises:
        PortTaken: the wanted port is in use.
        BadSettings: this device has no such address.
    """
    if wanted is not None and wanted != 0:
        if not _free(host, wanted):
            raise PortTaken(host, wanted)
        return wanted, False
    if wanted is None:
        for port in range(DEFAULT_PORT, DEFAULT_PORT + _PORT_TRIES):
            if _free(host, port):
                return port, port != DEFAULT_PORT
    with socket.socket(_family(host)) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise _cannot_listen(host, 0, error) from None
        return int(probe.getsockname()[1]), wanted is None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _free(host: str, port: int) -> bool:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise _cannot_listen(host, port, error) from None
    return True


def _cannot_listen(host: str, port: int, error: OSError) -> BadSettings:
    hint = "Give an address of this device with --bind."
    if error.errno == errno.EACCES:
        hint = "Ports below 1024 need more rights: choose another with --port."
    return BadSettings(f"cannot listen on {host}:{port}: {error.strerror}", hint)
