"""What the owner of a node may set about its agents: the section `[agent]` and the list `[[agents]]` of `config.toml`.

Rules. Every key has a default that is safe; an unknown key, a wrong type or a value out of range is an error that names the file, the key
and what is allowed. What runs on this device is decided here and nowhere else: nothing that comes over the wire can add an agent, change a
command line or loosen a limit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from protocol.ids import AgentName, CapabilityName
from protocol.messages import Usage

from .errors import ConfigError
from .spending import NO_BOUND

__all__ = ["AgentEntry", "AgentSection", "NodeConfig", "WorkerSection", "load_config"]

_PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_][\w.\-\[\]]*\}|\$\{?\w+\}?|%\(\w+\)s")
_SECRETS: Final = re.compile(r"(^|_)(PASSWORD|PASSWD|SECRET|TOKEN|PRIVATE_KEY|API_?KEY)($|_)", re.IGNORECASE)
_MIB: Final = 1 << 20

Glob = Annotated[str, StringConstraints(pattern=r"^[a-z0-9*?.\[\]-]{1,64}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class WorkerSection(_Section):
    """`[agent.worker]`: what one worker process may use. 0 means no limit."""

    memory_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 2048
    cpu_s: Annotated[float, Field(ge=0, le=7 * 86400)] = 600.0
    """Processor seconds of one job."""
    files: Annotated[int, Field(ge=16, le=65536)] = 256
    output_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    recycle_jobs: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    recycle_mib: Annotated[int, Field(ge=16, le=1 << 20)] = 512


class EstimateSection(_Section):
    """`estimate = {tokens = 20000}`: what one job uses at most; 0 says nothing."""

    tokens: Annotated[int, Field(ge=0, le=1 << 52)] = 0
    steps: Annotated[int, Field(ge=0, le=1 << 52)] = 0
    bytes_out: Annotated[int, Field(ge=0, le=1 << 52)] = 0
    children: Annotated[int, Field(ge=0, le=1 << 52)] = 0


class CapsSection(_Section):
    """`caps = {tokens = 50000, money = 0.5}`: the most that one job may use, whatever a buyer allows; 0: no bound."""

    money: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Credits."""
    tokens: Annotated[int, Field(ge=0, lt=1 << 52)] = 0
    steps: Annotated[int, Field(ge=0, lt=1 << 52)] = 0
    bytes_out: Annotated[int, Field(ge=0, lt=1 << 52)] = 0
    children: Annotated[int, Field(ge=0, lt=1 << 52)] = 0

    def usage(self) -> Usage | None:
        """As the executor holds a job to it; None: no bound at all."""
        found = {**self.model_dump(), "money": round(self.money * 1_000_000)}
        return (
            Usage(**{kind: amount or NO_BOUND for kind, amount in found.items()})
            if any(found.values())
            else None
        )


