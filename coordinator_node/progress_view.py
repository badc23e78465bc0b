"""A run as a person watches it: a fold over its events, and the lines that show it. Pure; the shell draws.

One line for each kind of work (many subtasks share one), one for what happens right now, one sum. Nothing here needs a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mesh.output import Out, clean
from protocol.messages import Event

from .budget_live import Cost

__all__ = ["RunProgress"]


@dataclass(slots=True)
class _Group:
    """All subtasks of one capability."""

    total: int = 0
    done: int = 0
    failed: int = 0
    running: dict[str, str] = field(default_factory=dict)
    """Subtask -> the node that works on it."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Node -> how many it finished."""
    note: str = ""
    waiting: dict[str, str] = field(default_factory=dict)
    """Subtask -> for whom or what its work waits."""


@dataclass(slots=True)
class RunProgress:
    """What the events said so far."""

    run: str
    started: float
    seq: int = 0
    closed: dict[str, Any] | None = None
    groups: dict[str, _Group] = field(default_factory=dict)
    heard: float = 0.0
    retries: int = 0
    paused: bool = False
    cost: Cost = field(default_factory=Cost)
    _capability: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event, now: float) -> str:
        """Fold one event; returns a plain line about it, or nothing where it says nothing to a person."""
        self.heard = now
        self.seq = max(self.seq, event.seq)
        data: dict[str, Any] = dict(event.data)
        if line := self.cost.take(event.kind, event.subtask, data):
            return clean(line)
        group = self.groups.get(self._capability.get(event.subtask, ""))
        if group is not None and event.kind != "plan.revised":
            return self._of_subtask(group, event, data)
        if event.kind == "plan.adopted":
            for subtask, capability in data.get("subtasks", []):
                self._capability[subtask] = capability
                self.groups.setdefault(capability, _Group()).total += 1
            return f"plan     {len(self._capability)} subtasks"
        if event.kind == "plan.revised":
            for subtask, capability in data.get("subtasks", []):
                before = self.groups.get(self._capability.get(subtask, ""))
                if before is not None:
                    before.total -= 1
                self._capability[subtask] = capability
                self.groups.setdefault(capability, _Group()).total += 1
            return f"replan   {event.subtask}: {len(data.get('subtasks', [])) - 1} new subtasks   {clean(str(data.get('reason', '')))}"
        if event.kind in ("run.paused", "run.resumed"):
            self.paused = event.kind == "run.paused"
            why = clean(str(data.get("reason", "")))
            by = clean(str(data.get("by", "")))
            return f"{'paused' if self.paused else 'resumed'}   by {by}" + (f": {why}" if why else "")
        if event.kind == "run.closed":
            self.closed = data
        return ""

    def _of_subtask(self, group: _Group, event: Event, data: dict[str, Any]) -> str:
        subtask, who = event.subtask, clean(event.node_name)
        if event.kind not in ("attempt.progress", "attempt.started"):
            group.waiting.pop(subtask, None)
        if event.kind == "subtask.awarded":
            group.running[subtask] = who
            if int(data.get("attempt", 1)) > 1:
                self.retries += 1
            return f"award    {subtask} -> {who}   {clean(str(data.get('reason', '')))}"
        if event.kind == "subtask.accepted":
            group.running.pop(subtask, None)
            group.done += 1
            group.nodes[who] = group.nodes.get(who, 0) + 1
            return f"done     {subtask} by {who} in {int(data.get('wall_ms', 0))} ms"
        if event.kind in ("subtask.failed", "subtask.cancelled"):
            group.running.pop(subtask, None)
            group.failed += 1
            if event.kind == "subtask.cancelled":
                return f"cancelled  {subtask}"
            return f"failed   {subtask}: {data.get('code', event.kind)} {clean(str(data.get('message', '')))}"
        if event.kind == "attempt.failed" and data.get("code") == "E_SUPERSEDED":
            return f"stopped  {subtask} at {who}: another node was faster"
        if event.kind in ("attempt.failed", "attempt.refused", "result.rejected"):
            group.running.pop(subtask, None)
            return f"again    {subtask}: {who}: {data.get('code', '')} {clean(str(data.get('message', '')))}"
        if event.kind == "subtask.unbid":
            declines = "; ".join(map(str, data.get("declines", [])))[:200]
            asked = data.get("asked", 0)
            if not asked:
                return f"no bid   {subtask}: no node here offers it"
            return f"no bid   {subtask}: {asked} asked" + (f"; {declines}" if declines else "")
        if event.kind == "attempt.progress" and data.get("note"):
            group.note = f"{subtask}: {clean(str(data['note']))}"
        if event.kind == "attempt.state":
            return self._waits(group, subtask, who, data)
        return ""

    @staticmethod
    def _waits(group: _Group, subtask: str, who: str, data: dict[str, Any]) -> str:
        state, note = str(data.get("state", "")), clean(str(data.get("note", "")))
        why = f": {note}" if note else ""
        if state == "person":
            line = f"waits    {subtask} at {who} for a person{why}"
        elif state == "limited":
            seconds = int(data.get("wait_ms", 0)) / 1000
            line = f"waits    {subtask} at {who} for a limit of use, about {seconds:.0f} s{why}"
        else:
            return f"goes on  {subtask} at {who}"
        group.waiting[subtask] = "a person" if state == "person" else "a limit"
        return line

    @property
    def done(self) -> int:
        """Subtasks finished."""
        return sum(group.done for group in self.groups.values())

    @property
    def total(self) -> int:
        """Subtasks of the plan."""
        return sum(group.total for group in self.groups.values())

    def lines(self, out: Out, now: float, width: int = 80) -> list[str]:
        """The live view, one string a line, no wider than `width`."""
        shown = []
        for capability, group in self.groups.items():
            ended = group.done + group.failed
            if group.failed and ended == group.total:
                mark = out.paint("✕", "red") if not group.done else out.paint("!", "yellow")
            elif ended == group.total:
                mark = out.paint("✓", "green")
            elif group.running or ended:
                mark = out.paint("●", "bold")
            else:
                mark = "○"
            nodes = ", ".join(f"{node} {count}" for node, count in sorted(group.nodes.items()))
            working = ", ".join(sorted(set(group.running.values())))
            text = f"{capability:<18} {group.done:>4}/{group.total:<4}  {nodes}"
            if working:
                text += f"   working: {working}"
            if group.waiting:
                text += (
                    f"   waiting for {', '.join(sorted(set(group.waiting.values())))}: {len(group.waiting)}"
                )
            if group.note and group.running:
                text += f'   "{group.note}"'
            shown.append(f" {mark} {text[: max(20, width - 4)]}")
        silent = now - self.heard
        total = self.total
        share = f"{100 * self.done // total} %" if total else "planning"
        foot = f" {share}  ·  {now - self.started:.1f} s"
        if cost := self.cost.text():
            foot += f"  ·  {cost}"
        if self.paused:
            foot += "  ·  paused"
        if self.retries:
            foot += f"  ·  {self.retries} tried again"
        if silent > 3:
            foot += f"  ·  nothing heard for {silent:.0f} s"
        ended = self.closed is not None or (total > 0 and self.done == total)
        return [*shown, foot if ended else foot + "        Ctrl-C cancels"]
