"""The whole suite runs on two to four cores; a part of it, chosen on the command line, in one process."""

import os
from typing import Any


def pytest_xdist_auto_num_workers(config: Any) -> int:
    """How many processes share the tests: one that is looked at alone should not wait for others to start."""
    chosen = config.option.file_or_dir or config.option.keyword
    # What kills daemons, or installs programs, is chosen by its mark and may not have company.
    marked = any(argument.startswith("-m") for argument in config.invocation_params.args)
    return 0 if chosen or marked else min(4, os.cpu_count() or 1)
