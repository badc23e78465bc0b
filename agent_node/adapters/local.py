"""Adapter `local`: a model in a process of this node, without any server of somebody else.

    zwerm models install smollm2        and in config.toml:
    [[agents]]
    name = "smol"
    adapter = "local"
    capability = "text.summarize"
    options = { model = "smollm2" }

The model is loaded when the first work comes and stays until the node goes down; it has a process of its own, so that its memory is not the node's and a
kill reaches it. It is then asked as any chat endpoint is (`chat`), on a loopback port with a key that only this node knows.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Final

from agent_node.config import AgentEntry
from agent_node.errors import AdapterError, WorkError
from agent_node.model_process_proc import ModelProcess
from agent_node.models.client_http import require_library
from agent_node.models.embedded import INSTALLABLE, LocalOptions, model_path, read_local_options
from agent_node.policy import AgentSpec

from . import Place
from .base import Emit, Job, Outcome
from .chat import Chat, make_chat

__all__ = ["Local", "from_entry"]

_NOWHERE: Final = "http://127.0.0.1:1/v1"
_WEDGED: Final = ("E_MODEL_SILENT", "E_TIMEOUT")


def from_entry(entry: AgentEntry, place: Place) -> Local:
    """The adapter for one `[[agents]]` of the configuration."""
    options = read_local_options(entry.name, entry.options)
    entry = entry.model_copy(update={"slots": entry.slots or options.parallel})
    return Local(entry, options, place)


class Local:
    """One embedded model."""

    def __init__(self, entry: AgentEntry, options: LocalOptions, place: Place) -> None:
        self._entry = entry
        self._options = options
        self._place = place
        self._path = model_path(place.home, options.model)
        self._spec = replace(make_chat(entry, options.chat(_NOWHERE), place, lambda: "").spec, shared=True)
        order = {
            "model": str(self._path),
            "context": options.context,
            "parallel": options.parallel,
            "threads": options.threads,
        }
        self.process = ModelProcess(entry.name, order, entry.memory_mib << 20, place.running)
        self._chat: Chat | None = None
        self._url = ""

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it."""
        return self._spec

    def probe(self) -> None:
        """Check that the library and the model's file are here."""
        require_library()
        if importlib.util.find_spec("xllamacpp") is None:
            raise AdapterError(
                "an embedded model needs the extra `local`, which is not installed",
                "Install it: pip install 'zwerm[local]', into zwerm's own environment.",
            )
        if not self._path.is_file():
            name = self._options.model
            how = f"`zwerm models install {name}`" if name in INSTALLABLE else "put the GGUF file there"
            raise AdapterError(f"the model {name} is not at {self._path}", f"Get it: {how}.")

    def instant(self, job: Job) -> Outcome | None:
        """Never: a model is never instant."""
        return None

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Ask the model, which is loaded if it is not."""
        url = await self.process.url()
        if self._chat is None or url != self._url:
            await self._forget()
            self._url = url
            self._chat = make_chat(
                self._entry, self._options.chat(url), self._place, lambda: self.process.key
            )
        try:
            return await self._chat.run(job, emit)
        except WorkError as error:
            if error.code in _WEDGED:
                await (
                    self.process.close()
                )  # what does not answer is not asked again; the next work loads it anew
            raise

    async def close(self) -> None:
        """End the process."""
        await self._forget()
        await self.process.close()

    async def _forget(self) -> None:
        if self._chat is not None:
            chat, self._chat = self._chat, None
            await chat.close()
