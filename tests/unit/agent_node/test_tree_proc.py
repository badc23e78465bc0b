"""Finding a job's processes while they come and go."""

from __future__ import annotations

import os
import subprocess
import sys

from agent_node.tree_proc import MARK_NAME, descendants, kill_all, marked
from tests.support.devices import wait_for

_BUSY = "import os\nwhile True:\n for _ in range(8):\n  if not os.fork(): os._exit(0)\n for _ in range(8): os.wait()"
"""A process whose children live for less than a millisecond."""


def test_processes_that_end_while_they_are_looked_for_are_not_there_and_nothing_else() -> None:
    environ = os.environ | {MARK_NAME: "come-and-go"}
    with subprocess.Popen([sys.executable, "-c", _BUSY], env=environ, start_new_session=True) as busy:
        try:
            seen: set[int] = set()
            for _ in range(1500):
                seen.update(descendants(os.getpid()))
                seen.update(marked("come-and-go"))
        finally:
            kill_all(busy.pid, "come-and-go")
    assert busy.pid in seen
    assert len(seen) > 10
    wait_for("the kernel has ended what was killed", lambda: not marked("come-and-go"))
