"""What a node's owner says of a chat endpoint: the table `options` of an `[[agents]]` with `adapter = "chat"`.

    [[agents]]
    name = "kimi"
    adapter = "chat"
    capability = "text.summarize"
    options = { url = "https://api.moonshot.ai/v1", model = "kimi-k3.1-pro", key = "secret:MOONSHOT_API_KEY", context = 262144 }

Rules. Address, model and key are here and nowhere else: nothing that comes over the wire can name another. A key is never written here, only
the name under which `zwerm secrets` keeps it, and it does not travel unencrypted to another machine.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from agent_node.errors import ConfigError

__all__ = ["KEY_PREFIX", "ChatOptions", "Endpoint", "UsdPrice", "endpoint_of", "read_options"]

KEY_PREFIX: Final = "secret:"
_KIMI_HOSTS: Final = ("moonshot.ai", "moonshot.cn", "kimi.com")

Line = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class UsdPrice(_Table):
    """`price = {input = 0.6, cached = 0.1, output = 2.5}`: US dollars for a million tokens."""

    input: Annotated[float, Field(ge=0, le=1e6)]
    output: Annotated[float, Field(ge=0, le=1e6)]
    cached: Annotated[float, Field(ge=0, le=1e6)] | None = None


class ChatOptions(_Table):
    """See the module. Sizes are in tokens."""

    url: Line
    """Up to and without `/chat/completions`, e.g. `http://127.0.0.1:11434/v1`."""
    model: Line
    key: Annotated[str, StringConstraints(pattern=r"^(secret:[A-Za-z_][A-Za-z0-9_]{0,63})?$")] = ""
    insecure: bool = False
    """Let the key travel unencrypted to another machine."""
    local: bool = False
    """The model runs on this device: it costs nothing. A server here that passes on to a paid model is not local."""
    price: UsdPrice | None = None
    """Where neither this nor the price table knows the model, its price is unknown, which is not nothing."""
    credits_per_usd: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    context: Annotated[int, Field(ge=256, le=1 << 26)] = 8192
    """What the model can read and write together."""
    max_tokens: Annotated[int, Field(ge=16, le=1 << 22)] = 1024
    """The longest answer, thinking included."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    effort: Literal["", "minimal", "low", "medium", "high", "max"] = ""
    style: Literal["auto", "openai", "kimi"] = "auto"
    structured: Literal["auto", "schema", "object", "none"] = "auto"
    """How JSON is asked for: by its schema, as any JSON object, in words only. `auto` begins with the schema and goes on with what the server takes."""
    prompt: Annotated[str, StringConstraints(pattern=r"^(/.{1,1000}|[a-z][a-z0-9.-]{0,63})$")] = "work.1"
    """A prompt that comes with zwerm, with its version, or the absolute path of a file."""
    instructions: Annotated[str, StringConstraints(max_length=16_000)] = ""
    """The owner's own words to the model, after those of the prompt."""
    stream: bool = True
    at_once: Annotated[int, Field(ge=0, le=4096)] = 0
    """The most requests at a time with this key, by all agents of the node that have it; 0: as many as they have slots."""
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    wait_s: Annotated[float, Field(ge=0, le=3600)] = 120.0
    """Wait for a limit of use for so long; for a longer one the work is given back."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        where = endpoint_of(self.url)
        if self.key and not where.encrypted and not where.loopback and not self.insecure:
            raise ValueError(
                f"url: the key would travel unencrypted to {where.host}; use https, or `insecure = true` if that network is yours"
            )
        if self.max_tokens >= self.context:
            raise ValueError("max_tokens: it must leave room in `context` for what the model reads")
        if self.local and self.price is not None:
            raise ValueError("price: a model with `local = true` costs nothing")
        return self

    @property
    def kimi(self) -> bool:
        """Whether requests have the form that Moonshot asks for."""
        host = endpoint_of(self.url).host
        known = any(host == name or host.endswith(f".{name}") for name in _KIMI_HOSTS)
        return self.style == "kimi" or (self.style == "auto" and known)

    @property
    def secret(self) -> str:
        """The name of the key; "" if there is none."""
        return self.key.removeprefix(KEY_PREFIX)


class Endpoint(BaseModel):
    """Where a server is."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    encrypted: bool
    loopback: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def endpoint_of(url: str) -> Endpoint:
    """Where a URL leads.

    Raises:
        ValueError: it is not one of http or https with a host, or has something in it that does not belong there.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('url: it must look like "http://127.0.0.1:11434/v1"')
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("url: only a scheme, a host, a port and a path; a key belongs into `zwerm secrets`")
    host = parts.hostname
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    encrypted = parts.scheme == "https"
    return Endpoint(
        host=host, port=port or (443 if encrypted else 80), encrypted=encrypted, loopback=loopback
    )


def read_options(name: str, options: dict[str, Any], source: str = "config.toml") -> ChatOptions:
    """Check the `options` of an agent.

    Raises:
        ConfigError: it names the key, what is wrong and what is allowed.
    """
    try:
        return ChatOptions.model_validate(options)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(["options", *map(str, problem["loc"])])
        if problem["type"] == "extra_forbidden":
            words = f"no such setting; known: {', '.join(sorted(ChatOptions.model_fields))}"
        else:
            words = str(problem["msg"]).removeprefix("Value error, ")
            words = words[:1].lower() + words[1:]
        raise ConfigError(f"{source}: [[agents]] {name}.{where}: {words}") from None
