"""The verbs `secrets`: keys of model servers, kept on this device. They read a value from standard input only, and print none."""

from __future__ import annotations

import sys

import click

from mesh.output import Exit
from mesh.verbs import HELP_SETTINGS, Session, command

__all__ = ["secrets"]

_MOST = 16_384


@command("set")
@click.argument("name")
def set_secret(session: Session, name: str) -> int:
    """Keep a secret under NAME, read from standard input (without echo on a terminal).

    An agent names it in config.toml: options = { key = "secret:NAME", ... }
    """
    from .secrets_file import write_secret

    home = session.home
    home.load()
    if sys.stdin.isatty():
        value = click.prompt(f"{name}", hide_input=True, err=True)
    else:
        value = sys.stdin.read(_MOST + 1)
    write_secret(home.path, name, value)
    session.out.done(f"{name} is kept in {home.path / 'secrets'}; agents that name it use it from now on")
    session.out.document("secret", {"name": name, "kept": True})
    return Exit.OK


@command("ls")
def list_them(session: Session) -> int:
    """Names of the secrets that are kept here, and which agents name them."""
    from .local import configured
    from .secrets_file import list_secrets

    home = session.home
    named: dict[str, list[str]] = {}
    for entry in configured(home.path).agents:
        key = entry.options.get("key")
        if isinstance(key, str) and key.startswith("secret:"):
            named.setdefault(key.removeprefix("secret:"), []).append(entry.name)
    kept = list_secrets(home.path)
    rows = [
        (name, "kept" if name in kept else "missing", ", ".join(named.get(name, [])))
        for name in sorted({*kept, *named})
    ]
    session.out.table(("NAME", "STATE", "AGENTS"), rows)
    session.out.document(
        "secrets",
        {
            "secrets": [
                {"name": name, "kept": state == "kept", "agents": named.get(name, [])}
                for name, state, _ in rows
            ]
        },
    )
    return Exit.OK


@command("rm")
@click.argument("name")
def remove(session: Session, name: str) -> int:
    """Forget a secret."""
    from .secrets_file import remove_secret

    remove_secret(session.home.path, name)
    session.out.done(f"{name} is forgotten")
    session.out.document("secret", {"name": name, "kept": False})
    return Exit.OK


secrets = click.Group(
    "secrets",
    commands={"set": set_secret, "ls": list_them, "rm": remove},
    help="Keys that agents of this device need.",
    context_settings=HELP_SETTINGS,
)
