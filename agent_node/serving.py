"""`serve(*functions)`: a script that is an agent node.

    from agent_node import capability, serve

    @capability("text.shout")
    def shout(job): return job.inputs[0].text().upper()

    serve(shout)

The device must be in a swarm already (`zwerm join`). Counterpart: `mesh.daemon`, which runs the role with everything else that the device is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import ConfigError

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

__all__ = ["serve"]


def serve(*functions: Callable[..., Any], home: str | None = None) -> None:
    """Be this device's daemon, with these functions among its agents, until SIGINT or SIGTERM.

    Args:
        functions: functions under `@capability`.
        home: the state directory; the usual one when left out.

    Raises:
        ConfigError: there is no function, or one of them cannot be offered (which, and why, is said).
        NotInSwarm: this device is in no swarm yet.
        MeshError: the daemon could not start.
    """
    from mesh.daemon import Daemon, load_role, run_until_signalled
    from mesh.home import Home, locate_home

    from .node import AgentRole

    if not functions:
        raise ConfigError("serve() was called without a function", "Write serve(my_function).")

    def make_role(name: str, endpoint: Endpoint, config: dict[str, Any]) -> Any:
        if name != AgentRole.name:
            return load_role(name, endpoint, config)
        role = AgentRole(endpoint, config, functions=functions)
        offered = {getattr(function, "__name__", "") for function in functions}
        for out in role.left_out:
            if out.name in offered:
                raise ConfigError(f"{out.name} cannot be offered: {out.error.message}", out.error.hint)
        return role

    place = Home(locate_home(home))
    place.load()
    asyncio.run(run_until_signalled(Daemon(place, make_role=make_role)))
