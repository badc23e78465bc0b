"""The specification and the tests name each other: no clause without a test, no test of a clause that is not there."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "protocol" / "SPEC.md").read_text()
CLAUSES = re.findall(r"^\| ([A-Z]+-\d+) \|", SPEC, re.MULTILINE)


def named_by_tests() -> dict[str, list[str]]:
    """Clause -> where it is named: by a mark, or by a vector (each vector is a test with its clause's mark)."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for named in re.findall(r"requirement\(([^)]*)\)", path.read_text()):
            for clause in re.findall(r'"([^"]+)"', named):
                found.setdefault(clause, []).append(path.name)
    for path in sorted((ROOT / "protocol" / "vectors").glob("*/*.json")):
        found.setdefault(json.loads(path.read_text())["clause"], []).append(path.name)
    return found


def test_every_clause_is_there_once() -> None:
    assert [clause for clause, times in Counter(CLAUSES).items() if times > 1] == []
    assert len(CLAUSES) > 60


def test_every_clause_has_a_test() -> None:
    assert set(CLAUSES) - set(named_by_tests()) == set()


def test_every_clause_that_a_test_names_is_in_the_specification() -> None:
    unknown = {clause: places for clause, places in named_by_tests().items() if clause not in CLAUSES}
    assert unknown == {}


def test_every_clause_that_the_code_names_is_in_the_specification() -> None:
    families = {clause.split("-")[0] for clause in CLAUSES}
    unknown = set()
    for package in ("protocol", "mesh", "agent_node", "coordinator_node"):
        for path in (ROOT / package).rglob("*.py"):
            for clause in re.findall(r"\b([A-Z]{2,4}-\d+)\b", path.read_text()):
                if clause.split("-")[0] in families and clause not in CLAUSES:
                    unknown.add(f"{path.relative_to(ROOT)}: {clause}")
    assert unknown == set()
