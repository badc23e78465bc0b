"""What `zwerm doctor` says about this device's agents: those that cannot be offered, and those that people should be warned of."""

from __future__ import annotations

from mesh.doctor import Finding
from mesh.home import Home

from .errors import AgentError
from .local import look

__all__ = ["examine_agents"]


def examine_agents(home: Home) -> list[Finding]:
    """Look at the agents that the configuration asks for; a device without the role has none."""
    if "agent" not in home.load().roles:
        return []
    try:
        offered, left_out = look(home.path)
    except AgentError as error:
        return [Finding("error", error.code, error.message, error.hint)]
    warned = [adapter.spec for adapter in offered if adapter.spec.warning]
    findings = [Finding("ok", "", f"{len(offered)} agent{'s' * (len(offered) != 1)} offered")]
    findings += [
        Finding("warning", "W_AGENT", f"agent {out.name} is not offered: {out.error.message}", out.error.hint)
        for out in left_out
    ]
    findings += [
        Finding(
            "warning",
            "W_UNCONFINED",
            f"agent {spec.name}: {spec.warning}",
            "Use Linux 5.13 or later with Landlock on, or `documents = false` in [agent] where documents come from strangers.",
        )
        for spec in warned
    ]
    return findings
