"""Adapters by name: what `adapter = "..."` in a node's configuration may say, and the agents that a node offers because of it.

`python`, `command`, `chat`, `local`, `acp` and `headless` are built in; other packages add theirs by the entry point group `zwerm.adapters`, a function
`(entry: AgentEntry, place: Place) -> Adapter`. An agent that cannot work on this device is left out, with the reason, and never offered half.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, TypeAlias

from agent_node.config import AgentEntry, NodeConfig
from agent_node.confine_proc import level
from agent_node.errors import AdapterError, AgentError
from agent_node.history import Prior
from agent_node.models.gate import Gates
from agent_node.policy import AgentSpec, allowed
from agent_node.questions import Ask
from agent_node.running_proc import Running
from protocol.messages import Usage

from .base import Adapter

__all__ = ["Factory", "LeftOut", "Place", "build", "factory_of", "spec_of"]

_MIB: Final = 1 << 20
_QUICK: Final = Prior(0.001, 0.01)
_PROCESS: Final = Prior(0.3, 0.5)
_MODULES: Final = {
    "command": ".command",
    "chat": ".chat",
    "local": ".local",
    "acp": ".acp",
    "headless": ".headless",
}
"""Where the built-in ones are; imported when they are used."""
BUILT_IN: Final = ("python", *_MODULES)
NOOP: Final = "demo.noop"
NOOP_SLOTS: Final = 256


@dataclass(frozen=True, slots=True)
class Place:
    """Where adapters work: the node's settings and the private directory for jobs."""

    config: NodeConfig
    jobs: Path
    running: Running | None = None
    """Where started processes are entered; None: nowhere (a try without a node)."""
    home: Path | None = None
    """The state directory, which has the secrets; None: there are none."""
    gates: Gates = field(default_factory=Gates)
    """Limits of use, which agents with the same key share."""

    ask: Ask | None = None
    """How an agent's work asks a person; None: there is nobody to ask."""

    @property
    def queue(self) -> int:
        """Awards that may wait for a slot."""
        section = self.config.agent
        return section.slots if section.queue is None else section.queue


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An agent that is configured and not offered, and why."""

    name: str
    error: AgentError


Factory: TypeAlias = Callable[[AgentEntry, Place], Adapter]


def spec_of(entry: AgentEntry, place: Place, **more: Any) -> AgentSpec:
    """What the core is told of a configured agent; `more` overrides what the adapter knows better."""
    section = place.config.agent
    facts: dict[str, Any] = {
        "name": entry.name,
        "capabilities": frozenset(name for name in entry.names if allowed(name, tuple(section.capabilities))),
        "slots": entry.slots or section.slots,
        "description": entry.description,
        "adapter": entry.adapter,
        "queue": place.queue,
        "quiet_ms": round(entry.quiet_s * 1000),
        "max_bytes": entry.max_input_mib * _MIB,
        "prior": _PROCESS,
        "unpriced": entry.price == "unknown",
        "estimate": Usage(**entry.estimate.model_dump()),
        "caps": entry.caps.usage(),
    }
    return AgentSpec(**(facts | more))


def build(place: Place, functions: Iterable[Callable[..., Any]] = ()) -> tuple[list[Adapter], list[LeftOut]]:
    """All agents that this node offers, and those that it cannot: built-in ones, configured ones, and `functions` given in Python.

    Raises:
        ConfigError: an `adapter` has no such name.
    """
    offered: list[Adapter] = []
    left_out: list[LeftOut] = []
    section = place.config.agent

    def add(name: str, make: Callable[[], Adapter | None]) -> None:
        try:
            adapter = make()
            if adapter is not None and adapter.spec.capabilities:
                adapter.probe()
                offered.append(adapter)
        except AgentError as error:
            left_out.append(LeftOut(name, error))

    if section.documents:
        add("documents", lambda: _documents(place))
    if section.noop:
        add("noop", lambda: _noop(place))
    for entry in place.config.agents:
        add(entry.name, lambda entry=entry: factory_of(entry)(entry, place))  # type: ignore[misc]
    for function in functions:
        add(getattr(function, "__name__", "function"), lambda function=function: _decorated(function, place))  # type: ignore[misc]
    return offered, left_out


def factory_of(entry: AgentEntry) -> Factory:
    """What makes the adapter that an entry names.

    Raises:
        AdapterError: there is no such adapter.
    """
    if entry.adapter == "python":
        return _python
    if entry.adapter in _MODULES:
        built_in: Factory = importlib.import_module(_MODULES[entry.adapter], __name__).from_entry
        return built_in
    found = {point.name: point for point in entry_points(group="zwerm.adapters")}
    if entry.adapter not in found:
        known = ", ".join(sorted({*BUILT_IN, *found}))
        raise AdapterError(
            f"[[agents]] {entry.name}: there is no adapter {entry.adapter!r}",
            f"Known here: {known}. Others come with the package that has them.",
        )
    factory: Factory = found[entry.adapter].load()
    return factory


def _pool(name: str, place: Place, **more: Any) -> Any:
    from agent_node.worker_proc import WorkerLimits, WorkerPool

    worker = place.config.agent.worker
    limits = WorkerLimits(
        memory=worker.memory_mib * _MIB,
        files=worker.files,
        file_bytes=worker.output_mib * _MIB,
        cpu_s=worker.cpu_s,
        output_bytes=worker.output_mib * _MIB,
        recycle_jobs=worker.recycle_jobs,
        recycle_bytes=worker.recycle_mib * _MIB,
    )
    return WorkerPool(name, place.jobs, limits, running=place.running, **more)


def _documents(place: Place) -> Adapter | None:
    from agent_node.doc_agents import TARGET, document_spec
    from agent_node.documents import CAPABILITIES

    from .python_func import ProcessFunction

    section = place.config.agent
    names = frozenset(name for name in CAPABILITIES if allowed(name, tuple(section.capabilities)))
    spec = document_spec(
        section.slots, place.queue, section.max_input_mib * _MIB, names, confined=level() > 0
    )
    return ProcessFunction(spec, dict.fromkeys(names, TARGET), _pool("documents", place, confined=True))


def _noop(place: Place) -> Adapter | None:
    from .python_func import InlineFunction

    if not allowed(NOOP, tuple(place.config.agent.capabilities)):
        return None
    spec = AgentSpec(
        "noop",
        frozenset({NOOP}),
        NOOP_SLOTS,
        description="Does nothing, at once: for measurements",
        queue=4 * NOOP_SLOTS,
        shared=False,
        quick=True,
        prior=_QUICK,
    )
    return InlineFunction(spec, lambda _job: None, fileless=True)


def _python(entry: AgentEntry, place: Place) -> Adapter:
    from .python_func import InlineFunction, ProcessFunction, check_target

    target = entry.target or ""
    if entry.mode == "process":
        spec = spec_of(entry, place)
        if entry.confined and level() == 0:
            raise AdapterError(
                "this kernel cannot confine a process (it has no Landlock)",
                "Use Linux 5.13 or later with Landlock on, or leave out `confined` if you trust the function with all that you have.",
            )
        pool = _pool(entry.name, place, env=dict(entry.env), confined=entry.confined)
        return ProcessFunction(spec, dict.fromkeys(spec.capabilities, target), pool)
    check_target(target)
    from agent_node.functions import JobFailed
    from agent_node.worker import load_target

    try:
        function = load_target(target)
    except JobFailed as error:
        raise AdapterError(error.message, "Correct `target`, or the module that it names.") from None
    shared = entry.mode == "thread"
    return InlineFunction(spec_of(entry, place, shared=shared, prior=_QUICK), function, entry.mode)


def _decorated(function: Callable[..., Any], place: Place) -> Adapter:
    from agent_node.functions import MARK, Capability

    from .python_func import InlineFunction, ProcessFunction

    offer: Capability | None = getattr(function, MARK, None)
    if offer is None:
        raise AdapterError(
            f"{getattr(function, '__name__', function)!r} is no capability",
            'Put @capability("some.name") above the function.',
        )
    entry = AgentEntry.model_construct(
        name=offer.name,
        adapter="python",
        capability=offer.name,
        description=offer.description,
        quiet_s=offer.quiet_s,
    )
    spec = spec_of(entry, place)
    spec = replace(spec, slots=offer.slots or spec.slots, shared=offer.mode != "inline")
    if offer.mode == "process":
        return ProcessFunction(spec, {offer.name: _target_of(function)}, _pool(offer.name, place))
    return InlineFunction(replace(spec, prior=_QUICK), function, offer.mode)


def _target_of(function: Callable[..., Any]) -> str:
    """Where a worker finds the function: by its module, or by its file when it is in the script that was started."""
    module = sys.modules.get(function.__module__) or importlib.import_module(function.__module__)
    where = function.__module__
    if where == "__main__":
        file = getattr(module, "__file__", None)
        if not file:
            raise AdapterError(
                f"{function.__qualname__} was typed in, not read from a file, so a worker cannot load it",
                'Put it into a file, or use @capability(..., mode="thread").',
            )
        where = str(Path(file).resolve())
    if "<" in function.__qualname__:
        raise AdapterError(
            f"{function.__qualname__} is defined inside a function, so a worker cannot load it",
            "Move it to the top of its module.",
        )
    return f"{where}:{function.__qualname__}"