class AgentEntry(_Section):
    """One `[[agents]]`: a Python function, a program or an agent of this device, offered as a capability."""

    name: AgentName
    adapter: AgentName
    capability: CapabilityName | None = None
    capabilities: Annotated[list[CapabilityName], Field(max_length=256)] = []
    description: Annotated[str, StringConstraints(max_length=200)] = ""
    slots: Annotated[int, Field(ge=1, le=4096)] | None = None
    quiet_s: Annotated[float, Field(ge=1, le=86400)] = 10.0
    max_input_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 64
    env: dict[Variable, str] = {}
    price: Literal["measured", "unknown"] = "measured"
    """`unknown`: it costs what a meter elsewhere says (a paid model). Where money is bounded it is then given no work."""
    estimate: EstimateSection = EstimateSection()
    caps: CapsSection = CapsSection()

    target: Annotated[str, StringConstraints(pattern=r"^[^:]+:[A-Za-z_][\w.]*$", max_length=1024)] | None = (
        None
    )
    mode: Literal["process", "thread", "inline"] = "process"
    confined: bool = False
    """A function in a process may touch nothing but Python, the system's libraries and its job (the document agents always)."""

    argv: Annotated[list[Word], Field(min_length=1, max_length=256)] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=86400)] = 600.0
    output: Literal["auto", "stdout.json", "files"] = "auto"
    sandbox: Literal["auto", "none"] = "auto"
    network: bool = False
    readable: Annotated[list[Word], Field(max_length=64)] = []
    memory_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 2048
    output_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 1024

    preset: AgentName | None = None
    """Of adapters `acp` and `headless`: a program that zwerm knows; argv, when it is given too, takes the place of its command."""
    permission: Literal["auto", "ask", "never"] = "ask"
    """What an agent is told that asks for leave to use a tool."""
    state: Annotated[list[Word], Field(max_length=64)] | None = None
    """Files and folders of the agent's own settings, which it may change; the preset's when left out."""
    sign_in: Annotated[str, StringConstraints(max_length=128)] = ""
    """The way to sign in that an ACP agent is asked to use, by its id; mostly it is signed in already."""
    session_mode: Annotated[str, StringConstraints(max_length=128)] = ""
    """The mode that an ACP agent's session is put into, by its id."""

    options: dict[str, Any] = {}
    """What the adapter itself wants to know (`chat`: see `models.settings`)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.adapter == "python" and self.target is None:
            raise ValueError('adapter "python" needs target = "package.module:function"')
        if self.confined and (self.adapter != "python" or self.mode != "process"):
            raise ValueError('confined = true is for adapter "python" with mode "process"')
        if self.adapter == "command":
            self._check_command()
        if self.adapter in ("acp", "headless"):
            self._check_program()
        if self.adapter in ("python", "command", "chat", "local", "acp", "headless") and not self.names:
            raise ValueError('capability = "some.name" is missing')
        for word in self.argv or []:
            if "\0" in word:
                raise ValueError("argv: a word contains a NUL character")
        for key, paths in (("readable", self.readable), ("state", self.state or [])):
            for path in paths:
                if not Path(path).is_absolute():
                    raise ValueError(f"{key}: {path!r} is not an absolute path")
        for name in self.env:
            if _SECRETS.search(name):
                raise ValueError(f"env: {name} looks like a secret; work from elsewhere must not see secrets")
        return self

    def _check_command(self) -> None:
        if self.argv is None:
            raise ValueError('adapter "command" needs argv = ["program", "argument", ...]')
        for word in self.argv:
            if _PLACEHOLDER.search(word):
                raise ValueError(
                    f"argv: {word!r} looks like a placeholder, and nothing is ever put into a command line: "
                    "the program gets its parameters and files as JSON on its standard input"
                )

    def _check_program(self) -> None:
        """What is common to agents that are programs of their own (the preset's name is checked by the adapter)."""
        if self.argv is None and self.preset is None:
            raise ValueError(
                f'adapter "{self.adapter}" needs preset = "name" (`zwerm agents detect` lists them) or argv = ["program", ...]'
            )

    @property
    def names(self) -> list[str]:
        """All capabilities of the agent."""
        return sorted({*self.capabilities, *([self.capability] if self.capability else [])})


class AgentSection(_Section):
    """`[agent]`: what this node sells, and how much of itself."""

    slots: Annotated[int, Field(ge=1, le=4096)] = max(1, os.cpu_count() or 1)
    queue: Annotated[int, Field(ge=0, le=65536)] | None = None
    """Awards that may wait for a slot; as many as slots when left out."""
    capabilities: Annotated[list[Glob], Field(min_length=1, max_length=256)] = ["*"]
    """Only what matches one of these patterns is offered."""
    documents: bool = True
    """Offer the built-in document agents."""
    noop: bool = False
    """Offer `demo.noop`, which does nothing: for measurements."""
    max_class: Annotated[int, Field(ge=0, le=1)] = 1
    max_input_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    max_load: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Decline while the device is busier than this; 1 means never mind."""
    max_price: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Decline work that would cost more than so many credits; 0: no bound."""
    rate: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Price of a second of one processor, in credits."""
    drain_s: Annotated[float, Field(ge=0, le=5)] = 2.0
    """When the node goes down, running work may finish for so long."""
    cache_mib: Annotated[int, Field(ge=0, le=1 << 20)] = 256
    """Space for copies of inputs and results, so that the next step finds its input here."""
    worker: WorkerSection = WorkerSection()


class NodeConfig(_Section):
    """Both parts together."""

    agent: AgentSection = AgentSection()
    agents: Annotated[list[AgentEntry], Field(max_length=256)] = []

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: set[str] = set()
        for entry in self.agents:
            if entry.name in seen:
                raise ValueError(f"two agents are called {entry.name!r}")
            seen.add(entry.name)
        return self


def load_config(section: dict[str, Any], source: str = "config.toml") -> NodeConfig:
    """Check the agent role's section, with its `agents` list in it, as the daemon hands it over.

    Args:
        section: the parsed TOML of `[agent]`, plus `agents` for `[[agents]]`.
        source: the file's name, for messages.

    Raises:
        ConfigError: it names the key, what is wrong and what is allowed.
    """
    own = {key: value for key, value in section.items() if key != "agents"}
    try:
        return NodeConfig.model_validate({"agent": own, "agents": section.get("agents", [])})
    except ValidationError as error:
        raise ConfigError(_explain(error, section, source)) from None


def _explain(error: ValidationError, section: dict[str, Any], source: str) -> str:
    lines: list[str] = []
    for problem in error.errors(include_url=False)[:5]:
        where = [str(part) for part in problem["loc"]]
        if where[:1] == ["agents"] and len(where) > 1 and where[1].isdigit():
            agents = section.get("agents", [])
            entry = agents[int(where[1])] if int(where[1]) < len(agents) else {}
            name = entry.get("name", f"number {int(where[1]) + 1}") if isinstance(entry, dict) else where[1]
            place = ".".join([f"[[agents]] {name}", *where[2:]])
        else:
            place = f"[{where[0]}] {'.'.join(where[1:])}" if where else "[[agents]]"
        lines.append(f"{source}: {place.strip()}: {_words(problem, where)}")
    return "\n".join(lines)


def _words(problem: Any, where: list[str]) -> str:
    if problem["type"] == "extra_forbidden":
        model: type[BaseModel] = AgentSection
        if where[:1] == ["agents"]:
            model = AgentEntry
        elif "worker" in where:
            model = WorkerSection
        return f"no such setting; known: {', '.join(sorted(model.model_fields))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    return message[:1].lower() + message[1:] + shown
