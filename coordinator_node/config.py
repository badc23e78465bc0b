"""The section `[coordinator]` of a device's configuration: what may be set, in which unit, and what is used otherwise."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.errors import ZwermError

from .engine import Settings

__all__ = ["Config", "ConfigInvalid", "load_config"]


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
    kept_runs: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Ended runs that stay in memory; older ones are read from the journal when somebody asks."""
    trace: str = ""
    """A file to which every event is written, to play it again; empty: none."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of all chance, for tests; by default it is drawn from the system."""

    def settings(self) -> Settings:
        """What the engine needs of it."""
        return Settings(grace_s=self.grace_s, lost_grace_s=self.lost_grace_s, settle_s=self.settle_s)


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
        raise ConfigInvalid(f"{where}, coordinator.{name}: {first['msg']}{known}") from None
