"""The verbs about work that the command offers (entry point `zwerm.commands`); each has a file of its own."""

from __future__ import annotations

from .commands_artifacts import artifacts
from .commands_events import events
from .commands_run import run
from .commands_runs import runs

__all__ = ["COMMANDS"]

COMMANDS = [run, runs, events, artifacts]
