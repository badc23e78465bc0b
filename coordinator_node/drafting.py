"""Has a plan drafted by an agent of the swarm that has a model: a small run of its own, with its own auction, cost and provenance.

Rules. Whoever offers `plan.draft` may answer; the answer is data and is checked like all of it: by its schema before it counts, and by making a plan of it here. One that
makes none is asked for again with the reason, twice at most; then it is refused with what was wrong. The goal's own run begins afterwards, with the plan as its
file, so that what a person agreed to is what is carried out. Counterpart: `planner_model`, which knows the question and the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from mesh.endpoint import Endpoint
from protocol.errors import ZwermError
from protocol.messages import Event, ListNodes
from protocol.messages.base import JsonObject

from .delivery import ref_of
from .errors import PlanInvalid
from .planner_model import CAPABILITY, Draft, Drafted, Offer, plan_of
from .run_client import RunClient

if TYPE_CHECKING:
    from protocol.messages import Budget

__all__ = ["DraftFailed", "PlanMade", "can_draft", "draft_plan", "offers_of"]

_REPAIRS: Final = 2
_ANSWER_BYTES: Final = 256 << 10
_DEADLINE_S: Final = 600.0
_ASK_S: Final = 5.0


class DraftFailed(ZwermError):
    """No agent drafted a plan."""


@dataclass(frozen=True, slots=True)
class PlanMade:
    """A plan, who drafted it, and in which runs (the last one is the one that counted)."""

    drafted: Drafted
    by: str
    runs: list[str]


async def offers_of(endpoint: Endpoint) -> list[Offer]:
    """What the devices that are up can do, each capability once."""
    data: Any = (await endpoint.call("runs", ListNodes(), timeout_s=_ASK_S)).data
    found: dict[str, Offer] = {}
    for node in data["nodes"]:
        if node["state"] != "up":
            continue
        for agent in node["agents"]:
            for capability in agent["capabilities"]:
                found.setdefault(capability, Offer(capability, agent.get("description", "")))
    return [found[name] for name in sorted(found)]


def can_draft(offers: Sequence[Offer]) -> bool:
    """Whether somebody here drafts plans."""
    return any(offer.capability == CAPABILITY for offer in offers)


def _need_model(offers: Sequence[Offer]) -> None:
    if not can_draft(offers):
        raise DraftFailed(
            "E_UNBID",
            f"no device that is up has a model that drafts plans (capability {CAPABILITY})",
            f"Give an agent with a model the capability {CAPABILITY}, or write the plan yourself: `zwerm run --plan plan.yaml`.",
        )


async def draft_plan(
    endpoint: Endpoint,
    draft: Draft,
    offers: Sequence[Offer],
    *,
    budget: Budget | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> PlanMade:
    """Have a plan drafted. `budget` bounds each of the (at most three) runs that it takes.

    Raises:
        DraftFailed: nobody drafts plans, or whoever does failed.
        PlanInvalid: three answers made no plan.
    """
    _need_model(offers)
    problem, runs = "", []
    for _ in range(1 + _REPAIRS):
        client = RunClient(endpoint, on_event=lambda event: _tell(event, say))
        runs.append(client.run)
        view = await _ask(client, draft, problem, budget)
        if view["outcome"] != "done":
            raise DraftFailed(
                str(view["code"] or "E_RUN"),
                f"no plan was drafted: {view['message'] or view['outcome']}",
                f"`zwerm runs show {client.run[-6:]}` says more. You can write the plan yourself: `zwerm run --plan plan.yaml`.",
            )
        try:
            raw = await endpoint.artifacts.read(ref_of(view["deliverables"][0]), _ANSWER_BYTES)
            drafted = plan_of(draft, _json(raw))
        except PlanInvalid as error:
            problem = error.message
            say(f"the draft makes no plan ({problem}); asking again")
        else:
            attempts = view["subtask_list"][0]["attempts"]
            return PlanMade(drafted, str(attempts[-1]["node_name"]) if attempts else "", runs)
    raise PlanInvalid(
        f"{1 + _REPAIRS} drafts made no plan; the last one: {problem}",
        "Say the goal in other words, or with a better model, or write the plan yourself: `zwerm run --plan plan.yaml`.",
    )


async def _ask(client: RunClient, draft: Draft, problem: str, budget: Budget | None) -> dict[str, Any]:
    step = {
        "id": "draft",
        "capability": CAPABILITY,
        "label": "draft a plan",
        "params": draft.params(problem),
        "output_schema": draft.schema(),
        "deadline_s": _DEADLINE_S,
    }
    plan = cast("JsonObject", {"goal": draft.goal, "steps": [step]})
    try:
        await client.submit(f"Plan: {draft.goal}"[:8000], [], [], planner="file", plan=plan, budget=budget)
        return await client.watch()
    except asyncio.CancelledError:
        if client.asked:
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
            await client.cancel()
        raise


def _json(raw: bytes) -> Any:
    """The answer's content; `PlanInvalid` if it is no JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PlanInvalid(f"the answer is not JSON: {error}"[:200]) from None


def _tell(event: Event, say: Callable[[str], None]) -> None:
    if event.kind == "subtask.awarded":
        say(f"{event.node_name} drafts a plan …")
    elif event.kind in ("attempt.failed", "result.rejected"):
        say(f"{event.node_name}: {dict(event.data).get('message', event.kind)}"[:200])
