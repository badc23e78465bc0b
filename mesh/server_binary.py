"""Shell: which nats-server program to run, and whether it is new enough.

The wheel's own program is in this environment's scripts folder; a distribution's is often years too old, therefore the version is asked
for before every first start. Counterpart: `server_proc.py`, which runs it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from .errors import BadSettings, ServerBinaryMissing
from .server import MIN_VERSION, parse_version

__all__ = ["BINARY_ENV", "find_binary", "server_version"]

BINARY_ENV: Final = "ZWERM_NATS_SERVER"
"""Environment variable that names the nats-server to run."""


def find_binary(chosen: Path | None = None) -> Path:
    """The nats-server to run: `chosen`, $ZWERM_NATS_SERVER, this environment's scripts, then PATH.

    Raises:
        ServerBinaryMissing: there is none, or the one asked for is not a program.
    """
    named = os.environ.get(BINARY_ENV)
    for source, path in (("the setting", chosen), (f"${BINARY_ENV}", Path(named) if named else None)):
        if path is not None:
            if not os.access(path, os.X_OK) or path.is_dir():
                raise ServerBinaryMissing(f"{source} names {path} as nats-server, which is not a program")
            return path
    program = "nats-server.exe" if os.name == "nt" else "nats-server"
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        path = Path(folder) / program
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(program)
    if found is None:
        raise ServerBinaryMissing("there is no nats-server on this device")
    return Path(found)


async def server_version(binary: Path) -> tuple[int, int, int]:
    """Ask a nats-server for its version.

    Raises:
        ServerBinaryMissing: it cannot be run, is something else, or is older than `MIN_VERSION`.
    """
    try:
        async with asyncio.timeout(10):
            process = await asyncio.create_subprocess_exec(
                binary, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
        version = parse_version(output.decode("utf-8", "replace"))
    except (OSError, TimeoutError, BadSettings) as error:
        raise ServerBinaryMissing(f"{binary} cannot be used as nats-server: {error}") from error
    if version < MIN_VERSION:
        have, need = (".".join(map(str, numbers)) for numbers in (version, MIN_VERSION))
        raise ServerBinaryMissing(f"{binary} is nats-server {have}; {need} or later is needed")
    return version
