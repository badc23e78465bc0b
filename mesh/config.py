"""`config.toml` of a node: what its owner may set. Every key has a default that is safe; an unknown key is an error, not a surprise.

Sections other than this package's own (`[agent]`, `[coordinator]`, `[[agents]]`) belong to the roles, which check them themselves.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import BadSettings
from .home import Home
from .workspace import WorkspaceSizes

__all__ = ["Config", "load_config"]


class Config(BaseModel):
    """The settings of the daemon itself."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    mdns: bool = True
    """Announce the bus on the local network. Off: devices need the address from their invite."""
    journal_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 1024
    """Space for the runs' records. Larger: more history; the disk must have it."""
    artifacts_mib: Annotated[int, Field(ge=8, le=1 << 24)] = 8192
    """Space for inputs and results. When it is full, new ones are refused and nothing old is lost."""
    replicas: Literal[1, 3, 5] = 1
    """On how many servers of the bus the workspace is kept. With 3 it outlives the loss of any one of them."""
    sync_always: bool = True
    """Store on disk before acknowledging. Off only for throw-away swarms: a power cut then loses what was acknowledged."""

    def section(self, name: str) -> dict[str, Any]:
        """A role's own section, as read (with `agents`, the list of configured agents, for the agent role)."""
        extra = self.model_extra or {}
        section = dict(extra.get(name, {}))
        if name == "agent" and "agents" in extra:
            section["agents"] = extra["agents"]
        return section

    def workspace_sizes(self) -> WorkspaceSizes:
        """The workspace's sizes in bytes."""
        return WorkspaceSizes(journal=self.journal_mib << 20, artifacts=self.artifacts_mib << 20)


_SECTIONS = {"agent", "agents", "coordinator"}


def load_config(home: Home) -> Config:
    """Read `config.toml`, or the defaults if there is none.

    Raises:
        BadSettings: it cannot be read, or has a key that means nothing.
    """
    path = home.file("config.toml")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise BadSettings(
            f"{path} cannot be read: {error.strerror}",
            "Make it a file that this user can read, or remove it.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(
            f"{path}: {error}", "Correct the file; its keys are listed in the documentation."
        ) from None
    unknown = set(data) - set(Config.model_fields) - _SECTIONS
    if unknown:
        raise BadSettings(
            f"{path}: {', '.join(sorted(unknown))} is no setting",
            f"Known: {', '.join(sorted(set(Config.model_fields) | _SECTIONS))}.",
        )
    for name, form, written in (
        ("agent", dict, "[agent]"),
        ("coordinator", dict, "[coordinator]"),
        ("agents", list, "[[agents]]"),
    ):
        if name in data and not isinstance(data[name], form):
            raise BadSettings(f"{path}: {name} is no section", f"Write it as {written}.")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadSettings(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
