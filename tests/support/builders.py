"""Valid objects for tests, with the fields that a test cares about changed.

Everything here is deterministic: the same arguments make the same object.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from coordinator_node.orders import NodeInfo, RunAccepted
from protocol.artifact import ArtifactRef
from protocol.ids import new_run_id
from protocol.messages import Bid, Decline, Failed, NamedRef, Refuse, Result
from protocol.plan import Deliverable, Plan, Subtask

__all__ = [
    "OWNER",
    "a_bid",
    "a_decline",
    "a_failed",
    "a_node",
    "a_plan",
    "a_ref",
    "a_refusal",
    "a_result",
    "a_run",
    "a_subtask",
    "bus_key",
    "named",
    "node_id",
    "run_id",
]


def node_id(name: str) -> str:
    """A node id for a short name, hex."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def bus_key(name: str) -> str:
    """Something in the form of a public bus key."""
    raw = hashlib.sha512(name.encode()).digest()[:35]
    return "U" + base64.b32encode(raw).decode().rstrip("=")[:55]


OWNER = node_id("coordinator")


def run_id(number: int = 1) -> str:
    """A run id."""
    return new_run_id(1_700_000_000.0 + number, hashlib.sha256(str(number).encode()).digest())


def a_ref(content: bytes | str = b"x", writer: str = "writer") -> ArtifactRef:
    """A reference to content that need not exist."""
    data = content.encode() if isinstance(content, str) else content
    return ArtifactRef(sha256=hashlib.sha256(data).digest(), size=len(data), chunks=1, writer=bus_key(writer))


def named(name: str, content: bytes | str = b"x") -> NamedRef:
    """A file with a name."""
    return NamedRef(name=name, media_type="text/plain", ref=a_ref(content))


def a_node(name: str, *capabilities: str, slots: int = 2) -> NodeInfo:
    """A node that offers capabilities."""
    return NodeInfo(node_id(name), bus_key(name), name, dict.fromkeys(capabilities or ("text.work",), slots))


def a_subtask(name: str = "one", capability: str = "text.work", **changes: Any) -> Subtask:
    """A subtask."""
    return Subtask(id=name, capability=capability, **changes)


def a_plan(*subtasks: Subtask, deliver: list[str] | None = None, **changes: Any) -> Plan:
    """A plan; it delivers the last subtask if nothing else is said."""
    parts = list(subtasks) or [a_subtask()]
    names = deliver if deliver is not None else [parts[-1].id]
    return Plan(
        goal="do it",
        planner="test",
        subtasks=parts,
        deliver=[Deliverable(subtask=name) for name in names],
        **changes,
    )


def a_run(plan: Plan | None = None, number: int = 1, **changes: Any) -> RunAccepted:
    """A run that was accepted."""
    content = plan or a_plan()
    fields: dict[str, Any] = {
        "run": run_id(number),
        "goal": a_ref("goal"),
        "inputs": [named(name, name) for name in content.inputs],
        "skipped": [],
        "by": node_id("client"),
        "plan": content,
        "plan_ref": a_ref("plan"),
    }
    return RunAccepted(**{**fields, **changes})


def a_bid(subtask: str, number: int, **changes: Any) -> Bid:
    """A bid of an idle node."""
    fields: dict[str, Any] = {
        "subtask": subtask,
        "round": number,
        "agent": "worker",
        "price": 100_000,
        "eta_ms": 100,
        "success": 0.9,
        "load": 0.1,
        "queue": 0,
        "free_slots": 2,
    }
    return Bid(**{**fields, **changes})


def a_decline(subtask: str, number: int, code: str = "E_TOO_LARGE", detail: str = "") -> Decline:
    """A refusal to bid."""
    return Decline(subtask=subtask, round=number, code=code, detail=detail)


def a_result(subtask: str, attempt: int = 1, epoch: int = 1, outputs: list[NamedRef] | None = None) -> Result:
    """A result."""
    return Result(
        subtask=subtask, attempt=attempt, epoch=epoch, outputs=outputs or [], wall_ms=100, cpu_ms=90
    )


def a_failed(subtask: str, attempt: int = 1, epoch: int = 1, code: str = "E_WORK", **changes: Any) -> Failed:
    """A failure."""
    return Failed(subtask=subtask, attempt=attempt, epoch=epoch, code=code, **changes)


def a_refusal(subtask: str, attempt: int = 1, epoch: int = 1, code: str = "E_SLOTS") -> Refuse:
    """An award that is not taken."""
    return Refuse(subtask=subtask, attempt=attempt, epoch=epoch, code=code)
