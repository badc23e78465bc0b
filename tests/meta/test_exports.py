"""Every module says what others may use of it (`__all__`), and what it says is true."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "mesh", "agent_node", "coordinator_node")


def modules() -> Iterator[tuple[str, Path]]:
    """Every module that others can import: name and file."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            if parts[-1] != "__main__":
                yield ".".join(parts), path


MODULES = dict(modules())
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def exported(name: str) -> list[str] | None:
    """A module's `__all__` as written, or None."""
    for node in TREES[name].body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            value = ast.literal_eval(node.value)
            assert isinstance(value, list | tuple)
            return list(value)
    return None


def defined(name: str) -> set[str]:
    """The functions and classes that a module defines for others."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        node.name for node in TREES[name].body if isinstance(node, kinds) and not node.name.startswith("_")
    }


def imports(name: str) -> Iterator[tuple[str, str]]:
    """What a module takes by name from other modules of ours, also inside functions: (module, name)."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                if source in MODULES and f"{source}.{alias.name}" not in MODULES:
                    yield source, alias.name


TAKEN: dict[str, set[str]] = {}
"""Module -> the names that other modules take from it."""
for _user in MODULES:
    for _source, _name in imports(_user):
        if _source != _user and not (_name.startswith("__") and _name.endswith("__")):
            TAKEN.setdefault(_source, set()).add(_name)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_offers(name: str):
    offered = exported(name)
    assert offered is not None or not defined(name), f"{name} has no __all__"
    assert len(offered or []) == len(set(offered or []))
    assert not [one for one in offered or [] if one.startswith("_") and not one.startswith("__")]


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_offers_is_there(name: str):
    module = importlib.import_module(name)
    assert [one for one in exported(name) or [] if not hasattr(module, one)] == []


@pytest.mark.parametrize("name", MODULES)
def test_what_others_take_from_a_module_is_what_it_offers(name: str):
    assert TAKEN.get(name, set()) - set(exported(name) or []) == set()


def test_there_are_modules_of_every_package():
    assert {name.split(".")[0] for name in MODULES} == set(PACKAGES)
    assert len(MODULES) > 100
