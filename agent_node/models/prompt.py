"""From a piece of work to the messages that a model gets. Pure, but for reading the prompts' own files.

Rules. Words of the system are a prompt file with a version, then the owner's. The task is in the user's message: what the capability means (a
prompt of its name, else the agent's description), the parameters as JSON, and the input files between marks whose code is made from their content,
so that no file can contain its own closing mark: what is inside is data. Counterpart: `request` (the form in which a server wants it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from agent_node.errors import AdapterError, WorkError, plain
from agent_node.job import InputPath, Job

from .tokens import MESSAGE_TOKENS, tokens_of

__all__ = ["Message", "instructions", "known_prompts", "read_texts", "task_message", "tokens_in"]

_TASKS: Final = 1
"""The version of the prompts for tasks."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """One input as text."""

    name: str
    content: str


def known_prompts() -> list[str]:
    """Names of the prompts that come with zwerm."""
    folder = resources.files("agent_node.prompts")
    return sorted(file.name.removesuffix(".md") for file in folder.iterdir() if file.name.endswith(".md"))


def instructions(prompt: str, more: str = "") -> str:
    """The system's words: the prompt of this name or path, then the owner's.

    Raises:
        AdapterError: there is no such prompt.
    """
    try:
        if prompt.startswith("/"):
            words = Path(prompt).read_text(encoding="utf-8")
        else:
            words = (resources.files("agent_node.prompts") / f"{prompt}.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(
            f"there is no prompt {prompt!r} ({type(error).__name__})",
            f"Known: {', '.join(known_prompts())}; or give the absolute path of a text file.",
        ) from None
    return "\n\n".join(part.strip() for part in (words, more) if part.strip())


def read_texts(inputs: Sequence[InputPath]) -> list[Text]:
    """The inputs as text.

    Raises:
        WorkError: E_INPUT, one is no text.
    """
    texts = []
    for given in inputs:
        try:
            content = given.path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            content = "\0"
        if "\0" in content:
            raise WorkError(
                "E_INPUT",
                f"{plain(given.name, 100)} is no text, and this model reads text only; read it with doc.read in a step before",
                again=False,
            )
        texts.append(Text(given.name, content))
    return texts


def task_message(job: Job, texts: Sequence[Text], description: str, schema: dict[str, Any] | None) -> str:
    """The user's message. `schema`: told in words as well, since not every server holds a model to it."""
    parts = [f"# Task: {job.capability}", _meaning(job.capability, description)]
    if job.params:
        parts.append("# Parameters\n" + json.dumps(job.params, ensure_ascii=False, sort_keys=True, indent=1))
    if job.missing:
        names = "\n".join(
            f"- {plain(gap['name'], 200)}: {plain(gap.get('message', ''), 200)}" for gap in job.missing
        )
        parts.append("# Not available\nThese could not be provided; say so where it matters.\n" + names)
    if texts:
        parts.append("# Input files\n" + "\n".join(_marked(texts)))
    if schema is not None:
        parts.append(
            "# Form of the answer\nOne JSON value that satisfies this JSON Schema, and nothing else: no fence, no comment.\n"
            + json.dumps(schema, ensure_ascii=False)
        )
    return "\n\n".join(part for part in parts if part)


def tokens_in(messages: Sequence[Message]) -> int:
    """About how many tokens these messages are, rather more than fewer."""
    return sum(
        MESSAGE_TOKENS
        + tokens_of(str(message.get("content") or ""))
        + tokens_of(str(message.get("reasoning_content") or ""))
        for message in messages
    )


def _meaning(capability: str, description: str) -> str:
    try:
        return (
            (resources.files("agent_node.prompts") / f"{capability}.{_TASKS}.md")
            .read_text(encoding="utf-8")
            .strip()
        )
    except OSError:
        return description.strip()


def _marked(texts: Sequence[Text]) -> list[str]:
    """The files between marks. The code is a hash of all of them; should one contain it nevertheless, it is hashed again."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.content.encode("utf-8")).digest())
    code = digest.hexdigest()[:12]
    while any(code in text.content or code in text.name for text in texts):
        digest.update(b"again")
        code = digest.hexdigest()[:12]
    return [
        f"<<<file {code} {json.dumps(plain(text.name, 200), ensure_ascii=False)}\n{text.content}\n>>>end {code}"
        for text in texts
    ]
