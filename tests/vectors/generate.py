"""`python -m tests.vectors.generate`: write the vectors that are missing. It never changes one that is there: what was published is a promise.

Every case has a file `protocol/vectors/<kind>/<id>.json` of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from . import (
    cases_body,
    cases_charter,
    cases_crypto,
    cases_envelope,
    cases_halts,
    cases_invite,
    cases_membership,
    cases_messages,
)
from .build import Case

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"


def cases() -> Iterator[Case]:
    """Every case, in a fixed order."""
    for part in (
        cases_envelope,
        cases_invite,
        cases_body,
        cases_crypto,
        cases_charter,
        cases_membership,
        cases_messages,
        cases_halts,
    ):
        yield from part.all_cases()


def text_of(case: Case) -> str:
    """The file's content."""
    return json.dumps(case.as_json(), indent=1, ensure_ascii=True) + "\n"


def write(root: Path) -> list[Path]:
    """Add the missing files below `root`; returns them."""
    added = []
    for case in cases():
        path = root / case.kind / f"{case.id}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text_of(case))
            added.append(path)
    return added


if __name__ == "__main__":
    print(f"{len(write(VECTORS))} vectors added, {sum(1 for _ in cases())} in all")
