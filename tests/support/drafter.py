"""Stands for a model that drafts plans: answers as its `replies` say, in turn; the last one for ever. Counts what it was asked in `asked`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from agent_node.functions import Job, Output


def draft(job: Job) -> Output:
    """The next reply, from the folder that the test has put into the environment."""
    folder = Path(os.environ["ZWERM_TEST_DRAFTER"])
    asked = folder / "asked.jsonl"
    number = len(asked.read_text().splitlines()) if asked.exists() else 0
    with asked.open("a") as file:
        file.write(json.dumps(dict(job.params)) + "\n")
    replies = json.loads((folder / "replies.json").read_text())
    return Output("plan.json", json.dumps(replies[min(number, len(replies) - 1)]), "application/json")
