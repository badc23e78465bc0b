"""Shell: what agents of this device ask, as files that its owner reads and answers (`zwerm inbox`).

A question is `inbox/<id>.json`, an answer `inbox/<id>.answer`: a signed object bound to exactly what was asked (SPEC APR-1, APR-2). The asker waits,
takes the first answer that holds, and removes both. A question that nobody answers in time is denied; one whose asker is gone is removed when the
node starts. Both kinds of files are private to the user that runs zwerm. Counterparts: `commands_inbox` (answers), `adapters/acp_talk` (asks).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh.clock import SystemClock
from mesh.errors import MeshError
from mesh.home import Home, private_write
from mesh.identity import Identity
from protocol.approvals import Approval, asked_digest, open_approval, sign_approval
from protocol.errors import Rejected
from protocol.signing import prepare

from .errors import AgentError
from .questions import Question

__all__ = ["Asked", "Inbox", "NoSuchQuestionError"]

log = logging.getLogger("zwerm.agent.inbox")

FOLDER: Final = "inbox"
_WAIT_S: Final = 3600.0
"""How long a question waits for an answer."""
_LOOK_S: Final = 0.25


class NoSuchQuestionError(AgentError):
    """No question of that id waits here."""

    def __init__(self, asked: str, waiting: list[str]) -> None:
        known = ", ".join(waiting) or "nothing; agents that wait elsewhere are answered on their own device"
        super().__init__("E_NOT_FOUND", f"no question {asked!r} waits here", f"Waiting: {known}.")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that waits. `since`, `until`: Unix seconds."""

    id: str
    question: Question
    since: int
    until: int


class Inbox:
    """The questions of one device."""

    def __init__(self, home: Path, *, wait_s: float = _WAIT_S) -> None:
        self._home = Home(home)
        self._folder = home / FOLDER
        self._wait_s = wait_s
        self._clock = SystemClock()
        self._cleared = False

    async def ask(self, question: Question) -> bool | None:
        """Wait for a person's answer; None: nobody gave one in time, or nobody can."""
        try:
            swarm, key = self._key()
        except MeshError as error:
            log.warning("nobody can be asked on this device: %s", error.message)
            return None
        self._clear()
        ask = os.urandom(16)
        digest = asked_digest(question.tool, question.arguments, question.run)
        since = int(self._clock.now())
        told = {name: getattr(question, name) for name in question.__slots__}
        path = self._folder / f"{ask.hex()}.json"
        answer = path.with_suffix(".answer")
        content = {"question": told, "since": since, "until": since + int(self._wait_s)}
        private_write(path, json.dumps(content, ensure_ascii=False).encode("utf-8"))
        try:
            async with asyncio.timeout(self._wait_s):
                while True:
                    with contextlib.suppress(FileNotFoundError):
                        try:
                            return open_approval(
                                answer.read_bytes(), prepare(key.sign.public), swarm, ask, digest
                            ).granted
                        except Rejected as error:
                            log.warning("an answer to %s does not hold: %s", ask.hex(), error)
                            answer.unlink(missing_ok=True)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return None
        finally:
            path.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)

    def waiting(self) -> Iterator[Asked]:
        """Questions that wait, the oldest first."""
        found: list[Asked] = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                value = json.loads(path.read_text(encoding="utf-8"))
                question = Question(**value["question"])
                found.append(Asked(path.stem, question, int(value["since"]), int(value["until"])))
        now = self._clock.now()
        yield from sorted((one for one in found if one.until > now), key=lambda one: (one.since, one.id))

    def find(self, asked: str) -> Asked:
        """The question whose id begins so.

        Raises:
            NoSuchQuestionError: there is none, or there are several.
        """
        waiting = list(self.waiting())
        found = [one for one in waiting if asked and one.id.startswith(asked.lower())]
        if len(found) != 1:
            raise NoSuchQuestionError(asked, [one.id[:8] for one in waiting])
        return found[0]

    def answer(self, asked: Asked, *, granted: bool) -> None:
        """Sign the answer and leave it to the asker."""
        swarm, key = self._key()
        question = asked.question
        approval = Approval(
            swarm=swarm,
            ask=bytes.fromhex(asked.id),
            digest=asked_digest(question.tool, question.arguments, question.run),
            granted=granted,
            at=int(self._clock.now()),
        )
        private_write(self._folder / f"{asked.id}.answer", sign_approval(approval, key.sign))

    def _key(self) -> tuple[bytes, Identity]:
        return bytes.fromhex(self._home.load().swarm_id), Identity.load(self._home)

    def _clear(self) -> None:
        """Once in a process: what an earlier one left waits for nobody any more."""
        if not self._cleared:
            self._cleared = True
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)
