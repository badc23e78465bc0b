"""Network namespaces joined by a bridge: hosts of their own on one network, on this machine, with nothing reaching outside."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """One host on the test network."""

    space: str
    address: str

    @property
    def inside(self) -> list[str]:
        """The command that runs another one on this host."""
        return ["ip", "netns", "exec", self.space]


def ip(*words: str) -> None:
    """Run `ip`; fails with its words."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextlib.contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts on one switch (which lives in a namespace too); all gone afterwards, whatever happens."""
    tag = f"zw{os.getpid() % 100_000}"
    switch = f"{tag}s"
    hosts: dict[str, Host] = {}
    with contextlib.ExitStack() as stack:

        def space(name: str) -> None:
            ip("netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True, check=False)
            ip("-n", name, "link", "set", "lo", "up")

        space(switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(names, 1):
            host = hosts[name] = Host(f"{tag}{number}", f"10.99.0.{number}")
            space(host.space)
            ip("link", "add", "eth0", "netns", host.space, "type", "veth", "peer", "name", f"p{number}", "netns", switch)  # fmt: skip
            ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            ip("-n", host.space, "addr", "add", f"{host.address}/24", "dev", "eth0")
            ip("-n", host.space, "link", "set", "eth0", "up")
            ip("-n", host.space, "route", "add", "default", "dev", "eth0")
        yield hosts
