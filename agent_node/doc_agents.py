"""The built-in document agents: the functions of `documents`, offered through the adapter `python` in worker processes.

`cards` side (in the node, nothing heavy is imported): which capabilities there are. `run` side (in a worker): calls one of them. What a
report has to go without reaches it as the parameter `skipped`, a list of `name` and `why`, so that it can name it; a table has no place for that.
"""

from __future__ import annotations

from typing import Any, Final

from .functions import Job, Output
from .history import Prior
from .policy import AgentSpec

__all__ = ["TARGET", "UNCONFINED", "document_spec", "run"]

UNCONFINED: Final = "it works unconfined: this kernel has no Landlock, so a document that breaks its reader has what zwerm's user has"
TARGET: Final = "agent_node.doc_agents:run"
_PRIOR: Final = Prior(0.3, 1.5)
_NAMES_GAPS: Final = frozenset({"report.assemble"})
"""Those that say in their output what they had to go without; the others take no such parameter."""


def document_spec(
    slots: int, queue: int, max_bytes: int, names: frozenset[str], *, confined: bool = True
) -> AgentSpec:
    """The agent `documents` with those of its capabilities that the node offers; `confined`: this kernel can confine its workers."""
    return AgentSpec(
        name="documents",
        capabilities=names,
        slots=slots,
        description="Reads documents, finds what is in them, and puts it together with citations",
        adapter="python",
        queue=queue,
        quiet_ms=15_000,
        max_bytes=max_bytes,
        prior=_PRIOR,
        warning="" if confined else UNCONFINED,
    )


def run(job: Job) -> list[Output]:
    """Carry out one document capability; called in a worker process."""
    from .documents import CAPABILITIES
    from .documents.files import InputFile

    function = CAPABILITIES[job.capability].load()
    params: dict[str, Any] = dict(job.params)
    if job.missing and job.capability in _NAMES_GAPS:
        skipped = list(params.get("skipped", []))
        skipped += [{"name": item["name"], "why": item["message"] or item["code"]} for item in job.missing]
        params["skipped"] = skipped
    inputs = [InputFile(given.name, given.path, given.media_type) for given in job.inputs]
    return [Output(made.name, made.data, made.media_type) for made in function(params, inputs, job.progress)]
