"""The whole suite runs on two to four cores; a part of it, named on the command line, in one process."""

import os
from typing import Any


def pytest_xdist_auto_num_workers(config: Any) -> int:
    """How many processes share the tests: one that is looked at alone should not wait for others to start."""
    return 0 if config.option.file_or_dir else min(4, os.cpu_count() or 1)
