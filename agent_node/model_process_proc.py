"""Shell: the process that has an embedded model in its memory: started when it is first needed, killed with all that it has.

Rules. Its own session, no environment but what it needs, entered in the node's list of processes (so `zwerm halt` reaches it), and it dies with the node. It is
told to end by the end of its standard input, and killed if it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any, Final

from .errors import WorkError
from .running_proc import Running
from .tree_proc import MARK_NAME, kill_all

__all__ = ["ModelProcess"]

_HERE: Final = Path(__file__).resolve().parent
_LOAD_S: Final = 120.0
_END_S: Final = 2.0


class ModelProcess:
    """One model's. `order` is what `local_model_proc` wants, without the key."""

    def __init__(self, agent: str, order: dict[str, Any], memory: int, running: Running | None) -> None:
        self.key = ""
        self._agent = agent
        self._order = order
        self._memory = memory
        self._running = running
        self._process: Process | None = None
        self._mark = ""
        self._url = ""
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def url(self) -> str:
        """Where it serves; it is started if it does not run.

        Raises:
            WorkError: it cannot be.
        """
        async with self._starting:
            if self.pid is None:
                await self.close()
                try:
                    self._url = await self._start()
                except BaseException:
                    await asyncio.shield(self.close())
                    raise
        return self._url

    async def _start(self) -> str:
        self._mark = os.urandom(8).hex()
        if self._running is not None:
            self._running.begin(self._mark, self._agent)
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", MARK_NAME: self._mark}
        argv = [sys.executable, "-I", str(_HERE / "local_model_proc.py")]
        launch = {
            "parent": os.getpid(),
            "limits": {"memory": self._memory, "files": 256},
            "argv": argv,
            "env": env,
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_HERE / "limits_proc.py"),
            json.dumps(launch),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env=env,
            start_new_session=True,
        )
        if self._running is not None:
            self._running.started(self._mark, self._process.pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.key = secrets.token_urlsafe(24)
        self._process.stdin.write(json.dumps({**self._order, "key": self.key}).encode() + b"\n")
        try:
            async with asyncio.timeout(_LOAD_S):
                said = json.loads(await self._process.stdout.readline() or b'{"error": "its process ended"}')
        except TimeoutError:
            said = {"error": f"it was not loaded within {_LOAD_S:g} s"}
        except ValueError:
            said = {"error": "its process said nothing that makes sense"}
        if "url" not in said:
            raise WorkError(
                "E_MODEL_DOWN", f"{self._order['model']} cannot be loaded: {said.get('error')}", again=True
            )
        return f"{said['url']}/v1"

    async def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await process.wait()
        kill_all(process.pid if process.returncode is None else None, self._mark)
        await process.wait()
        if self._running is not None:
            self._running.ended(self._mark)
