"""The labelled set: thirty real documents, read by hand; precision and recall of at least 0.95 for each kind, in both groups."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agent_node.documents.extract import KINDS, extract
from agent_node.documents.read import read_document

CORPUS = Path(__file__).parents[3] / "corpus"
LABELS = [json.loads(path.read_text("utf-8")) for path in sorted((CORPUS / "labels").glob("*.json"))]
TARGET = 0.95

Find = tuple[str, str, str]
"""Document, place, and value (with the currency of an amount)."""


def labelled(group: list[dict[str, Any]], kind: str) -> set[Find]:
    return {
        (label["document"], place, value)
        for label in group
        for place, values in label[kind].items()
        for value in values
    }


def found(group: list[dict[str, Any]]) -> dict[str, set[Find]]:
    finds: dict[str, set[Find]] = defaultdict(set)
    for label in group:
        name = label["document"]
        for row in extract(read_document(name, (CORPUS / "documents" / name).read_bytes())):
            ((unit, n),) = row.at.items()
            assert unit == label["unit"]
            value = f"{row.value} {row.currency}" if row.kind == "amount" else row.value
            finds[row.kind].add((name, str(n), value))
    return finds


def test_the_set_has_thirty_documents_of_every_kind() -> None:
    documents = {path.name for path in (CORPUS / "documents").iterdir()}
    assert documents == {label["document"] for label in LABELS}
    assert len(documents) >= 30
    assert sum(label["held_out"] for label in LABELS) == 10
    assert {name.rpartition(".")[2] for name in documents} == {"txt", "md", "html", "csv", "pdf", "docx"}
    assert all((CORPUS / "documents" / name).stat().st_size < 60_000 for name in documents)


def test_every_document_has_a_source_and_a_licence() -> None:
    sources = (CORPUS / "SOURCES.md").read_text("utf-8")
    assert [label["document"] for label in LABELS if label["document"] not in sources] == []


@pytest.mark.parametrize("held_out", [False, True], ids=["developed on", "held out"])
def test_finds_reach_the_target(held_out: bool, capsys: pytest.CaptureFixture[str]) -> None:
    group = [label for label in LABELS if label["held_out"] is held_out]
    finds = found(group)
    lines, below = [], []
    for kind in KINDS:
        want, got = labelled(group, kind), finds[kind]
        precision, recall = len(want & got) / len(got), len(want & got) / len(want)
        lines.append(f"{kind:7} {len(want):4} labelled   precision {precision:.3f}   recall {recall:.3f}")
        if min(precision, recall) < TARGET:
            below.append((kind, sorted(got - want), sorted(want - got)))
    with capsys.disabled():
        print(
            f"\n{len(group)} real documents {'held out' if held_out else 'developed on'}:", *lines, sep="\n  "
        )
    assert below == []
