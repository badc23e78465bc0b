"""`zwerm demo`: the verb. What it does is in `demo`."""

from __future__ import annotations

from pathlib import Path

import click

from mesh.verbs import Session, command, run_async

__all__ = ["demo"]


@command()
@click.option(
    "-i",
    "--input",
    "documents",
    type=click.Path(path_type=Path),
    help="Work on this folder or file instead of the samples.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("zwerm-demo"),
    show_default=True,
    help="Where the results go.",
)
@click.option("--goal", help="Another goal than the demo's own.")
@click.option("--keep", is_flag=True, help="Do not delete the throwaway swarm's state (to look at it).")
def demo(session: Session, documents: Path | None, output: Path, goal: str | None, keep: bool) -> int:
    """See a whole swarm work, on this device, in under a minute.

    Starts a throwaway swarm (a coordinator and three agent nodes, each its own process with its own keys), joins them by real invites, works
    on sample documents or yours, and leaves report.md, table.csv and provenance.json. Everything else is cleaned up, also on Ctrl-C.
    """
    from .demo import DEMO_GOAL, DemoInput, run_demo

    if documents is not None and not documents.exists():
        raise DemoInput(documents)
    return run_async(
        run_demo(session.out, documents=documents, output=output, goal=goal or DEMO_GOAL, keep=keep),
        timeout_s=session.timeout_s,
    )
