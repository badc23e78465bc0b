"""All measurements of zwerm, as a table or (`--json`) one JSON document."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform

from mesh.loop import run_async

from .journal import journal
from .live import live
from .startup import startup
from .wire import accept_over_verify, reject_us

_WHAT = {
    "accept_over_verify": "accepting an envelope, decoding included, over the bare Ed25519 check (x)",
    "reject_us": "refusing random bytes (µs)",
    "group_commit_x": "records a second into the journal, 256 subtasks under way, over one after the other (x)",
    "live3_p50_ms": "one no-op subtask at a time, live auction of 3 nodes, p50 (ms)",
    "live3_per_s": "1,000 no-op subtasks in flight (subtasks/s, submission to end)",
    "node_rss_mib": "an agent node's process (MiB RSS)",
    "version_ms": "zwerm --version (ms)",
    "help_ms": "zwerm --help (ms)",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    figures = {
        **accept_over_verify(),
        **reject_us(),
        **startup(),
        **run_async(journal()),
        **asyncio.run(live()),
    }
    figures["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    if arguments.json:
        print(json.dumps(figures))
        return
    for key, what in _WHAT.items():
        print(f"{figures[key]:>10}  {what}")
    print(
        f"\nnoise: accept {figures['accept_over_verify_p10']} to {figures['accept_over_verify_p90']} x; "
        f"group commit {figures['group_commit_x_min']} to {figures['group_commit_x_max']} x; "
        f"throughput {figures['live3_per_s_all']}; a Python that does nothing {figures['python_ms']} ms; Ed25519 by {figures['ed25519']}"
    )


if __name__ == "__main__":
    main()
