"""Our side of a conversation with an ACP agent: what we ask of it, and the answers to what it asks of us. Counterparts: `acp`, `acp_turn`.

The agent's requests: leave to use a tool, and files of its job. Everything else is answered with "no such method", which is how the protocol says
that we do not offer it. An attempt to write outside the job's folder is refused and ends the job: whatever it makes after that is not trusted.
"""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath
from typing import Any, Final

from agent_node.beneath_file import OutsideError, read_beneath, write_beneath
from agent_node.config import AgentEntry
from agent_node.errors import WorkError, plain
from agent_node.job import Emit, Job, Made, More
from agent_node.questions import Ask, Question
from agent_node.sandbox_proc import INSIDE
from mesh.version import VERSION

from .acp_turn import Asked, Said, Turn, asked, outcome
from .program_failures import nothing_made, protocol_error, stopped

__all__ = ["Talk"]

_START_S: Final = 90.0
"""How long it may take until it has a session; the first start of some programs is slow."""
_FILE_MOST: Final = 16 << 20
_PROTOCOL: Final = 1


class Talk:
    """One conversation. It ends when `converse` returns or `failed` has a result."""

    def __init__(
        self, turn: Turn, job: Job, entry: AgentEntry, ask: Ask | None, emit: Emit, *, boxed: bool
    ) -> None:
        self.turn = turn
        self.step = 0
        self.phase = "before it could be asked anything"
        self.prompted = False
        self.gone = False
        """It closed its output, before it had answered."""
        self.failed: asyncio.Future[WorkError] = asyncio.get_running_loop().create_future()
        self._job = job
        self._entry = entry
        self._ask = ask
        self._emit = emit
        self._boxed = boxed
        self._session = ""
        self._reason = ""
        self._escape = ""
        self._denied: WorkError | None = None
        self._waits = 0
        self._waits_since = 0.0
        self._waited_s = 0.0

    def fail(self, error: WorkError) -> None:
        """The conversation cannot go on; the first reason counts."""
        if not self.failed.done():
            self.failed.set_result(error)

    def waited_s(self, now: float) -> float:
        """How long it has waited for persons so far: that is none of its own time."""
        return self._waited_s + (now - self._waits_since if self._waits else 0.0)

    async def converse(
        self, connection: Any, prompt: str, folder: Path, who: str, login: str
    ) -> WorkError | None:
        """Ask everything, in order. Returns why it came to nothing, if it did (or `gone` is set)."""
        from acp.exceptions import RequestError

        method = "initialize"
        try:
            async with asyncio.timeout(_START_S):
                found = await connection.send_request(method, _hello())
                problem = _version(found, who)
                if problem is not None:
                    return problem
                if self._entry.sign_in:
                    method = "authenticate"
                    await connection.send_request(method, {"methodId": self._entry.sign_in})
                method = "session/new"
                made = await connection.send_request(method, {"cwd": str(folder), "mcpServers": []})
                self._session = str(made.get("sessionId", "")) if isinstance(made, dict) else ""
                if self._entry.session_mode:
                    method = "session/set_mode"
                    mode = {"sessionId": self._session, "modeId": self._entry.session_mode}
                    await connection.send_request(method, mode)
            method = "session/prompt"
            self.prompted, self.phase = True, "in the middle of its work"
            text = {"type": "text", "text": prompt}
            reply = await connection.send_request(method, {"sessionId": self._session, "prompt": [text]})
        except RequestError as error:
            return protocol_error(who, method, error.code, str(error), error.data, login=login)
        except ConnectionError:
            self.gone = True
            return None
        except TimeoutError:
            return WorkError(
                "E_TIMEOUT", f"{who} did not answer {method} within {_START_S:g} s and was ended", again=True
            )
        self._reason = self.turn.ended(reply if isinstance(reply, dict) else {})
        self._say(Said("", self.turn.fraction))
        return None

    async def cancel(self, connection: Any) -> bool:
        """Ask it to end its turn; whether it has one."""
        if not self.prompted:
            return False
        try:
            await connection.send_notification("session/cancel", {"sessionId": self._session})
        except (ConnectionError, OSError):
            return False
        return True

    def judge(self, who: str) -> None:
        """Whether what it did is a result.

        Raises:
            WorkError: it is none, and why.
        """
        if self._escape:
            raise WorkError(
                "E_ESCAPE",
                f"{who} tried to write {self._escape}, outside the folder of its work; that was refused, and what it made is not used",
                again=True,
            )
        if self._denied is not None:
            raise self._denied
        problem = stopped(who, self._reason, self.turn.answer)
        if problem is not None:
            raise problem

    def judge_made(self, who: str, made: list[Made]) -> None:
        """Whether there is anything.

        Raises:
            WorkError: E_OUTPUT, there is not.
        """
        if not made:
            raise nothing_made(who)

    async def handle(self, method: str, params: Any, _notification: bool) -> Any:
        """Answer one message of the agent; called by the connection.

        Raises:
            RequestError: the answer is a refusal.
        """
        from acp.exceptions import RequestError

        params = params if isinstance(params, dict) else {}
        match method:
            case "session/update":
                update = params.get("update")
                self._take(update if isinstance(update, dict) else {})
                return None
            case "session/request_permission":
                return await self._permit(asked(params, self.turn.tools))
            case "fs/read_text_file":
                return {"content": self._read(params)}
            case "fs/write_text_file":
                self._write(params)
                return {}
        raise RequestError.method_not_found(method)

    def _take(self, update: dict[str, Any]) -> None:
        try:
            said = self.turn.update(update)
            if said is not None:
                self._say(said)
        except WorkError as error:
            self.fail(error)

    def _say(self, said: Said, more: More | None = None) -> None:
        self.step += 1
        try:
            self._emit(self.step, said.fraction, said.note, more or More(used=self.turn.used))
        except WorkError as error:
            self.fail(error)

    async def _permit(self, what: Asked) -> dict[str, Any]:
        policy = self._entry.permission
        granted = policy == "auto"
        if policy == "ask":
            granted = await self._ask_person(what)
        answer, given = outcome(what, allow=granted)
        self._say(Said(f"{'may' if given else 'may not'}: {what.title}", self.turn.fraction))
        return answer

    async def _ask_person(self, what: Asked) -> bool:
        if self._ask is None:
            self._nobody(what, "and there is nobody to ask here")
            return False
        now = asyncio.get_running_loop().time
        self._say(
            Said(f"asks leave: {what.title}", self.turn.fraction),
            More("person", 0.0, self.turn.used),
        )
        self._waits, self._waits_since = self._waits + 1, self._waits_since if self._waits else now()
        try:
            question = Question(
                self._entry.name, self._job.capability, what.tool, what.title, what.arguments, self._job.run
            )
            granted = await self._ask(question)
        finally:
            self._waits -= 1
            if not self._waits:
                self._waited_s += now() - self._waits_since
        if granted is None:
            self._nobody(what, "and nobody answered in time")
        return bool(granted)

    def _nobody(self, what: Asked, why: str) -> None:
        message = (
            f"{self._entry.name} asked for leave to use a tool ({what.title}), {why}, so it was denied. "
            "`zwerm inbox` on its device shows and answers what agents ask. "
            'Its owner may say permission = "auto" for it (it works in a sandbox), or "never" to have it go on without.'
        )
        self._denied = self._denied or WorkError("E_PERMISSION", message, again=True)

    def _read(self, params: dict[str, Any]) -> str:
        from acp.exceptions import RequestError

        try:
            root, path = self._place(str(params.get("path", "")))
            text = read_beneath(root, path, _FILE_MOST).decode("utf-8", "replace")
        except OutsideError:
            raise RequestError.invalid_params(
                {"path": "it is outside the folder of this work, and cannot be read"}
            ) from None
        except OSError as error:
            raise RequestError.resource_not_found(
                plain(f"{params.get('path')}: {error.strerror}", 300)
            ) from None
        first, most = _whole(params.get("line")) or 1, _whole(params.get("limit"))
        if first == 1 and most is None:
            return text
        lines = text.splitlines(keepends=True)[first - 1 :]
        return "".join(lines if most is None else lines[:most])

    def _write(self, params: dict[str, Any]) -> None:
        from acp.exceptions import RequestError

        name, content = str(params.get("path", "")), params.get("content")
        if not isinstance(content, str):
            raise RequestError.invalid_params({"content": "it must be a text"})
        try:
            root, path = self._place(name)
            if path.parts[:1] == ("in",):
                raise RequestError.invalid_params({"path": "what is in `in` cannot be changed"})
            write_beneath(root, path, content.encode("utf-8", "replace"))
        except OutsideError:
            self._escape = self._escape or plain(name, 300)
            raise RequestError.invalid_params(
                {"path": "it is outside the folder of this work, and cannot be written"}
            ) from None
        except OSError as error:
            raise RequestError.internal_error({"details": plain(f"{name}: {error.strerror}", 300)}) from None

    def _place(self, name: str) -> tuple[Path, PurePosixPath]:
        """Where a path of the agent's is for us: a folder, and a path below it.

        Raises:
            OutsideError: it is not of this job.
        """
        root = PurePosixPath(INSIDE if self._boxed else self._job.dir)
        path = PurePosixPath(name)
        if "\0" in name or ".." in path.parts:
            raise OutsideError
        if path.is_absolute():
            if not path.is_relative_to(root):
                raise OutsideError
            path = path.relative_to(root)
        if self._boxed and path.parts[:1] not in (("in",), ("out",)):
            return self._job.dir / "work", path
        return self._job.dir, path


def _hello() -> dict[str, Any]:
    return {
        "protocolVersion": _PROTOCOL,
        "clientCapabilities": {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": False},
        "clientInfo": {"name": "zwerm", "title": "zwerm", "version": VERSION},
    }


def _version(found: Any, who: str) -> WorkError | None:
    version = found.get("protocolVersion") if isinstance(found, dict) else None
    if version == _PROTOCOL:
        return None
    return WorkError(
        "E_AGENT_VERSION",
        f"{who} speaks version {plain(repr(version), 40)} of the Agent Client Protocol, and version {_PROTOCOL} is needed; update it, or zwerm",
        again=True,
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None
