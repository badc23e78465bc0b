"""Shell: what an agent may know and nobody else: keys of model servers, one file each in `secrets/` of the state directory (0700, files 0600).

Rules. A secret comes in by standard input and leaves by `read_secret` only, for the request that needs it: never in a command line, a log, a
message, or the environment of a process. It is not encrypted at rest: whoever can read this user's files can read it, as with every key here.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from mesh.home import private_write

from .errors import AdapterError, AgentError

__all__ = ["FOLDER", "SecretError", "list_secrets", "read_secret", "remove_secret", "write_secret"]

FOLDER: Final = "secrets"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_MOST: Final = 16_384


class SecretError(AgentError):
    """A secret cannot be kept, or is not there."""

    def __init__(self, message: str, hint: str, code: str = "E_SECRET") -> None:
        super().__init__(code, message, hint)


def write_secret(home: Path, name: str, value: str) -> None:
    """Keep a secret, in place of an earlier one of this name.

    Raises:
        SecretError: its name or value cannot be one.
    """
    path = _path(home, name)
    value = value.strip()
    if not value or len(value) > _MOST or not value.isprintable():
        raise SecretError(
            f"{name} is empty, too long, or has characters that no key has",
            "Give it on standard input, on one line: `zwerm secrets set NAME < FILE`.",
        )
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.chmod(0o700)
    private_write(path, value.encode("utf-8") + b"\n")


def read_secret(home: Path, name: str) -> str:
    """A secret, to be used at once and not kept.

    Raises:
        AdapterError: it is not there, or not private.
    """
    hint = f"Keep it with `zwerm secrets set {name}`."
    try:
        descriptor = os.open(_path(home, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        words = (
            "is not kept on this device"
            if isinstance(error, FileNotFoundError)
            else f"cannot be read: {error.strerror}"
        )
        raise AdapterError(f"the secret {name} {words}", hint) from None
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AdapterError(f"the secret {name} can be read by others", hint)
        return file.read(_MOST).decode("utf-8", "replace").strip()


def list_secrets(home: Path) -> list[str]:
    """Names of the secrets that are kept."""
    folder = home / FOLDER
    return sorted(path.name for path in folder.iterdir() if _NAME.match(path.name)) if folder.is_dir() else []


def remove_secret(home: Path, name: str) -> None:
    """Forget a secret.

    Raises:
        SecretError: there is none of this name.
    """
    try:
        _path(home, name).unlink()
    except FileNotFoundError:
        known = ", ".join(list_secrets(home)) or "none"
        raise SecretError(f"there is no secret {name!r} here", f"Kept: {known}.", "E_NOT_FOUND") from None


def _path(home: Path, name: str) -> Path:
    if not _NAME.match(name):
        raise SecretError(
            f"{name[:80]!r} cannot be a secret's name", "Use letters, digits and _, such as MOONSHOT_API_KEY."
        )
    return home / FOLDER / name
