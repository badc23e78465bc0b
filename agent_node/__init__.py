"""Selling work: what a node can do, what it asks for it, and how it carries it out.

`capability` and `serve` are what a person needs to offer Python functions; everything else is reached through the daemon's role `agent`. They
are loaded when they are asked for: a worker process and `zwerm --version` must not pay for what they do not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .functions import Given, Job, JobFailed, Output, capability
    from .serving import serve

__all__ = ["Given", "Job", "JobFailed", "Output", "capability", "serve"]


def __getattr__(name: str) -> Any:
    if name == "serve":
        from .serving import serve

        return serve
    if name in __all__:
        from . import functions as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
