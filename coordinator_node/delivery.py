"""Bringing results home: files of a run onto this device's disk, checked against their digests, and the record of who made what.

A file appears under its name when it is whole and checked, not before. Names come from elsewhere: they cannot leave the folder that was given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mesh.workspace import Artifacts
from protocol.artifact import ArtifactRef
from protocol.errors import ZwermError

from .naming import told_apart

__all__ = [
    "PROVENANCE",
    "OutputError",
    "fetch_file",
    "provenance",
    "ref_of",
    "safe_name",
    "unique_names",
    "write_provenance",
]

PROVENANCE = "provenance.json"


class OutputError(ZwermError):
    """A result cannot be written where it should go."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            "E_OUTPUT",
            f"cannot write {path}: {why}",
            "Choose another folder with -o; the results are still in the swarm (`zwerm artifacts get`).",
        )


def ref_of(view: Mapping[str, Any]) -> ArtifactRef:
    """An artifact's reference from its public form (`sha256`, `bytes`, `chunks`, `writer`)."""
    return ArtifactRef(
        sha256=bytes.fromhex(view["sha256"]), size=view["bytes"], chunks=view["chunks"], writer=view["writer"]
    )


def safe_name(name: str) -> str:
    """A file name that stays inside its folder, on any system."""
    flat = re.sub(r"[^\w.\- ()+@=,]+", "_", name.replace("\\", "/").replace("/", "_"))
    return flat.strip(". ")[:200] or "unnamed"


async def fetch_file(
    artifacts: Artifacts, view: Mapping[str, Any], folder: Path, name: str | None = None
) -> Path:
    """Fetch one file of a run into `folder`; returns where it is.

    Raises:
        OutputError: it cannot be written.
        DigestMismatch, NotFound: the stored bytes are damaged or gone.
    """
    path = folder / safe_name(name or str(view["name"]))
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - one client, its own disk
        try:
            with part.open("wb") as file:
                async for chunk in artifacts.get(ref_of(view)):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(path, error.strerror or str(error)) from None
    return path


def provenance(view: Mapping[str, Any]) -> dict[str, Any]:
    """Who made what, from what, with which bid: from a run in full (`views.run_view`)."""
    made: list[dict[str, Any]] = []
    for subtask in view["subtask_list"]:
        attempts = [
            {
                "node": attempt["node_name"],
                "node_id": attempt["node"],
                "agent": attempt["agent"],
                "attempt": attempt["attempt"],
                "epoch": attempt["epoch"],
                "status": attempt["status"],
                **({"code": attempt["code"], "message": attempt["message"]} if attempt["code"] else {}),
                "wall_ms": attempt["wall_ms"],
                "why": attempt["reason"],
                "bids": attempt["bids"],
            }
            for attempt in subtask["attempts"]
        ]
        winner = next((entry for entry in attempts if entry["status"] == "accepted"), None)
        bid = (
            next((bid for bid in winner["bids"] if bid["node"] == winner["node_id"]), None)
            if winner
            else None
        )
        made.append(
            {
                "subtask": subtask["id"],
                "label": subtask["label"],
                "capability": subtask["capability"],
                "status": subtask["status"],
                "made_by": winner["node"] if winner else None,
                "bid": bid,
                "inputs": [{"name": entry["name"], "sha256": entry["sha256"]} for entry in subtask["inputs"]],
                "outputs": [
                    {"name": entry["name"], "sha256": entry["sha256"], "bytes": entry["bytes"]}
                    for entry in subtask["outputs"]
                ],
                "attempts": attempts,
            }
        )
    return {
        "schema": "zwerm.provenance/1",
        "run": view["run"],
        "goal": view["goal"],
        "planner": view["planner"],
        "outcome": view["outcome"],
        "by": view["by_name"],
        "inputs": [
            {"name": entry["name"], "sha256": entry["sha256"], "bytes": entry["bytes"]}
            for entry in view["input_files"]
        ],
        "skipped": view["skipped"],
        "deliverables": [
            {"name": entry["name"], "sha256": entry["sha256"], "bytes": entry["bytes"]}
            for entry in view["deliverables"]
        ],
        "nodes": sorted({str(entry["made_by"]) for entry in made if entry["made_by"]}),
        "subtasks": made,
    }


def write_provenance(view: Mapping[str, Any], folder: Path) -> Path:
    """Write `provenance.json` into `folder`."""
    path = folder / PROVENANCE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(provenance(view), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(path, error.strerror or str(error)) from None
    return path


def unique_names(views: Iterable[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """File names for deliverables: the second `report.md` becomes `report-2.md`."""
    kept = list(views)
    names = told_apart([safe_name(str(view["name"])) for view in kept], _numbered)
    return list(zip(names, kept, strict=True))


def _numbered(name: str, number: int) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"
