"""The section `[coordinator]` of a device's configuration: what may be set, in which unit, and what is used otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from protocol.errors import ZwermError
from protocol.messages import Budget
from protocol.records import DEPTH_MAX

from .budget import Bounds
from .budget_text import BudgetInvalid, parse
from .engine import Settings
from .snapshot_store import SNAPSHOT_RECORDS

__all__ = ["Config", "ConfigInvalid", "load_config"]


Words = Annotated[str, Field(max_length=500)]
CHILDREN: Final = 32
"""Runs below a run, unless its owner says otherwise: a mistake that begins runs in a loop must end."""


class ConfigInvalid(ZwermError):
    """A setting has a value that it may not have."""

    def __init__(self, message: str) -> None:
        super().__init__("E_CONFIG", message, "Correct the file, then start again.")


class Config(BaseModel):
    """Settings of a coordinator. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grace_s: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """How long work waits for a capability that nobody offers, before the run says so."""
    lost_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    """The same when somebody did offer it before: its device may be restarting."""
    settle_s: Annotated[float, Field(ge=0, le=60)] = 6.0
    """So long after its start nothing is given up: nodes say hello every few seconds."""
    hedge: bool = True
    """Whether work that takes much longer than it should is done by a second node, too, when one has nothing else to do."""
    hedge_after_s: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    """Nothing that has taken less is late."""
    kept_runs: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Ended runs that stay in memory; older ones are read from the journal when somebody asks."""
    budget_run: Words = ""
    """The most that one run may spend, e.g. "money=20,tokens=10M": what it asks for may be less, and not more. Runs below a run: 32 if nothing is said."""
    budget_node: Words = ""
    """The most that one run may spend at one node."""
    budget_agent: Words = ""
    """The most that one run may spend with one agent."""
    budget_day: Words = ""
    """The most that all runs of the swarm may spend in one day (UTC), shared among all coordinators."""
    budget_node_day: Words = ""
    """The most that all runs together may spend at one node in one day; set it to the same at all coordinators."""
    budget_agent_day: Words = ""
    """The most that all runs together may spend with one agent of a node in one day."""
    run_depth: Annotated[int, Field(ge=0, le=DEPTH_MAX)] = 3
    """How deep runs may begin runs of their own."""
    lease_s: Annotated[float, Field(ge=1, le=120)] | None = None
    """How long this coordinator may be silent before others take its runs; by default 3 on a single bus server, 15 on a cluster."""
    snapshot_records: Annotated[int, Field(ge=1)] = SNAPSHOT_RECORDS
    """So many records of a run make a new snapshot of it worth its while, for whoever takes it over."""
    trace: str = ""
    """A file to which every event is written, to play it again; empty: none."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of all chance, for tests; by default it is drawn from the system."""

    @field_validator(
        "budget_run", "budget_node", "budget_agent", "budget_day", "budget_node_day", "budget_agent_day"
    )
    @classmethod
    def _budget(cls, text: str, info: ValidationInfo) -> str:
        try:
            budget = parse(text) if text else Budget()
        except BudgetInvalid as error:
            raise ValueError(error.message) from None
        if info.field_name != "budget_run" and (budget.wall_ms is not None or budget.children is not None):
            raise ValueError("only money, tokens, steps and bytes can be bounded here")
        return text

    @property
    def run_budget(self) -> Budget:
        """The most that one run may have."""
        asked = parse(self.budget_run) if self.budget_run else Budget()
        return asked if asked.children is not None else asked.model_copy(update={"children": CHILDREN})

    def settings(self) -> Settings:
        """What the engine needs of it."""
        texts = (
            self.budget_node, self.budget_agent, self.budget_day, self.budget_node_day, self.budget_agent_day,
        )  # fmt: skip
        node, agent, day, node_day, agent_day = (parse(text) if text else None for text in texts)
        return Settings(
            grace_s=self.grace_s,
            lost_grace_s=self.lost_grace_s,
            settle_s=self.settle_s,
            hedge=self.hedge,
            hedge_after_s=self.hedge_after_s,
            bounds=Bounds(node, agent, day, node_day, agent_day, depth=self.run_depth),
        )


def load_config(section: dict[str, Any], where: str) -> Config:
    """Check the section.

    Raises:
        ConfigInvalid: a setting is unknown or has a wrong value; says which, in which file, and what is allowed.
    """
    try:
        return Config.model_validate(section)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        known = f" (known: {', '.join(Config.model_fields)})" if first["type"] == "extra_forbidden" else ""
        raise ConfigInvalid(
            f"{where}, coordinator.{name}: {str(first['msg']).removeprefix('Value error, ')}{known}"
        ) from None
