"""`zwerm agents detect`, `add` and `rm`: which agents a device has, and which of them it offers. They change the device's `config.toml` and nothing else."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import click

from mesh.output import Exit
from mesh.verbs import Session, command

__all__ = ["VERBS"]

_AGAIN = "It is offered when zwerm is started again: `zwerm down`, `zwerm up`"


@command("detect")
def detect_agents(session: Session) -> int:
    """Which agent programs are installed here, and how to add them."""
    from .agents_detect import detect
    from .local import configured

    listed: dict[str, list[str]] = {}
    for entry in configured(session.home.path).agents:
        if entry.preset is not None:
            listed.setdefault(entry.preset, []).append(entry.name)
    found = detect(listed)
    out = session.out
    rows: list[tuple[object, ...]] = []
    for one in found:
        if not one.programs:
            rows.append((one.preset.name, "not installed", "", one.preset.install))
            continue
        tried = f" (tried: {one.preset.tested})" if one.preset.tested else " (not tried by zwerm's tests)"
        todo = f"offered as {', '.join(one.agents)}" if one.agents else f"zwerm agents add {one.preset.name}"
        rows.append((one.preset.name, ", ".join(one.programs), f"{one.version or '?'}{tried}", todo))
    out.table(("PRESET", "ADAPTERS", "VERSION", "NEXT"), rows)
    out.document(
        "agents-detect",
        {
            "presets": [
                {
                    "preset": one.preset.name,
                    "title": one.preset.title,
                    "programs": one.programs,
                    "version": one.version,
                    "tested": one.preset.tested,
                    "agents": one.agents,
                    "install": one.preset.install,
                }
                for one in found
            ]
        },
    )
    return Exit.OK


@command("add")
@click.argument("what")
@click.argument("argv", nargs=-1)
@click.option("--name", help="What the agent is called; the preset's name if left out.")
@click.option("--adapter", type=click.Choice(["acp", "headless", "command"]), help="How it is spoken to.")
@click.option(
    "-c", "--capability", "capabilities", multiple=True, help="What it is offered as; may be repeated."
)
@click.option(
    "--permission",
    type=click.Choice(["auto", "ask", "never"]),
    help="What it is told that asks leave to use a tool.",
)
@click.option("--description", default="", help="What it is good at, in words.")
@click.option(
    "-e", "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Part of its environment."
)
def add_agent(
    session: Session,
    what: str,
    argv: tuple[str, ...],
    name: str | None,
    adapter: str | None,
    capabilities: tuple[str, ...],
    permission: str | None,
    description: str,
    variables: tuple[str, ...],
) -> int:
    """Offer one more agent: a preset (`zwerm agents detect` lists them), or NAME -- PROGRAM ARGUMENT... ."""
    from .adapters import Place, build
    from .adapters.presets import PRESETS
    from .agents_detect import CAPABILITY, default_entry
    from .agents_edit import added
    from .config import load_config

    preset = PRESETS.get(what)
    if preset is None and not argv:
        raise click.UsageError(
            f"{what!r} is no preset ({', '.join(sorted(PRESETS))}). For a program of your own: zwerm agents add NAME -- PROGRAM ARGUMENT..."
        )
    spoken = adapter or ("acp" if preset is not None and not argv else "command")
    if preset is not None and spoken == "headless" and not preset.headless and not argv:
        raise click.UsageError(f"{preset.title} has no such command; leave out --adapter.")
    entry: dict[str, Any] = {"name": name or what, "adapter": spoken}
    if preset is not None and spoken != "command":
        entry = {**default_entry(preset, name or what, spoken), **({"argv": list(argv)} if argv else {})}
    elif argv:
        entry["argv"] = list(argv)
    entry["capabilities"] = list(capabilities) or [CAPABILITY]
    if description:
        entry["description"] = description
    if permission is not None:
        entry["permission"] = permission
    if variables:
        entry["env"] = _pairs(variables)
    path = session.home.file("config.toml")
    text = added(path.read_text(encoding="utf-8") if path.exists() else "", entry)
    section = tomllib.loads(text)
    config = load_config({**section.get("agent", {}), "agents": section["agents"]}, str(path))
    alone = config.model_copy(
        update={
            "agents": [one for one in config.agents if one.name == entry["name"]],
            "agent": config.agent.model_copy(update={"documents": False, "noop": False}),
        }
    )
    _, left_out = build(Place(alone, Path(tempfile.gettempdir()), home=session.home.path))
    _write(path, text)
    out = session.out
    out.done(f"added {entry['name']} to {path}")
    for gone in left_out:
        out.warn(f"it cannot be offered yet: {gone.error.message}   Next: {gone.error.hint}")
    out.line(f"Try it: zwerm agents test {entry['name']}.   {_AGAIN}.")
    missing = [
        {"code": gone.error.code, "message": gone.error.message, "hint": gone.error.hint} for gone in left_out
    ]
    out.document("agents-add", {"agent": entry, "file": str(path), "left_out": missing})
    return Exit.PARTIAL if left_out else Exit.OK


@command("rm")
@click.argument("name")
def remove_agent(session: Session, name: str) -> int:
    """Offer an agent no more: takes its `[[agents]]` out of the device's configuration."""
    from .agents_edit import removed

    path = session.home.file("config.toml")
    text = removed(path.read_text(encoding="utf-8") if path.exists() else "", name)
    _write(path, text)
    session.out.done(f"removed {name} from {path}")
    session.out.line("It is offered until zwerm is started again: `zwerm down`, `zwerm up`.")
    session.out.document("agents-rm", {"name": name, "file": str(path)})
    return Exit.OK


def _write(path: Path, text: str) -> None:
    """Replace the file that is really meant, as readable as it was."""
    from mesh.home import private_write

    path = path.resolve()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    private_write(path, text.encode("utf-8"), mode=mode)


def _pairs(variables: tuple[str, ...]) -> dict[str, str]:
    found = dict(variable.split("=", 1) for variable in variables if "=" in variable)
    if len(found) != len(variables):
        raise click.UsageError("--env wants NAME=VALUE.")
    return found


VERBS = {"add": add_agent, "detect": detect_agents, "rm": remove_agent}
"""What `commands` puts beside `ls`, `show` and `test`."""
