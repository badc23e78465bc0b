"""The verbs `artifacts ...`: the files of a run, listed, fetched, checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from mesh.output import Exit
from mesh.verbs import HELP_SETTINGS, Session, command, run_async

from .commands_runs import viewed

__all__ = ["artifacts"]


def _files(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Every file of a run: what was delivered, what was made on the way, what went in."""
    found = [{"kind": "result", "by": "", **entry} for entry in view["deliverables"]]
    for subtask in view["subtask_list"]:
        winner = next(
            (attempt["node_name"] for attempt in subtask["attempts"] if attempt["status"] == "accepted"), ""
        )
        found += [{"kind": subtask["id"], "by": winner, **entry} for entry in subtask["outputs"]]
    return found + [{"kind": "input", "by": view["by_name"], **entry} for entry in view["input_files"]]


@command("ls")
@click.argument("run_id", metavar="RUN")
def artifacts_ls(session: Session, run_id: str) -> int:
    """The files of a run."""
    view = run_async(viewed(session, run_id), timeout_s=session.timeout_s)
    files = _files(view)
    session.out.table(
        ("NAME", "KIND", "BYTES", "SHA256", "MADE BY"),
        [
            (entry["name"], entry["kind"], entry["bytes"], entry["sha256"][:16], entry["by"])
            for entry in files
        ],
    )
    session.out.document("artifacts", {"run": view["run"], "files": files})
    return Exit.OK


@command("get")
@click.argument("run_id", metavar="RUN")
@click.argument("name", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), help="Folder (default: here)."
)
def artifacts_get(session: Session, run_id: str, name: str | None, output: Path) -> int:
    """Fetch a run's results, or one of its files by name or by the start of its SHA-256."""
    from protocol.errors import ZwermError

    async def fetch() -> list[Path]:
        from mesh.client import connect_home

        from .delivery import fetch_file, unique_names
        from .run_client import show_run

        async with connect_home(session.home, timeout_s=5.0) as swarm:
            view = await show_run(swarm.endpoint, run_id)
            if name is None:
                wanted = unique_names(view["deliverables"])
            else:
                matches = [
                    entry
                    for entry in _files(view)
                    if entry["name"] == name or entry["sha256"].startswith(name.lower())
                ]
                digests = {entry["sha256"] for entry in matches}
                if len(digests) != 1:
                    raise ZwermError(
                        "E_NOT_FOUND",
                        f"{len(digests) or 'no'} files of the run match {name!r}",
                        f"`zwerm artifacts ls {run_id}` lists them; the start of a SHA-256 is exact.",
                    )
                wanted = unique_names(matches[:1])
            return [
                await fetch_file(swarm.endpoint.artifacts, entry, output, target) for target, entry in wanted
            ]

    paths = run_async(fetch(), timeout_s=session.timeout_s)
    for path in paths:
        session.out.done(str(path))
    session.out.document("artifacts.get", {"files": [str(path) for path in paths]})
    return Exit.OK


@command("verify")
@click.argument("run_id", metavar="RUN")
def artifacts_verify(session: Session, run_id: str) -> int:
    """Read every file of a run back from the swarm and check it against its SHA-256."""

    async def verify() -> list[dict[str, Any]]:
        from mesh.client import connect_home
        from mesh.errors import MeshError

        from .delivery import ref_of
        from .run_client import show_run

        results = []
        async with connect_home(session.home, timeout_s=5.0) as swarm:
            view = await show_run(swarm.endpoint, run_id)
            for entry in {entry["sha256"]: entry for entry in _files(view)}.values():
                digest = hashlib.sha256()
                problem = ""
                try:
                    async for chunk in swarm.endpoint.artifacts.get(ref_of(entry)):
                        digest.update(chunk)
                except MeshError as error:
                    problem = f"{error.code} {error.message}"
                if not problem and digest.hexdigest() != entry["sha256"]:
                    problem = "E_DIGEST the bytes are not those that were made"
                results.append(
                    {"name": entry["name"], "sha256": entry["sha256"], "ok": not problem, "problem": problem}
                )
        return results

    results = run_async(verify(), timeout_s=session.timeout_s)
    bad = [entry for entry in results if not entry["ok"]]
    for entry in bad:
        session.out.line(f"{session.out.paint('✕', 'red')} {entry['name']}: {entry['problem']}")
    if not bad:
        session.out.done(f"{len(results)} files are what they were when they were made")
    session.out.document("artifacts.verify", {"ok": not bad, "files": results})
    return Exit.FAILED if bad else Exit.OK


artifacts = click.Group(
    "artifacts",
    commands={"ls": artifacts_ls, "get": artifacts_get, "verify": artifacts_verify},
    help="The files of a run, by digest.",
    context_settings=HELP_SETTINGS,
)
