"""What `zwerm doctor`, the card and the log say of agents that work less safely than they should, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_node import adapters
from agent_node.checks import examine_agents
from agent_node.doc_agents import UNCONFINED, document_spec
from mesh.home import Home, NodeFile


def home_of(folder: Path, *roles: str, settings: str = "") -> Home:
    home = Home(folder)
    home.save(
        NodeFile(
            schema="zwerm.node/1",
            swarm="office",
            swarm_id="0" * 64,
            name="nas",
            node="0" * 32,
            roles=list(roles),
            bus_urls=[],
            bus_ca_sha256="",
        )
    )
    home.write("config.toml", settings.encode())
    return home


def test_a_card_warns_where_the_kernel_cannot_confine_what_reads_documents() -> None:
    names = frozenset({"doc.read"})
    assert document_spec(1, 0, 1, names).card().warning == ""
    warned = document_spec(1, 0, 1, names, confined=False).card()
    assert warned.warning == UNCONFINED
    assert "Landlock" in warned.warning


@pytest.mark.parametrize(("version", "codes"), [(0, ["", "W_UNCONFINED"]), (3, [""])])
def test_doctor_warns_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, codes: list[str]
) -> None:
    monkeypatch.setattr(adapters, "level", lambda: version)
    findings = examine_agents(home_of(tmp_path, "agent", "client"))
    assert [finding.code for finding in findings] == codes


def test_doctor_names_agents_that_cannot_be_offered(tmp_path: Path) -> None:
    settings = """
[agent]
documents = false
[[agents]]
name = "ocr"
adapter = "command"
capability = "image.text"
argv = ["/no/such/program"]
"""
    found = examine_agents(home_of(tmp_path, "agent", settings=settings))
    assert [finding.code for finding in found] == ["", "W_AGENT"]
    assert "ocr is not offered" in found[1].text


def test_a_device_without_agents_has_nothing_to_look_at(tmp_path: Path) -> None:
    assert examine_agents(home_of(tmp_path, "client")) == []
