"""What is wrong on this device, found by looking: each finding says what, how bad, and what to do."""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import UTC, datetime
from importlib.metadata import entry_points, packages_distributions
from typing import Literal, NamedTuple

from protocol.errors import ZwermError

from .endpoint import NoAnswer
from .errors import MeshError
from .home import Home
from .version import VERSION

__all__ = ["OUR_PACKAGES", "PLUGIN_GROUPS", "Finding", "broken_plugins", "examine", "foreign_owners"]

OUR_PACKAGES = ("protocol", "mesh", "agent_node", "coordinator_node")
"""Import names that this distribution owns. They are generic, so zwerm belongs into an environment of its own."""

PLUGIN_GROUPS = (
    "zwerm.commands",
    "zwerm.roles",
    "zwerm.adapters",
    "zwerm.planners",
    "zwerm.readers",
    "zwerm.checks",
)
"""Entry points by which other packages add to zwerm."""

_SKEW_MAX_S = 10.0
_DISK_MIN_BYTES = 1 << 30
_CERTIFICATE_SOON_S = 2 * 86_400
"""Renewal begins at half of a week: one that has not come by now is late."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Literal["ok", "warning", "error"]
    code: str
    text: str
    hint: str = ""


def foreign_owners() -> dict[str, list[str]]:
    """Import names of ours that another installed distribution owns too: name -> those distributions."""
    owners = packages_distributions()
    return {
        name: foreign
        for name in OUR_PACKAGES
        if (foreign := sorted({owner for owner in owners.get(name, []) if owner.lower() != "zwerm"}))
    }


def broken_plugins() -> dict[str, str]:
    """Entry points of installed packages that cannot be loaded: `name (distribution)` -> why."""
    broken: dict[str, str] = {}
    for group in PLUGIN_GROUPS:
        for point in entry_points(group=group):
            try:
                point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's package does
                owner = point.dist.name if point.dist is not None else "unknown"
                broken[f"{group}:{point.name} ({owner})"] = f"{type(error).__name__}: {error}"
    return broken


def examine(home: Home) -> list[Finding]:
    """Look at everything that can be looked at from here. Never raises for what it finds."""
    findings = [Finding("ok", "", f"zwerm {VERSION} on Python {sys.version.split()[0]}")]
    for name, foreign in foreign_owners().items():
        findings.append(
            Finding(
                "error",
                "E_NAME_CLASH",
                f"the package {name!r} is also owned by {', '.join(foreign)}",
                "Install zwerm into an environment of its own (pipx, uv tool, venv).",
            )
        )
    for plugin, why in broken_plugins().items():
        findings.append(
            Finding(
                "warning",
                "W_PLUGIN",
                f"{plugin} cannot be loaded: {why}",
                "Update or remove that package; zwerm goes on without it.",
            )
        )
    findings.append(_server())
    if not home.exists:
        findings.append(
            Finding(
                "warning",
                "W_NO_SWARM",
                f"this device is in no swarm ({home.path})",
                "zwerm init NAME, or zwerm join TOKEN",
            )
        )
        return findings
    problems = home.problems()
    if problems:
        findings += [
            Finding("error", "E_PERMISSIONS", text, f"chmod -R go-rwx {home.path}") for text in problems
        ]
    else:
        findings.append(Finding("ok", "", f"state directory {home.path} is private"))
    free = shutil.disk_usage(home.path).free
    if free < _DISK_MIN_BYTES:
        findings.append(
            Finding(
                "warning",
                "W_DISK",
                f"{free >> 20} MiB free for {home.path}",
                "Free some space: at the end the bus takes no new runs.",
            )
        )
    else:
        findings.append(Finding("ok", "", f"{free >> 30} GiB free"))
    findings += _settings(home)
    findings += _membership(home)
    findings += _checks(home)
    return findings


def _server() -> Finding:
    from .server_binary import find_binary, server_version

    try:
        binary = find_binary()
        found = asyncio.run(server_version(binary))
    except MeshError as error:
        return Finding(
            "warning", error.code, error.message, f"{error.hint} A device that only joins does not need it."
        )
    return Finding("ok", "", f"nats-server {'.'.join(map(str, found))}")


def _checks(home: Home) -> list[Finding]:
    """What other packages look at: `zwerm.checks`, functions `(home) -> list[Finding]`."""
    findings: list[Finding] = []
    for point in entry_points(group="zwerm.checks"):
        try:
            findings += point.load()(home)
        except Exception as error:  # noqa: BLE001 - whatever somebody else's package does
            findings.append(
                Finding(
                    "warning", "W_PLUGIN", f"the check {point.name} failed: {error}", "Update that package."
                )
            )
    return findings


def _settings(home: Home) -> list[Finding]:
    from .config import load_config

    try:
        load_config(home)
    except MeshError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    return [Finding("ok", "", "settings are valid")]


def _membership(home: Home) -> list[Finding]:
    from .clock import SystemClock
    from .halt_watch import what_holds
    from .membership import Membership

    try:
        membership = Membership.load(home)
    except MeshError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    left_s = membership.certificate.expires - SystemClock().now()
    days = left_s / 86400
    findings = [
        Finding(
            "ok",
            "",
            f"member of {membership.node.swarm!r} as {membership.node.name}: {', '.join(membership.node.roles)}",
        ),
        Finding("ok", "", f"membership good for {days:.1f} days, renewed by itself")
        if left_s > _CERTIFICATE_SOON_S
        else Finding(
            "warning",
            "W_CERT",
            f"membership ends in {left_s / 3600:.0f} h and has not been renewed",
            "Keep zwerm running so that it can renew, or join again.",
        ),
    ]
    pid = home.daemon_pid()
    if pid is None:
        findings.append(
            Finding("error", "E_NO_DAEMON", "zwerm is not running on this device", "zwerm up --background")
        )
    else:
        findings.append(Finding("ok", "", f"daemon runs (process {pid})"))
    halts = what_holds(membership)
    if halts.halted:
        lift = "zwerm halt --local --lift" if halts.local is not None else "zwerm halt --lift"
        findings.append(Finding("warning", "W_HALTED", f"no agent works here: {halts.why}", lift))
    findings.append(asyncio.run(_bus(membership)))
    return findings


async def _bus(membership: object) -> Finding:
    from protocol.messages import Ping

    from .membership import Membership

    assert isinstance(membership, Membership)
    try:
        async with membership.connect("client", timeout_s=5.0) as endpoint:
            started = membership.clock.monotonic()
            reply = await endpoint.call("enroll", Ping(), timeout_s=5.0)
            trip = (membership.clock.monotonic() - started) * 1000
            skew = membership.clock.now() - float(str(reply.data.get("now", membership.clock.now())))
    except NoAnswer as error:
        # What is more than 30 s off is refused unanswered, so a wrong clock looks just like this.
        clock = datetime.fromtimestamp(membership.clock.now(), UTC).isoformat(timespec="seconds")
        return Finding(
            "error",
            error.code,
            f"{error.message}, or this device's clock is wrong: it says {clock}",
            f"{error.hint} If the clock is wrong, switch on time synchronisation (NTP).",
        )
    except ZwermError as error:
        return Finding("error", error.code, error.message, error.hint)
    if abs(skew) > _SKEW_MAX_S:
        return Finding(
            "error",
            "E_CLOCK",
            f"this device's clock is {skew:+.0f} s off the enroller's",
            "Switch on time synchronisation (NTP): messages more than 30 s off are refused.",
        )
    return Finding("ok", "", f"bus reachable, answer in {trip:.1f} ms, clocks within {abs(skew):.1f} s")
