"""Prints the README's commands as one shell script: every line of every `sh` block, in order. `.ci/run` runs it in a clean checkout."""

import re
import sys
from pathlib import Path


def commands(text: str) -> list[str]:
    """The lines of all fenced `sh` blocks."""
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]


if __name__ == "__main__":
    readme = Path(sys.argv[1] if len(sys.argv) > 1 else "README.md").read_text(encoding="utf-8")
    print("set -euxo pipefail")
    print("\n".join(commands(readme)))
