"""What the README says a reader can type exists, and what it promises about files is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from mesh.cli import Cli
from tests.readme_commands import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    path for path in (ROOT / name for name in ("README.md", "ARCHITECTURE.md", "AGENTS.md")) if path.exists()
]


def command_lines() -> list[list[str]]:
    """Every `zwerm ...` of the README's shell blocks, split as a shell would."""
    found = []
    for line in commands(README):
        for part in line.split("&&"):
            words = shlex.split(part)
            if words and Path(words[0]).name == "zwerm":
                found.append(words[1:])
    return found


def mentioned() -> list[str]:
    """The first words of every `zwerm ...` in the running text."""
    inline = re.findall(r"`zwerm ([a-z][^`]*)`", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return sorted({text for text in inline if not text.startswith("COMMAND")})


def parsed(words: list[str]) -> click.Command:
    """Resolve a command line as far as its options, without running it."""
    root = Cli()
    context = click.Context(root, info_name="zwerm")
    name, verb, rest = root.resolve_command(context, words)
    while isinstance(verb, click.Group):
        context = click.Context(verb, info_name=name, parent=context)
        name, verb, rest = verb.resolve_command(context, rest)
    assert verb is not None
    verb.make_context(str(name), rest, parent=context, resilient_parsing=False)
    return verb


def test_there_are_commands_in_the_readme():
    assert len(command_lines()) >= 7


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_each_command_line_of_the_readme_is_one_that_the_command_takes(words: list[str]):
    parsed(words)


@pytest.mark.parametrize("text", mentioned())
def test_each_command_that_the_text_names_exists(text: str):
    words = text.split()
    verb = Cli()._verbs().get(words[0].rstrip(","))
    assert verb is not None, text
    if isinstance(verb, click.Group) and len(words) > 1:
        assert words[1].rstrip(",") in verb.commands, text
    options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.rstrip(",") for word in words if word.startswith("--")} <= options, text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_is_there(document: Path):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_files_that_the_text_names_are_there():
    for name in re.findall(r"`((?:examples|protocol|tests|docs|bench)/[^`*]+)`", README):
        assert (ROOT / name).exists(), name
